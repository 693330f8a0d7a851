"""A simulated terminal has a folder of its own, in which nothing real is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt5relay_worker.simulator.pipe.folder import (
    PLACEHOLDER,
    FolderError,
    claim_folder,
    data_folder_of,
    is_placeholder,
    lay_out,
    withdraw,
)

NAME = "terminal64.exe"


def test_the_folder_is_made_and_can_be_claimed_again(tmp_path: Path) -> None:
    program = tmp_path / "new" / "folder" / NAME
    assert claim_folder(program) == str(program.resolve())
    assert is_placeholder(program)
    assert claim_folder(program) == str(program.resolve())


def test_a_path_is_made_final(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert claim_folder(tmp_path / "link" / NAME) == str((tmp_path / "real" / NAME).resolve())


@pytest.mark.parametrize(
    ("found", "content"),
    [
        (NAME, b"MZ the real one"),
        (NAME, b""),
        (NAME, PLACEHOLDER + b"and more"),
        ("TERMINAL64.EXE", b"MZ"),
        ("metaeditor64.exe", b"MZ"),
        ("Some.dll", b"MZ"),
    ],
)
def test_a_folder_that_holds_a_program_is_refused_and_left_as_it_was(
    tmp_path: Path, found: str, content: bytes
) -> None:
    (tmp_path / found).write_bytes(content)
    with pytest.raises(FolderError, match="folder of its own"):
        claim_folder(tmp_path / NAME)
    assert [file.name for file in tmp_path.iterdir()] == [found]
    assert (tmp_path / found).read_bytes() == content


def test_a_file_that_is_something_else_is_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "notes.txt"
    mine.write_text("mine")
    with pytest.raises(FolderError, match="name another file"):
        claim_folder(mine)
    assert mine.read_text() == "mine"


def test_a_link_to_a_program_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / NAME).write_bytes(b"MZ")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / NAME).symlink_to(tmp_path / "real" / NAME)
    with pytest.raises(FolderError):
        claim_folder(tmp_path / "mine" / NAME)


def test_a_link_is_refused_wherever_it_leads(tmp_path: Path) -> None:
    claim_folder(tmp_path / "one" / NAME)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / NAME).symlink_to(tmp_path / "one" / NAME)
    with pytest.raises(FolderError):
        claim_folder(tmp_path / "two" / NAME)


def test_a_path_that_can_not_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="folder of its own"):
        claim_folder(tmp_path / "file" / NAME)


def test_the_data_folder_is_where_the_package_looks_for_terminals(tmp_path: Path) -> None:
    folder = data_folder_of("C:\\Sim\\terminal64.exe", {"APPDATA": str(tmp_path)})
    assert folder.parent == tmp_path / "MetaQuotes" / "Terminal"
    assert len(folder.name) == 32
    assert int(folder.name, 16)
    lay_out(folder, "C:\\Sim\\terminal64.exe")
    assert (folder / "origin.txt").read_text("utf-16") == "C:\\Sim"
    assert (folder / "origin.txt").read_bytes()[:2] == b"\xff\xfe"
    assert (folder / "MQL5").is_dir()
    for name in ("accounts.dat", "terminal.ini"):
        assert (folder / "config" / name).is_file()
    withdraw(folder)
    assert not (folder / "origin.txt").exists()
    assert data_folder_of("C:\\Sim\\terminal64.exe", {"APPDATA": str(tmp_path)}) == folder


def test_a_terminal_that_is_known_already_keeps_being_the_one_that_is_found(
    tmp_path: Path,
) -> None:
    other = tmp_path / "MetaQuotes" / "Terminal" / ("0" * 32)
    lay_out(other, "C:\\Program Files\\MetaTrader 5\\terminal64.exe")
    program = tmp_path / "sim" / NAME
    assert data_folder_of(str(program), {"APPDATA": str(tmp_path)}) == program.parent
    assert data_folder_of(str(program), {}) == program.parent
