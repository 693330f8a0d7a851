"""Runs commands of `mt5relay` of whichever release is on the path, one after the other.

Reads a JSON list of lists of words from standard input, prints a JSON list of what came of each:
`status`, `out`, `err`. Each command alone would cost a second's start of an interpreter.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from mt5relay_gateway.cli.app import run


def main() -> None:
    said: list[dict[str, int | str]] = []
    for words in json.load(sys.stdin):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(words)
        said.append({"status": status, "out": out.getvalue(), "err": err.getvalue()})
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
