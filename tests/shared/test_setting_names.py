"""Names that look like settings and are none are told, with the one that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.settings import VARIABLES, load_settings, unknown_names, variable_of
from mt5relay_worker.settings import WorkerSettings


def test_the_list_of_names_is_that_of_all_processes() -> None:
    kinds = (GatewaySettings, HttpSettings, WorkerSettings)
    assert {variable_of(kind, name) for kind in kinds for name in kind.model_fields} == VARIABLES


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REDIS_ULR", "REDIS_URL"),
        ("REDISURL", "REDIS_URL"),
        ("MT5_TERMNAL_ID", "MT5_TERMINAL_ID"),
        ("MT5_HTTP_PROT", "MT5_HTTP_PORT"),
        ("MT5_SOMETHING_ELSE", ".env.example lists all settings"),
    ],
)
def test_a_misspelt_name_is_told(name: str, meant: str) -> None:
    (warning,) = unknown_names([name, "REDIS_URL", "MT5_TERMINAL"])
    assert warning.startswith(f"warning: {name} is set")
    assert meant in warning


@pytest.mark.parametrize("name", ["PATH", "REDIS_PASSWORD", "REDIS_HOST", "MT5RELAY_X", "TERMINAL"])
def test_a_name_of_another_program_is_passed_over(name: str) -> None:
    assert unknown_names([name]) == []


def test_names_of_the_environment_and_of_the_file_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MT5_TERMNAL_ID", "other")
    Path(".env").write_text("\ufeffREDIS_ULR=redis://127.0.0.1:1\n", "utf-8")
    load_settings(GatewaySettings)
    told = capsys.readouterr().err
    assert "did you mean MT5_TERMINAL_ID?" in told
    assert "REDIS_ULR is set, but is not a setting of mt5relay; did you mean REDIS_URL?" in told


def test_a_file_may_begin_with_a_byte_order_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("\ufeffMT5_TERMINAL_ID=marked\n", "utf-8")
    assert load_settings(GatewaySettings).terminal_id == "marked"


@pytest.mark.parametrize("kind", [GatewaySettings, HttpSettings, WorkerSettings])
def test_a_file_in_another_encoding_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[GatewaySettings]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes("# für später\nMT5_TERMINAL_ID=x\n".encode("latin-1"))
    with pytest.raises(MT5ValidationError, match=r"\.env in .*: byte 3 is not UTF-8; save it"):
        load_settings(kind)
