"""Every parameter of every public method takes what its type says, and refuses the rest by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mt5relay_gateway import AccountClient, BlockingAccountClient, FleetClient, MT5ValidationError
from mt5relay_gateway.composing import OPTIONS
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_gateway.testing import FakeAccountClient

GOOD: dict[str, Any] = {
    "account": "1@S",
    "from_": datetime(2026, 1, 1, tzinfo=UTC),
    "to": datetime(2026, 1, 2, tzinfo=UTC),
    "name": "EURUSD",
    "symbol": "EURUSD",
    "timeframe": "M1",
    "count": 3,
    "operation": "positions",
    "arguments": None,
    "request_id": "id-1",
    "wait": 0.0,
}
WRONG: tuple[Any, ...] = (object(), "five", 5, b"bytes", [1], {"a": 1}, float("nan"), -3, True)
TAKES: dict[str, tuple[Any, ...]] = {  # of these, what is right for a parameter
    "count": (5,),
    "name": ("five",),
    "symbol": ("five",),
    "arguments": (),
    "request_id": ("five",),
    "wait": (5,),
    "timeout": (5,),
    "max_age": (5,),
    "stale_if_error": (5,),
    "traceparent": ("five",),
}
METHODS = [
    name
    for name, _ in inspect.getmembers(AccountLookups, inspect.isfunction)
    if not name.startswith("_") and name not in ("open", "aclose", "health")
]


def cases() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in METHODS:
        parameters = inspect.signature(getattr(AccountLookups, name)).parameters
        named = [one for one in parameters if one not in ("self", "options")]
        options = [one for one in OPTIONS if one not in named] if "options" in parameters else []
        found += [(name, one) for one in (*named, *options)]
    return found


def words_of(method: str) -> dict[str, Any]:
    parameters = inspect.signature(getattr(AccountLookups, method)).parameters
    return {name: GOOD[name] for name in parameters if name in GOOD}


@pytest.fixture
async def fake() -> FakeAccountClient:
    client = FakeAccountClient()
    await client.open()
    return client


@pytest.mark.parametrize(("method", "parameter"), cases())
async def test_a_value_of_another_type_is_refused_by_name(
    fake: FakeAccountClient, method: str, parameter: str
) -> None:
    right = TAKES.get(parameter, ())
    for wrong in WRONG:
        if any(wrong is one or (type(wrong) is type(one) and wrong == one) for one in right):
            continue
        given = {**words_of(method), parameter: wrong}
        with pytest.raises(MT5ValidationError) as refused:
            await getattr(fake, method)(**given)
        text = refused.value.message
        assert parameter.strip("_") in text or "arguments of" in text, (wrong, text)


@pytest.mark.parametrize("make", [AccountClient, BlockingAccountClient, FleetClient])
@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        ("redis_url", 5),
        ("redis_url", "not a url"),
        ("timeout", "5"),
        ("timeout", None),
        ("queue_limit", "10"),
        ("queue_limit", -1),
        ("queue_limit", 1.5),
        ("gateway_limit", None),
        ("name", "two words"),
        ("allow_plaintext", "yes"),
        ("key_prefix", "a b"),
        ("key_prefix", 5),
    ],
)
def test_a_wrong_parameter_of_a_constructor_is_named(
    make: Callable[..., Any], parameter: str, wrong: Any
) -> None:
    with pytest.raises(MT5ValidationError) as refused:
        make(**{parameter: wrong})
    named = {"redis_url": ("redis_url", "REDIS_URL"), "key_prefix": ("key_prefix", "prefix")}
    assert any(one in refused.value.message for one in named.get(parameter, (parameter,)))
