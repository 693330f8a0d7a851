"""The simulator has the surface of package 5.0.6231, no more guesses than needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mt5relay_worker.simulator import SimulatedMetaTrader5, generate_book
from mt5relay_worker.simulator.surface import ERROR_TEXTS, FUNCTIONS, Constants

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "metatrader5-5.0.6231.json").read_text()
)


@pytest.fixture
def mt5() -> SimulatedMetaTrader5:
    return SimulatedMetaTrader5(generate_book(2), speed=0)


def test_every_constant_has_the_value_of_the_package(mt5: SimulatedMetaTrader5) -> None:
    ours = {name: value for name, value in vars(Constants).items() if name.isupper()}
    assert list(ours.items()) == list(REFERENCE["constants"].items())
    assert REFERENCE["constants"]["TIMEFRAME_H4"] == mt5.TIMEFRAME_H4


def test_every_structure_is_a_named_tuple_with_the_fields_of_the_package(
    mt5: SimulatedMetaTrader5,
) -> None:
    for name, fields in REFERENCE["structures"].items():
        assert list(getattr(mt5, name)._fields) == fields


def test_every_function_is_there(mt5: SimulatedMetaTrader5) -> None:
    assert list(FUNCTIONS) == REFERENCE["functions"]
    assert all(callable(getattr(mt5, name)) for name in FUNCTIONS)


def test_every_error_has_its_text() -> None:
    assert {str(code): text for code, text in ERROR_TEXTS.items()} == REFERENCE["error_texts"]
