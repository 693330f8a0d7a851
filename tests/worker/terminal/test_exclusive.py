"""One terminal process per terminal and host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mt5relay_worker.terminal.exclusive import TerminalLock, lock_file_for
from mt5relay_worker.terminal.failure import TerminalError

HOLD = """
import sys
from pathlib import Path
from mt5relay_worker.terminal.exclusive import TerminalLock
TerminalLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_process_for_the_same_terminal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "terminal64.exe"
    holder = _holder(path)
    with pytest.raises(TerminalError, match="one worker per terminal") as refused:
        TerminalLock(path).acquire()
    _end(holder)
    assert refused.value.code == "MT5_INIT_FAILED"


def test_the_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    path = tmp_path / "terminal64.exe"
    _end(_holder(path))
    lock = TerminalLock(path)
    lock.acquire()
    lock.release()


def test_terminals_do_not_disturb_each_other(tmp_path: Path) -> None:
    holder = _holder(tmp_path / "one" / "terminal64.exe")
    other = TerminalLock(tmp_path / "two" / "terminal64.exe")
    other.acquire()
    other.release()
    _end(holder)


def test_every_spelling_of_a_path_means_the_same_terminal(tmp_path: Path) -> None:
    plain, winding = tmp_path / "terminal64.exe", tmp_path / "x" / ".." / "terminal64.exe"
    assert lock_file_for(plain) == lock_file_for(winding)
