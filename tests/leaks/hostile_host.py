"""A terminal process whose package betrays passwords: started by `hostile_worker.py`.

Its one argument is a file that says how, looked at whenever somebody logs in.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path
from typing import Any

from mt5relay_worker.terminal.host import make_binding, make_host, serve
from mt5relay_worker.terminal.protocol import LENGTH_BYTES, frame_length, options_decoder

AUTH_FAILED = -6


class Treacherous:
    """The simulator, but for what it says of a login."""

    def __init__(self, real: Any, told: Path) -> None:
        self._real = real
        self._told = told
        self._said: tuple[int, str] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def login(self, *words: Any, password: str, **more: Any) -> Any:
        self._said = None
        match self._told.read_text():
            case "raises":
                raise RuntimeError(f"can't log in with {password}")
            case "raises a chain of errors":
                try:
                    password.encode("ascii").decode("utf-16-be").encode("ascii")
                except UnicodeError as error:
                    raise KeyError(password) from error
            case "refuses its arguments":
                raise SystemError(f"login returned a result with an error set: {password}")
            case "quotes it in last_error":
                self._said = AUTH_FAILED, f"Invalid password {password}"
                return False
            case "crashes":
                os.abort()
            case "ends":
                raise SystemExit(f"goodbye with {len(password)} characters")
            case "breaks the pipe":
                os.close(1)
            case _:
                pass
        return self._real.login(*words, password=password, **more)

    def last_error(self) -> Any:
        return self._said or self._real.last_error()


def main(told: Path) -> None:
    faulthandler.enable()
    pipe_in, pipe_out = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    options = options_decoder.decode(pipe_in.read(frame_length(pipe_in.read(LENGTH_BYTES))))
    binding: Any = Treacherous(make_binding(options), told)
    host, hello = make_host(options, binding)
    serve(host, hello, pipe_in, pipe_out, gone=lambda: os._exit(0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
