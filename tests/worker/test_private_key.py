"""The worker's private key: where it comes from, and who may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import generate_private_key, load_private_key, public_part
from mt5relay_worker.key_file import read_private_keys, write_private_key
from mt5relay_worker.settings import WorkerSettings

only_on_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no file modes")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("MT5_PRIVATE_KEY", "MT5_PRIVATE_KEY_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MT5_TERMINAL", "simulated")


def test_a_written_key_is_the_one_that_is_read(tmp_path: Path) -> None:
    written = write_private_key(tmp_path / "mt5relay.key")
    assert read_private_keys(WorkerSettings().terminal_options).current == written


def test_the_file_may_lie_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = write_private_key(tmp_path / "other.key")
    monkeypatch.setenv("MT5_PRIVATE_KEY_FILE", str(tmp_path / "other.key"))
    assert read_private_keys(WorkerSettings().terminal_options).current == written


def test_a_key_in_the_environment_is_taken_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_private_key(tmp_path / "mt5relay.key")
    pem = generate_private_key()
    monkeypatch.setenv("MT5_PRIVATE_KEY", pem.decode())
    found = read_private_keys(WorkerSettings().terminal_options)
    assert found.current == public_part(load_private_key(pem))


def test_a_key_that_is_none_is_refused_unquoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT5_PRIVATE_KEY", "Planted-Secret")
    with pytest.raises(MT5ValidationError, match=r"^private key: .*keygen") as refused:
        read_private_keys(WorkerSettings().terminal_options)
    assert "Planted" not in str(refused.value)


def test_without_a_key_the_remedy_is_named() -> None:
    with pytest.raises(MT5ValidationError, match=r"^private key: no file mt5relay\.key; .*keygen"):
        read_private_keys(WorkerSettings().terminal_options)


@only_on_posix
def test_a_new_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_private_key(tmp_path / "mt5relay.key")
    assert stat.S_IMODE((tmp_path / "mt5relay.key").stat().st_mode) == 0o600


@only_on_posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_touch_is_not_used(tmp_path: Path, mode: int) -> None:
    write_private_key(tmp_path / "mt5relay.key")
    (tmp_path / "mt5relay.key").chmod(mode)
    with pytest.raises(MT5ValidationError, match=r"^private key: others may read .*chmod 600"):
        read_private_keys(WorkerSettings().terminal_options)


def test_an_old_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mt5relay.key"
    first = write_private_key(path)
    with pytest.raises(MT5ValidationError, match="exists; credentials sealed for it would be lost"):
        write_private_key(path)
    assert public_part(load_private_key(path.read_bytes())) == first


def test_a_key_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MT5ValidationError, match="can't be written"):
        write_private_key(tmp_path / "no such folder" / "mt5relay.key")
