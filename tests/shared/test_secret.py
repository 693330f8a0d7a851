"""A text that nothing prints by accident."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from mt5relay_shared.secret import Secret

PASSWORD = "Planted-Secret-1"
SECRET = Secret(PASSWORD)


@dataclass(frozen=True)
class Holder:
    account: str
    password: Secret


@pytest.mark.parametrize(
    "shown",
    [
        repr(SECRET),
        str(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>40}",
        "{}".format(SECRET),  # noqa: UP032 - a way of its own to print something
        "%s %r" % (SECRET, SECRET),  # noqa: UP031 - likewise
        repr([SECRET]),
        repr({"password": SECRET}),
        repr(Holder("1@Demo", SECRET)),
        str(ValueError(SECRET)),
        "".join(traceback.format_exception(ValueError(SECRET))),
        json.dumps({"password": SECRET}, default=str),
    ],
)
def test_printing_a_secret_shows_a_mask(shown: str) -> None:
    assert "***" in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    "send", [json.dumps, msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps, copy.deepcopy]
)
def test_a_secret_does_not_travel(send: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as refused:
        send({"password": SECRET})
    assert PASSWORD not in str(refused.value)


def test_a_secret_has_no_attributes_to_dump() -> None:
    assert not hasattr(SECRET, "__dict__")


def test_a_secret_is_revealed_when_asked_for() -> None:
    assert SECRET.reveal() == PASSWORD


def test_equal_secrets_are_equal_and_nothing_else_is() -> None:
    assert Secret(PASSWORD) == SECRET
    assert hash(Secret(PASSWORD)) == hash(SECRET)
    assert Secret("other") != SECRET
    assert SECRET != PASSWORD
