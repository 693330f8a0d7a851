"""The file `.env.example` is the reference of every setting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.settings import RelaySettings, variable_of
from mt5relay_worker.settings import WorkerSettings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
_SETTING = re.compile(r"# ([A-Z0-9_]+)=(.*)")


def fields() -> dict[str, FieldInfo]:
    """Every setting of either side, by its variable."""
    return {
        variable_of(kind, name): field
        for kind in (RelaySettings, GatewaySettings, HttpSettings, WorkerSettings)
        for name, field in kind.model_fields.items()
    }


def listed() -> dict[str, tuple[str, str]]:
    """What the file says: the explanation above each setting, and its value."""
    found: dict[str, tuple[str, str]] = {}
    for paragraph in EXAMPLE.read_text("utf-8").split("\n\n"):
        *explanation, last = paragraph.strip().splitlines()
        if match := _SETTING.fullmatch(last):
            text = " ".join(line.removeprefix("# ") for line in explanation)
            found[match[1]] = (text, match[2])
    return found


FIELDS, LISTED = fields(), listed()


def as_text(default: Any) -> str:
    match default:
        case SecretStr():
            return default.get_secret_value()
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case _:
            return str(default)


def bounds(field: FieldInfo) -> set[float]:
    lowest = {float(str(one.ge)) for one in field.metadata if isinstance(one, Ge)}
    highest = {float(str(one.le)) for one in field.metadata if isinstance(one, Le)}
    return lowest | highest


def test_it_lists_every_setting_once_and_nothing_else() -> None:
    assert sorted(LISTED) == sorted(FIELDS)
    assert all(EXAMPLE.read_text("utf-8").count(f"# {name}=") == 1 for name in FIELDS)


@pytest.mark.parametrize("variable", FIELDS)
def test_a_setting_stands_there_with_its_default(variable: str) -> None:
    explanation, value = LISTED[variable]
    default = FIELDS[variable].default
    if default is None:
        assert explanation.endswith("No default.")
        assert value
    else:
        assert value == as_text(default)


@pytest.mark.parametrize("variable", FIELDS)
def test_a_setting_is_explained_with_its_bounds(variable: str) -> None:
    explanation, _ = LISTED[variable]
    assert len(explanation) > 20
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", explanation)]
    assert bounds(FIELDS[variable]) <= set(numbers)


def test_a_copy_of_it_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in FIELDS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MT5_TERMINAL", "simulated")
    without_file = (GatewaySettings(), WorkerSettings())
    known = {name: value for name, (_, value) in LISTED.items() if FIELDS[name].default is not None}
    lines = "\n".join(f"{name}={value}" for name, value in known.items())
    Path(".env").write_text(lines, encoding="utf-8")
    assert (GatewaySettings(), WorkerSettings()) == without_file
