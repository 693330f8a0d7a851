"""How the worker is configured, and what it says when that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotated_types import Ge, Le

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.settings import load_settings, variable_of
from mt5relay_worker.settings import WorkerSettings

VARIABLES = {variable_of(WorkerSettings, name): name for name in WorkerSettings.model_fields}
LOWEST = {
    variable: float(str(bound.ge))
    for variable, name in VARIABLES.items()
    for bound in WorkerSettings.model_fields[name].metadata
    if isinstance(bound, Ge)
}
HIGHEST = {
    variable: float(str(bound.le))
    for variable, name in VARIABLES.items()
    for bound in WorkerSettings.model_fields[name].metadata
    if isinstance(bound, Le)
}


@pytest.fixture(autouse=True)
def _simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MT5_TERMINAL", "simulated")


def refusal() -> str:
    with pytest.raises(MT5ValidationError) as refused:
        load_settings(WorkerSettings)
    return str(refused.value)


def test_the_defaults_are_those_of_the_design() -> None:
    settings = load_settings(WorkerSettings)
    assert (settings.connection_pool_size, settings.connection_idle_timeout) == (20, 300)
    assert (settings.connection_retry_limit, settings.connection_retry_delay) == (3, 1)
    assert (settings.health_check_interval, settings.breaker_longest_pause) == (30, 600)


def test_every_number_has_two_bounds() -> None:
    numbers = {
        variable
        for variable, name in VARIABLES.items()
        if type(WorkerSettings.model_fields[name].default) in (int, float)
    }
    assert numbers == set(LOWEST) == set(HIGHEST)


@pytest.mark.parametrize(
    ("variable", "wrong"),
    [
        *((variable, f"{bound - 1:g}") for variable, bound in LOWEST.items()),
        *((variable, f"{bound + 1:.0f}") for variable, bound in HIGHEST.items()),
        *((variable, "soon") for variable in LOWEST),
        *((variable, "nan") for variable in LOWEST),
        *((variable, "inf") for variable in LOWEST),
        ("MT5_TERMINAL", "metatrader4"),
        ("MT5_TERMINAL_PATH", "terminal64.exe"),
        ("MT5_TERMINAL_PATH", str(Path.home() / "terminal64.sh")),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_it_should_be(
    monkeypatch: pytest.MonkeyPatch, variable: str, wrong: str
) -> None:
    monkeypatch.setenv(variable, wrong)
    line, *_ = refusal().splitlines()
    description = WorkerSettings.model_fields[VARIABLES[variable]].description
    assert line.startswith(f"setting {variable}: ")
    assert line.endswith(f"; it should be: {description}")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"MT5_TERMINAL": "metatrader5"}, "MT5_TERMINAL_PATH is missing"),
        ({"MT5_LEASE_TTL": "5.9"}, "at least three times MT5_HEARTBEAT_INTERVAL"),
        ({"MT5_STALL_LIMIT": "9"}, "MT5_STALL_LIMIT must not be below MT5_LEASE_TTL"),
        ({"MT5_BREAKER_LONGEST_PAUSE": "29"}, "must not be below MT5_BREAKER_PAUSE"),
        ({"MT5_LOCKOUT_LONGEST_COOLDOWN": "59"}, "must not be below MT5_LOCKOUT_COOLDOWN"),
        ({"MT5_CALL_LIMIT": "60"}, "must be above MT5_CONNECTION_TIMEOUT"),
    ],
)
def test_settings_that_do_not_agree_are_both_named(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], complaint: str
) -> None:
    for variable, value in values.items():
        monkeypatch.setenv(variable, value)
    assert refusal().startswith("settings: ")
    assert complaint in refusal()


def test_the_package_never_attaches_to_a_terminal_that_was_not_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MT5_TERMINAL", "metatrader5")
    monkeypatch.setenv("MT5_TERMINAL_PATH", str(tmp_path / "terminal64.EXE"))
    assert load_settings(WorkerSettings).terminal_path == tmp_path / "terminal64.EXE"


def test_the_private_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT5_PRIVATE_KEY", "Planted-Secret")
    settings = load_settings(WorkerSettings)
    assert "Planted" not in repr(settings) + str(settings) + settings.model_dump_json()
    monkeypatch.setenv("MT5_LEASE_TTL", "0")
    assert "Planted" not in refusal()
