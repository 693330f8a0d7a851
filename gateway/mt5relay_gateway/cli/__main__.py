"""`python -m mt5relay_gateway.cli`."""

from mt5relay_gateway.cli.app import main

if __name__ == "__main__":
    main()
