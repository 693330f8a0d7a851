"""The file of private keys in the steps of a change; each leaves a file that a worker can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import generate_private_key, load_private_key
from mt5relay_worker.key_file import (
    KeyFile,
    parse_key_file,
    read_key_file,
    replace_key_file,
    sweep,
    write_private_key,
)
from mt5relay_worker.key_rotation import census_of, terminals_beside


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mt5relay.key"
    write_private_key(path)
    return path


def ids(file: KeyFile) -> list[str]:
    return file.ring.key_ids


def test_a_next_key_opens_but_nothing_is_sealed_to_it_yet(path: Path) -> None:
    before = read_key_file(path)
    replace_key_file(path, before.prepared())
    after = read_key_file(path)
    assert ids(after)[0] == ids(before)[0]
    assert len(ids(after)) == 2
    assert after.next is not None


def test_then_it_is_the_current_one_and_the_old_one_still_opens(path: Path) -> None:
    prepared = read_key_file(path).prepared()
    replace_key_file(path, prepared.changed())
    changed = read_key_file(path)
    assert ids(changed) == list(reversed(ids(prepared)))
    assert changed.next is None
    assert len(changed.old) == 1


def test_in_the_end_it_is_the_only_one(path: Path) -> None:
    changed = read_key_file(path).changed()
    replace_key_file(path, changed.retired())
    assert ids(read_key_file(path)) == ids(changed)[:1]


def test_a_step_that_is_taken_twice_makes_no_second_key(path: Path) -> None:
    prepared = read_key_file(path).prepared()
    assert ids(prepared.prepared()) == ids(prepared)
    changed = prepared.changed()
    assert ids(changed.changed()) == ids(changed), "an old key must be retired first"
    assert ids(changed.prepared()) == ids(changed)


@pytest.mark.parametrize("step", ["prepared", "changed", "retired"])
def test_what_is_written_reads_back_whoever_ended_its_lines(path: Path, step: str) -> None:
    file: KeyFile = getattr(read_key_file(path).prepared(), step)()
    again = parse_key_file(file.as_pem())
    assert again.as_pem() == file.as_pem()
    replace_key_file(path, file)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert ids(read_key_file(path)) == ids(file)


def test_blocks_that_a_person_put_together_are_the_current_key_and_old_ones() -> None:
    new, old = generate_private_key(), generate_private_key()
    file = parse_key_file(b"a new one\n" + new + b"\nthe old one\n" + old)
    assert ids(file) == ids(KeyFile(load_private_key(new), None, (load_private_key(old),)))


@pytest.mark.parametrize("pem", [b"", b"# next key\n", b"PlantedSecret\n# next key\nPlantedSecret"])
def test_what_holds_no_key_is_refused_unquoted(pem: bytes) -> None:
    with pytest.raises(MT5ValidationError, match="keygen") as refused:
        parse_key_file(pem)
    assert "Planted" not in str(refused.value)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(MT5ValidationError, match="can't be replaced"):
        replace_key_file(path / "below a file", read_key_file(path).prepared())
    assert path.read_bytes() == before


def test_an_envelope_that_cannot_be_read_is_under_no_key(path: Path) -> None:
    census = census_of(b"no key", {b"1@X": b"no envelope"}, is_worker_there=True)
    assert census.published is None
    assert census.unopenable(read_key_file(path).ring) == ["1@X"]


def test_what_a_killed_process_left_beside_it_is_swept_away(path: Path) -> None:
    left = path.with_name(f".{path.name}.0123abcd.new")
    left.write_bytes(b"half a key")
    sweep(path)
    assert list(path.parent.iterdir()) == [path]


def test_terminals_that_share_a_key_file_are_known_by_what_they_left_beside_it(path: Path) -> None:
    for name in ("main", "t-2.b", "no terminal", ""):
        path.with_name(f"{path.name}.{name}.seen").touch()
    path.with_name("other.key.t3.seen").touch()
    assert sorted(terminals_beside(path)) == ["main", "t-2.b"]
