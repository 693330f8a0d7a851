"""The worker process of a contestant: `python -m bench.serve NAME URL BOOK`, until killed."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path


def main(name: str, url: str, book: str) -> None:
    logging.basicConfig(level=logging.WARNING)  # for every framework alike
    importlib.import_module(f"bench.contestants.{name}").serve(url, Path(book))


if __name__ == "__main__":
    main(*sys.argv[1:])
