from services.executor.service import main

raise SystemExit(main())
