import sys

from mt5relay_worker.simulator.pipe.command import main

if __name__ == "__main__":
    sys.exit(main())
