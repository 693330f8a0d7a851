"""What the terminal's pipe is called."""

from __future__ import annotations

import hashlib

PREFIX = "\\\\.\\pipe\\MT5.Terminal."


def pipe_name(path: str, *, exists: bool = True) -> str:
    r"""The name under which the package looks for the terminal whose program is at `path`.

    `path` is final: absolute, with drive letter, every link resolved. The package puts `\\?\`
    before that of a file which it can open, and nothing before the path of one that is not there.

    >>> pipe_name("C:\\MT5\\terminal64.exe") == pipe_name("c:\\mt5\\TERMINAL64.EXE")
    True
    """
    named = f"\\\\?\\{path}" if exists and not path.startswith("\\\\?\\") else path
    return PREFIX + hashlib.sha256(named.lower().encode("utf-16-le")).hexdigest().upper()
