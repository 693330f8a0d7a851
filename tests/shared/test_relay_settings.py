"""How a process is configured, and what it says when that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.settings import (
    EXIT_SETTINGS,
    RelaySettings,
    load_settings,
    load_settings_or_exit,
    variable_of,
)

VARIABLES = [variable_of(RelaySettings, name) for name in RelaySettings.model_fields]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_the_variables_have_their_documented_names() -> None:
    assert VARIABLES == [
        "REDIS_URL",
        "MT5_ALLOW_PLAINTEXT_REDIS",
        "MT5_TERMINAL_ID",
        "MT5_KEY_PREFIX",
        "MT5_LOG_FORMAT",
        "MT5_LOG_LEVEL",
    ]


def test_without_any_setting_a_local_redis_and_the_main_terminal_are_meant() -> None:
    settings = load_settings(RelaySettings)
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert settings.keys.requests == "{mt5:main}:requests"
    assert (settings.log_format, settings.log_level) == ("auto", "info")


def test_the_environment_decides_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = "# a comment\nMT5_TERMINAL_ID=from-file\nMT5_KEY_PREFIX=from-file\nSOMETHING_ELSE=1\n"
    (tmp_path / ".env").write_text(lines, encoding="utf-8")
    monkeypatch.setenv("MT5_TERMINAL_ID", "from-environment")
    settings = load_settings(RelaySettings)
    assert settings.keys.tag == "{from-file:from-environment}"


@pytest.mark.parametrize(
    ("variable", "wrong", "remedy"),
    [
        ("REDIS_URL", "http://localhost", "rediss:// for TLS"),
        ("MT5_TERMINAL_ID", "a:b", "letters, digits, dots"),
        ("MT5_KEY_PREFIX", "{x}", "first part of every key"),
        ("MT5_KEY_PREFIX", "x\n", "first part of every key"),
        ("MT5_LOG_FORMAT", "xml", "json, console, or auto"),
        ("MT5_LOG_LEVEL", "loud", "debug, info, warning or error"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, variable: str, wrong: str, remedy: str
) -> None:
    monkeypatch.setenv(variable, wrong)
    with pytest.raises(MT5ValidationError, match=f"^setting {variable}: .*{remedy}") as refused:
        load_settings(RelaySettings)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_each_wrong_setting_gets_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT5_LOG_FORMAT", "xml")
    monkeypatch.setenv("MT5_LOG_LEVEL", "loud")
    with pytest.raises(MT5ValidationError) as refused:
        load_settings(RelaySettings)
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "setting MT5_LOG_FORMAT",
        "setting MT5_LOG_LEVEL",
    ]


def test_a_url_with_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "http://user:Planted-Secret@host")
    with pytest.raises(MT5ValidationError) as refused:
        load_settings(RelaySettings)
    assert "Planted" not in str(refused.value)
    monkeypatch.setenv("REDIS_URL", "redis://user:Planted-Secret@localhost")
    settings = load_settings(RelaySettings)
    assert "Planted" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_wrong_setting_stops_the_process_with_an_explanation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MT5_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as stopped:
        load_settings_or_exit(RelaySettings)
    assert stopped.value.code == EXIT_SETTINGS == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("setting MT5_LOG_LEVEL: ")
    assert "Traceback" not in printed.err


def test_settings_do_not_change_while_a_process_runs() -> None:
    settings = load_settings(RelaySettings)
    with pytest.raises(ValueError, match="frozen"):
        settings.log_level = "debug"
