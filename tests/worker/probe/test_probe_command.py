"""`mt5relay-worker probe` as a user starts it, with a measuring process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mt5relay_worker.simulator import Book, Faults, dump_book
from mt5relay_worker.terminal.exclusive import TerminalLock

pytestmark = pytest.mark.integration

Command = Callable[..., "subprocess.CompletedProcess[str]"]
QUICK = ("--logins", "4", "--pause", "0", "--watch", "0.2", "--attaches", "0")
SECRETS = ("planted", "Planted", "43210", "25115284", "25115285", "50100002")
LIMIT = 60  # seconds; the machine may be busy


@pytest.fixture
def settings(tmp_path: Path, book: Book) -> dict[str, str]:
    dump_book(book, tmp_path / "book.json")
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MT5_") and name != "REDIS_URL"
    }
    if path := plain.get("PYTHONPATH"):
        plain["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return {
        **plain,
        "TMPDIR": str(tmp_path),
        "MT5_TERMINAL": "simulated",
        "MT5_SIMULATOR_BOOK": str(tmp_path / "book.json"),
        "MT5_SIMULATOR_SPEED": "0",
        "MT5_SIMULATOR_DATA": str(tmp_path / "data"),
    }


def program(*words: str) -> list[str]:
    return [sys.executable, "-m", "mt5relay_worker", "probe", *words]


@pytest.fixture
def probe(tmp_path: Path, settings: dict[str, str]) -> Command:
    """Run it in a folder with nothing but the book."""

    def run(*words: str, text: str = "", **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            program(*words),
            cwd=tmp_path,
            env={**settings, **changed},
            input=text,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    return run


def report_in(folder: Path, name: str = "mt5relay-probe.json") -> dict[str, Any]:
    return dict(json.loads((folder / name).read_bytes()))


# A whole probe


def test_it_measures_prints_a_table_and_writes_a_report(probe: Command, tmp_path: Path) -> None:
    done = probe(*QUICK[:-1], "1", "--yes")
    assert done.returncode == 0, done.stderr
    assert "This logs in 4 times on simulated, to 3 accounts on 2 servers" in done.stderr
    assert "login, same server" in done.stdout
    report = report_in(tmp_path)
    assert report["complete"]
    assert report["host"]["package"] == "5.0.6231"
    assert report["initialize"]["again"]["count"] == 1
    assert sum(found["count"] for found in report["login"].values()) == 4
    written = (tmp_path / "mt5relay-probe.json").read_text() + done.stdout + done.stderr
    assert [secret for secret in SECRETS if secret in written] == []


def test_a_code_page_that_lacks_a_letter_does_not_lose_what_was_measured() -> None:
    """Terminals and brokers speak their own language, consoles of Windows their code page's."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from mt5relay_worker.probe.view import console; console().print('Отказано: 2.5 s')",
        ],
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252:strict"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "2.5 s" in told.stdout


@pytest.mark.skipif(os.name != "posix", reason="Windows files inherit the folder's permissions")
def test_the_report_is_its_owner_s(probe: Command, tmp_path: Path) -> None:
    probe(*QUICK, "--yes")
    assert (tmp_path / "mt5relay-probe.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("holds", [True, False])
def test_it_finds_out_who_has_the_interpreter_lock(
    probe: Command, tmp_path: Path, holds: bool
) -> None:
    faults = {
        "hold_interpreter_lock": holds,
        "login_same_account_seconds": [0.4, 0.4],
        "login_other_server": {"median": 0.4, "p95": 0.4},
    }
    (tmp_path / "faults.json").write_text(json.dumps(faults))
    probe(
        *("25115284@MetaQuotes-Demo", "--stdin", *QUICK, "--yes"),
        text="planted-1\n",
        MT5_SIMULATOR_FAULTS="faults.json",
        MT5_SIMULATOR_SPEED="1",
    )
    lock = report_in(tmp_path)["interpreter_lock"]
    assert lock["verdict"] == ("held" if holds else "released")
    assert lock["calls"] >= 4


# Passwords


def test_passwords_are_lines_of_standard_input(probe: Command, tmp_path: Path) -> None:
    done = probe(
        *("25115284@MetaQuotes-Demo", "50100002@Example-Live", *QUICK, "--yes"),
        text="planted-1\nplanted-wrong\n",
    )
    assert "failed after" in done.stderr
    assert "Invalid account" in done.stderr
    report = report_in(tmp_path)
    assert report["refused"]["count"] == 1
    assert "planted" not in json.dumps(report) + done.stdout + done.stderr


def test_a_missing_password_ends_it_before_the_terminal_is_touched(
    probe: Command, tmp_path: Path
) -> None:
    done = probe("25115284@MetaQuotes-Demo", "--yes")
    assert done.returncode == 1
    assert "25115284@MetaQuotes-Demo: password: it is empty" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(os.name != "posix", reason="on Windows the folder's permissions decide")
def test_a_file_of_passwords_that_others_may_read_is_refused(
    probe: Command, tmp_path: Path
) -> None:
    (tmp_path / "book.json").chmod(0o644)
    done = probe("--accounts", "book.json", "--yes")
    assert done.returncode == 1
    assert "chmod 600 book.json" in done.stderr


# Refusals


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "--yes: nobody can be asked"),
        (("--logins", "0", "--yes"), "--logins: 0 is not between 1 and 1000"),
        (("--watch", "200", "--yes"), "--watch: 200 is not between 0 and 120"),
        (("--out", "book.json", "--yes"), "--out: book.json exists"),
        (("--out", "missing/r.json", "--yes"), "--out: there is no folder"),
        (("--accounts", "missing.json", "--yes"), "--accounts: missing.json: No such file"),
    ],
)
def test_what_can_t_be_used_is_refused_before_the_terminal_is_touched(
    probe: Command, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    done = probe(*words)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_beside_a_worker_there_is_no_probe(probe: Command, tmp_path: Path) -> None:
    terminal = tmp_path / "terminal64.exe"
    lock = TerminalLock(terminal)
    lock.acquire()
    try:
        done = probe(*QUICK, "--yes", MT5_TERMINAL_PATH=str(terminal), TMPDIR=tempfile.gettempdir())
    finally:
        lock.release()
    assert done.returncode == 1
    assert "no probe: another process on this host uses the terminal" in done.stderr
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "mt5relay-probe.json").exists()


def test_without_the_real_package_it_says_so(probe: Command) -> None:
    path = str(Path("/nowhere/terminal64.exe").absolute())
    done = probe("1@A", "--yes", MT5_TERMINAL="metatrader5", MT5_TERMINAL_PATH=path)
    assert done.returncode == 1
    assert "no probe: the MetaTrader5 package can't be imported" in done.stderr


# Trouble


def test_a_call_that_hangs_is_ended_and_the_rest_is_reported(
    probe: Command, tmp_path: Path
) -> None:
    """As the real one hangs: nothing within that process could end it."""
    faults = {"calls_that_hang": ["positions_total"], "hold_interpreter_lock": True}
    (tmp_path / "faults.json").write_text(json.dumps(faults))
    done = probe(
        *(*QUICK, "--yes"),
        MT5_SIMULATOR_FAULTS="faults.json",
        MT5_CONNECTION_TIMEOUT="5",
        MT5_CALL_LIMIT="8",
    )
    assert done.returncode == 1
    report = report_in(tmp_path)
    assert report["ended"].startswith("looks after the login took longer than 8.2 s")
    assert not report["complete"]
    assert report["login"]["nobody"]["count"] == 1


@pytest.fixture
def running(tmp_path: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A probe that takes its time."""
    process = subprocess.Popen(
        program("--yes", "--logins", "500", "--pause", "0.3", "--watch", "0"),
        cwd=tmp_path,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
def test_ctrl_c_ends_it_with_what_was_measured(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert running.stderr is not None
    while not running.stderr.readline().startswith("login 3 "):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 130
    assert "Traceback" not in err
    report = report_in(tmp_path)
    assert report["ended"] == "interrupted"
    assert sum(found["count"] for found in report["login"].values()) >= 2


def test_the_report_drives_a_simulated_terminal(probe: Command, tmp_path: Path) -> None:
    """A worker's MT5_SIMULATOR_FAULTS may be a report."""
    faults = Faults(lists_empty_seconds=0.3)
    (tmp_path / "faults.json").write_text(
        json.dumps({"lists_empty_seconds": faults.lists_empty_seconds})
    )
    words = ("--logins", "7", "--pause", "0", "--watch", "2", "--attaches", "0", "--yes")
    assert probe(*words, MT5_SIMULATOR_FAULTS="faults.json").returncode == 0
    again = probe(*words, "--out", "again.json", MT5_SIMULATOR_FAULTS="mt5relay-probe.json")
    assert again.returncode == 0
    lists = report_in(tmp_path, "again.json")["after_login"]["lists"]
    assert 0.25 <= lists["p50"] < 2
