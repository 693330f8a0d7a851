"""What was seen of credentials outlives the process; what is no such file is not passed over."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_worker.terminal.replays import Mark
from mt5relay_worker.terminal.seen_file import SeenFile

ALICE, BOB = AccountId(11, "Broker-Demo"), AccountId(12, "Bröker, Live")
MARK = Mark(5, "aa", ("bb", "cc"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker.key.main.seen"


def opened(path: Path | None) -> SeenFile:
    file = SeenFile(path)
    file.open()
    return file


def test_the_next_process_knows_what_this_one_saw(path: Path) -> None:
    first = opened(path)
    first.put(ALICE, MARK)
    first.put(BOB, Mark(6))
    assert opened(path).marks() == {ALICE: MARK, BOB: Mark(6)}
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no file modes")
def test_only_its_owner_may_touch_it(path: Path) -> None:
    opened(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_person_may_make_it_forget_while_it_is_in_use(path: Path) -> None:
    used = opened(path)
    used.put(ALICE, MARK)
    used.put(BOB, MARK)
    assert SeenFile(path).forget([]) == []
    person = SeenFile(path)
    assert set(person.marks()) == {ALICE, BOB}
    assert person.forget([ALICE, AccountId(99, "X")]) == [ALICE]
    assert used.get(ALICE) is None
    assert used.get(BOB) == MARK


def test_a_file_that_was_taken_away_is_as_none(path: Path) -> None:
    used = opened(path)
    used.put(ALICE, MARK)
    path.unlink()
    assert used.get(ALICE) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b'{"v":2,"accounts":{}}', b'{"v":1,"accounts":{"\xe4":1}}']
)
def test_what_is_no_such_file_is_an_error_that_says_what_to_do(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(MT5ValidationError, match="Restore it, or delete it"):
        opened(path)


def test_where_it_cannot_be_written_it_remembers_and_says_so(tmp_path: Path) -> None:
    file = opened(tmp_path / "no such folder" / "seen")
    assert file.trouble is not None
    file.put(ALICE, MARK)
    assert file.get(ALICE) == MARK
