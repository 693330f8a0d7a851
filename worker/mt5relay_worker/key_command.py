"""`mt5relay-worker keygen`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_worker.key_file import write_private_key

EXIT_FAILURE = 1


def keygen(
    *,
    out: Path = Path("mt5relay.key"),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """As `cli.KEYGEN_HELP` says.

    Args:
        out: where the private key goes; an existing file is never overwritten.
        json: print one JSON object.
    """
    try:
        key = write_private_key(out)
    except MT5ValidationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command prints
        return EXIT_FAILURE
    if json:
        print(msgspec.json.encode({"file": str(out), "key_id": key.key_id}).decode())  # noqa: T201
    else:
        print(  # noqa: T201
            f"private key: {out} (keep it on this host, readable by its owner only)\n"
            f"fingerprint: {key.key_id}\n"
            f"Pin it where accounts are enrolled: MT5_SEALING_KEY_ID={key.key_id}"
        )
    return 0
