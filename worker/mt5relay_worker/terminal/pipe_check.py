r"""Whether the terminal at a path runs: it is up where its pipe is there.

The package finds a terminal by a named pipe, whose name is made of the program's path (observed on
5.0.6231). To look whether the pipe exists costs no call of the package and starts nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys

_PREFIX = "\\\\.\\pipe\\MT5.Terminal."
_LITERAL = "\\\\?\\"


def pipe_name(final_path: str) -> str:
    r"""The pipe of the program at a final path: absolute, every link resolved.

    >>> pipe_name("C:\\MT5\\terminal64.exe") == pipe_name("c:\\mt5\\TERMINAL64.EXE")
    True
    """
    literal = final_path if final_path.startswith(_LITERAL) else _LITERAL + final_path
    return _PREFIX + hashlib.sha256(literal.lower().encode("utf-16-le")).hexdigest().upper()


if sys.platform == "win32":
    import ctypes

    _AT_ONCE_MS = 1  # 0 would mean the default of whoever made the pipe
    _FILE_NOT_FOUND = 2

    def is_running(terminal_path: str) -> bool | None:
        """Whether the terminal's pipe is there; None where that can't be told, as off Windows."""
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        # To open the pipe, as `os.path.exists` does, would take the place of a client.
        name = ctypes.c_wchar_p(pipe_name(os.path.realpath(terminal_path)))
        if kernel32.WaitNamedPipeW(name, ctypes.c_uint32(_AT_ONCE_MS)):
            return True
        return ctypes.get_last_error() != _FILE_NOT_FOUND  # a busy one is there

else:

    def is_running(terminal_path: str) -> bool | None:
        """Whether the terminal's pipe is there; None where that can't be told, as off Windows."""
        del terminal_path
        return None
