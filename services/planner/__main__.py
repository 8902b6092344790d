from services.planner.service import main

raise SystemExit(main())
