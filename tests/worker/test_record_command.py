"""`mt5relay-worker record` as a user types it: what it says, needs, and leaves alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mt5relay_worker.simulator.pipe.masking import FIRST_LOGIN


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mt5relay_worker", "record", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_its_help_says_what_is_masked_and_what_stays(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0
    assert re.search(r"passwords are gone.*logins become.*names, comments, paths", said)
    assert str(FIRST_LOGIN) in said
    assert re.search(r"What stays: amounts, .*tickets, symbols and the server's name", said)


@pytest.mark.parametrize("left_out", ["--serve", "--terminal"])
def test_what_is_missing_is_named(tmp_path: Path, left_out: str) -> None:
    given = {"--serve": "own/terminal64.exe", "--terminal": "real/terminal64.exe"}
    words = [word for name, path in given.items() if name != left_out for word in (name, path)]
    done = run(tmp_path, *words)
    assert done.returncode != 0
    assert left_out in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there it would record")
def test_elsewhere_it_says_that_named_pipes_need_windows(tmp_path: Path) -> None:
    words = ("--serve", "own/terminal64.exe", "--terminal", "real/terminal64.exe")
    done = run(tmp_path, *words, "--out", "demo.jsonl")
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs Windows" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere nothing is recorded")
def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "demo.jsonl").write_text("the only one")
    (tmp_path / "terminal64.exe").touch()
    words = ("--serve", "own/terminal64.exe", "--terminal", "terminal64.exe")
    done = run(tmp_path, *words, "--out", "demo.jsonl")
    assert done.returncode == 1
    assert "demo.jsonl" in done.stderr
    assert (tmp_path / "demo.jsonl").read_text() == "the only one"


def test_a_worker_that_runs_does_not_load_it(tmp_path: Path) -> None:
    program = "import sys, mt5relay_worker.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "mt5relay_worker.cli" in loaded
    assert not [name for name in loaded if name.startswith("mt5relay_worker.simulator.pipe")]
