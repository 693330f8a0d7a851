"""Following the journal: what was written since, across midnight, whatever its files are like."""

from __future__ import annotations

import codecs
import os
import random
import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mt5relay_worker.terminal.journal import MAX_BYTES_A_LOOK, Journal, open_journal
from mt5relay_worker.terminal.journal_lines import Authorized

NOON = datetime.fromisoformat("2026-03-27T12:00:00")


class Day:
    """A local clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def day() -> Day:
    return Day()


@pytest.fixture
def journal(tmp_path: Path, day: Day) -> Journal:
    return Journal(tmp_path, now=day)


def line(login: int, at: str = "12:00:00.000") -> str:
    return f"AB\t0\t{at}\tNetwork\t'{login}': authorized on Broker-Demo\r\n"


def append(
    folder: Path, text: str, name: str = "20260327.log", encoding: str = "utf-16-le"
) -> None:
    with (folder / name).open("ab") as file:
        file.write(text.encode(encoding))


def logins(journal: Journal) -> list[int]:
    return [login for _, login, _ in journal.read()]


def test_only_what_comes_after_the_skip_is_read_and_only_once(
    journal: Journal, tmp_path: Path
) -> None:
    append(tmp_path, "\ufeff" + line(1))
    journal.skip()
    assert logins(journal) == []
    append(tmp_path, line(2) + line(3))
    assert logins(journal) == [2, 3]
    assert logins(journal) == []


def test_a_line_has_the_date_of_its_file(journal: Journal, tmp_path: Path) -> None:
    journal.skip()
    append(tmp_path, "\ufeff" + line(5, "11:59:58.250"))
    at = datetime.fromisoformat("2026-03-27T11:59:58.250")
    assert journal.read() == [(at, 5, Authorized("Broker-Demo"))]


def test_a_file_that_is_not_there_yet_is_waited_for(journal: Journal, tmp_path: Path) -> None:
    journal.skip()
    assert logins(journal) == []
    append(tmp_path, "\ufeff" + line(1))
    assert logins(journal) == [1]


def test_without_a_skip_nothing_old_is_read(journal: Journal, tmp_path: Path) -> None:
    append(tmp_path, "\ufeff" + line(1))
    assert logins(journal) == []


def test_a_line_is_read_once_it_is_whole_wherever_it_was_cut(tmp_path: Path, day: Day) -> None:
    whole = ("\ufeff" + line(1) + line(2)).encode("utf-16-le")
    for cut in range(len(whole) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        journal = Journal(folder, now=day)
        journal.skip()
        path = folder / "20260327.log"
        path.write_bytes(whole[:cut])
        first = logins(journal)
        with path.open("ab") as file:
            file.write(whole[cut:])
        assert [*first, *logins(journal)] == [1, 2]


def test_a_letter_of_which_one_byte_is_there_at_the_skip_does_not_garble_the_rest(
    journal: Journal, tmp_path: Path
) -> None:
    path, whole = tmp_path / "20260327.log", ("\ufeff" + line(1) + line(2)).encode("utf-16-le")
    path.write_bytes(whole[:21])
    journal.skip()
    with path.open("ab") as file:
        file.write(whole[21:])
    assert logins(journal) == [2]


def test_at_midnight_the_old_file_is_read_to_its_end_and_the_new_one_from_its_beginning(
    journal: Journal, tmp_path: Path, day: Day
) -> None:
    day.now = datetime.fromisoformat("2026-03-27T23:59:59")
    journal.skip()
    append(tmp_path, "\ufeff" + line(1, "23:59:59.500"))
    assert logins(journal) == [1]
    day.now += timedelta(seconds=2)
    append(tmp_path, line(2, "23:59:59.900"))
    append(tmp_path, "\ufeff" + line(3, "00:00:00.100"), "20260328.log")
    assert [(at.day, login) for at, login, _ in journal.read()] == [(27, 2), (28, 3)]


def test_before_the_new_days_file_is_begun_the_old_one_is_followed(
    journal: Journal, tmp_path: Path, day: Day
) -> None:
    append(tmp_path, "\ufeff")
    journal.skip()
    day.now += timedelta(days=1)
    append(tmp_path, line(1))
    assert logins(journal) == [1]


@pytest.mark.parametrize(
    ("bom", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF8, "utf-8"),
        (b"", "utf-16-le"),
        (b"", "utf-8"),
    ],
)
def test_the_encoding_is_found_out(
    journal: Journal, tmp_path: Path, bom: bytes, encoding: str
) -> None:
    path = tmp_path / "20260327.log"
    path.write_bytes(bom + line(1).encode(encoding))
    journal.skip()
    append(tmp_path, line(2), encoding=encoding)
    assert logins(journal) == [2]


def test_a_file_that_was_replaced_by_a_shorter_one_is_read_anew(
    journal: Journal, tmp_path: Path
) -> None:
    append(tmp_path, "\ufeff" + line(1) * 5)
    journal.skip()
    (tmp_path / "20260327.log").write_bytes(("\ufeff" + line(2)).encode("utf-16-le"))
    assert logins(journal) == [2]


def test_a_file_that_goes_away_is_no_error(journal: Journal, tmp_path: Path) -> None:
    append(tmp_path, "\ufeff" + line(1))
    journal.skip()
    (tmp_path / "20260327.log").unlink()
    assert logins(journal) == []


def test_a_folder_in_the_place_of_the_file_is_no_error(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "20260327.log").mkdir()
    journal.skip()
    assert logins(journal) == []


def test_a_file_that_is_there_again_is_read_on(journal: Journal, tmp_path: Path) -> None:
    append(tmp_path, "\ufeff" + line(1))
    journal.skip()
    hidden = (tmp_path / "20260327.log").rename(tmp_path / "hidden")
    assert logins(journal) == []
    hidden.rename(tmp_path / "20260327.log")
    append(tmp_path, line(2))
    assert logins(journal) == [2]


def test_a_flood_is_read_piece_by_piece_and_nothing_of_it_is_lost(
    journal: Journal, tmp_path: Path
) -> None:
    count = 3 * MAX_BYTES_A_LOOK // len(line(1).encode("utf-16-le"))
    journal.skip()
    append(tmp_path, "\ufeff" + line(1) * count)
    first = len(journal.read())
    assert 0 < first < count
    assert first + sum(len(journal.read()) for _ in range(5)) == count


def test_a_line_without_an_end_is_let_go(journal: Journal, tmp_path: Path) -> None:
    journal.skip()
    append(tmp_path, "\ufeff" + "x" * 1_000_000)
    for _ in range(20):
        assert logins(journal) == []
    append(tmp_path, "\r\n" + line(1))
    assert logins(journal) == [1]


def test_a_line_without_an_end_does_not_fill_the_memory(journal: Journal, tmp_path: Path) -> None:
    journal.skip()
    append(tmp_path, "\ufeff")
    logins(journal)
    tracemalloc.start()
    for _ in range(8):
        append(tmp_path, "x" * (MAX_BYTES_A_LOOK // 2))
        assert logins(journal) == []
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < MAX_BYTES_A_LOOK


def test_any_bytes_are_survived(tmp_path: Path, day: Day) -> None:
    rng = random.Random(5)
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        journal = Journal(folder, now=day)
        journal.skip()
        path = folder / "20260327.log"
        for _ in range(4):
            with path.open("ab") as file:
                file.write(rng.randbytes(rng.randrange(200)) + rng.choice((b"", b"\n\0", b"\n")))
            journal.read()


def test_a_folder_that_cannot_be_seen_has_no_journal(tmp_path: Path) -> None:
    assert open_journal("") is None
    assert open_journal(str(tmp_path / "nowhere")) is None
    assert open_journal("C:\\Program Files\\MetaTrader 5") is None or os.name == "nt"
    assert open_journal("a\0b") is None
    assert isinstance(open_journal(str(tmp_path)), Journal)
