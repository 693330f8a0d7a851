from mt5relay_worker.cli import main

main()
