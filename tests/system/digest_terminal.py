"""A terminal process on a simulator that knows no password, only the digests of them.

Run as `python -m tests.system.digest_terminal DIGESTS`, a JSON object of login to SHA-256. So
what a memory of this process holds of a password came out of a sealed credential.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, cast

from mt5relay_worker.terminal.host import main, make_binding
from mt5relay_worker.terminal.metatrader5 import Binding
from mt5relay_worker.terminal.options import TerminalOptions


class DigestBinding:
    """The simulator, whose own passwords are not the accounts'."""

    def __init__(self, simulator: Any, digests: dict[str, str], password: str) -> None:
        self._simulator = simulator
        self._digests = digests
        self._password = password

    def login(self, login: int, *, password: str, server: str, timeout: int) -> bool:
        given = hashlib.sha256(password.encode()).hexdigest()
        is_right = given == self._digests[str(login)]
        inner = self._password if is_right else "another"
        return bool(self._simulator.login(login, password=inner, server=server, timeout=timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)


def make(options: TerminalOptions) -> Binding:
    digests = json.loads(Path(sys.argv[1]).read_text())
    return cast(Binding, DigestBinding(make_binding(options), digests, "of the book"))


if __name__ == "__main__":
    main(make)
