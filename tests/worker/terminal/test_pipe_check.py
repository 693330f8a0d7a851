"""A terminal's pipe is found by the name that the package makes of its path."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from mt5relay_worker.simulator.pipe.names import pipe_name as served_name
from mt5relay_worker.terminal.pipe_check import is_running, pipe_name

PROGRAM = "C:\\Program Files\\MetaTrader 5\\terminal64.exe"


def test_the_name_is_the_hash_of_the_literal_path_in_lower_case() -> None:
    text = "\\\\?\\c:\\program files\\metatrader 5\\terminal64.exe"
    digest = hashlib.sha256(text.encode("utf-16-le")).hexdigest().upper()
    assert pipe_name(PROGRAM) == f"\\\\.\\pipe\\MT5.Terminal.{digest}"


@pytest.mark.parametrize("path", [PROGRAM, PROGRAM.upper(), f"\\\\?\\{PROGRAM}"])
def test_it_is_the_name_that_a_simulated_terminal_is_served_under(path: str) -> None:
    assert pipe_name(path) == served_name(PROGRAM)


@pytest.mark.skipif(sys.platform == "win32", reason="there it can be told")
def test_off_windows_nothing_is_claimed(tmp_path: Path) -> None:
    assert is_running(str(tmp_path / "terminal64.exe")) is None


@pytest.mark.skipif(sys.platform != "win32", reason="named pipes are of Windows")
def test_a_pipe_is_noticed_and_left_free(tmp_path: Path) -> None:
    from multiprocessing.connection import Listener

    program = tmp_path / "terminal64.exe"
    program.write_bytes(b"")
    assert is_running(str(program)) is False
    with Listener(pipe_name(str(program.resolve())), family="AF_PIPE"):
        assert is_running(str(program)) is True
        assert is_running(str(program)) is True
    assert is_running(str(program)) is False
