"""What cannot be read is said in a few words, whatever it was."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.decoding import (
    MAX_COMPLAINT,
    UnreadableError,
    read_fields,
    read_json,
    read_with,
    readable,
)


class Thing(msgspec.Struct):
    kind: str
    count: int = 0


def test_what_fits_is_read() -> None:
    assert read_json(b'{"kind":"a","count":2,"new":1}', Thing) == Thing("a", 2)
    assert read_with(msgspec.json.Decoder(Thing), b'{"kind":"a"}') == Thing("a")
    assert read_fields({"kind": "a", "count": "2"}, Thing, strict=False) == Thing("a", 2)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "truncated"),
        (b'{"kind" "a"}', "malformed"),
        (b'{"count":1}', "missing required field `kind`"),
        (b'{"kind":1}', r"got `int` - at `\$\.kind`"),
        (b'{"kind":"\xff"}', "not UTF-8"),
        (b'{"new":' + b"[" * 5_000, "nested too deeply"),
    ],
)
def test_everything_else_is_one_kind_of_error(body: bytes, said: str) -> None:
    with pytest.raises(UnreadableError, match=said):
        read_json(body, Thing)
    with pytest.raises(UnreadableError, match=said):
        read_with(msgspec.json.Decoder(Thing), body)


def test_a_long_complaint_still_names_its_field() -> None:
    with pytest.raises(UnreadableError) as failed:
        read_fields({"one": 1, "k" * 100_000: 1}, _Strict)
    assert len(str(failed.value)) <= MAX_COMPLAINT
    assert str(failed.value).startswith("Object contains unknown field")


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    one: int


@given(st.text(max_size=300), st.integers(1, 100))
def test_foreign_text_is_cut_off_and_moves_no_cursor(text: str, limit: int) -> None:
    shown = readable(text, limit)
    assert len(shown) <= limit
    assert all(letter.isprintable() or letter == "\ufffd" for letter in shown)
    if len(text) <= limit and text.isprintable():
        assert shown == text
