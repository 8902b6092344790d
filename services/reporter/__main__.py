from services.reporter.service import main

raise SystemExit(main())
