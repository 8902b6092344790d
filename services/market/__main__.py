from services.market.service import main

raise SystemExit(main())
