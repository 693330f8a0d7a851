"""`python -m mt5relay_worker.simulator --serve PATH` says what it needs and what to type next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mt5relay_worker.simulator import Book, dump_book, generate_book
from mt5relay_worker.simulator.book import Account
from mt5relay_worker.simulator.pipe.command import Wanted, greeting, load, main, parse


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mt5relay_worker.simulator", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="there it would serve")
def test_elsewhere_it_says_that_named_pipes_need_windows(tmp_path: Path) -> None:
    done = run("--serve", str(tmp_path / "sim" / "terminal64.exe"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs Windows" in done.stderr
    assert "SimulatedMetaTrader5" in done.stderr
    assert not (tmp_path / "sim").exists()


def test_without_a_path_it_says_how_it_is_used() -> None:
    done = run()
    assert done.returncode == 2
    assert "--serve PATH" in done.stderr


@pytest.mark.parametrize("field", ["book", "faults"])
def test_a_file_that_can_not_be_used_is_named(
    tmp_path: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.json"
    file.write_text('{"speling": 1}')
    assert main(["--serve", str(tmp_path / "terminal64.exe"), f"--{field}", str(file)]) == 1
    assert "wrong.json" in capsys.readouterr().err


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    wanted = parse(["--serve", str(tmp_path)])
    assert wanted == Wanted(program=tmp_path)
    book, faults = load(wanted)
    assert (len(book.accounts), faults.scale) == (3, 1.0)


def test_a_book_of_ones_own_and_faults_that_come_later(tmp_path: Path) -> None:
    dump_book(generate_book(5), tmp_path / "book.json")
    words = ["--serve", "x", "--book", str(tmp_path / "book.json")]
    book, faults = load(parse([*words, "--faults", str(tmp_path / "later.json")]))
    assert (len(book.accounts), faults.scale) == (5, 1.0)
    (tmp_path / "later.json").write_text('{"scale": 0}')
    assert load(parse([*words, "--faults", str(tmp_path / "later.json")]))[1].scale == 0


def test_three_lines_are_all_it_takes(alice: Account, book: Book) -> None:
    program = "C:\\Sim\\terminal64.exe"
    lines = greeting(program, book, has_invented_book=True).splitlines()
    assert lines == [
        "import MetaTrader5",
        "MetaTrader5.initialize('C:\\\\Sim\\\\terminal64.exe')",
        f"MetaTrader5.login({alice.login}, password='{alice.password}', server='{alice.server}')",
    ]


def test_a_password_out_of_a_book_of_ones_own_is_not_shown(alice: Account, book: Book) -> None:
    assert alice.password not in greeting("x", book, has_invented_book=False)
    assert greeting("x", Book((), ()), has_invented_book=False).count("\n") == 2
