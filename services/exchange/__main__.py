from services.exchange.service import main

main()
