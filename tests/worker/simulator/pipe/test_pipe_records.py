"""The records are those that were observed on the pipe, and survive the way there and back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.pipe.records import (
    ACCOUNT_INFO,
    RECORDS,
    TICK,
    TRADE_POSITION,
    Layout,
    fill_slot,
    read_slot,
)

OBSERVED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "pipe-records.json").read_text("utf-8")
)["records"]
BY_NAME = {layout.name: layout for layout in RECORDS}
NAMES = sorted(BY_NAME)
WIDTHS = {"u32": 4, "u64": 8, "i64": 8, "f64": 8, "bool": 1}
STRATEGIES = {
    "u32": st.integers(0, (1 << 32) - 1),
    "u64": st.integers(0, (1 << 64) - 1),
    "i64": st.integers(-(1 << 63), (1 << 63) - 1),
    "f64": st.floats(),
    "bool": st.booleans(),
}


def texts(slot: int) -> st.SearchStrategy[str]:
    """Texts that fit: their UTF-16 units and a NUL."""
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(letters, max_size=slot // 4 - 1)


def records(layout: Layout) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            name: STRATEGIES[kind] if kind in STRATEGIES else texts(int(kind.removeprefix("text:")))
            for name, kind in layout.fields
            if not name.startswith("_")
        }
    )


def alike(one: object, other: object) -> bool:
    """Equal, where not-a-number equals itself."""
    return one == other or (one != one and other != other)  # noqa: PLR0124


def test_every_observed_record_is_known() -> None:
    assert set(BY_NAME) == set(OBSERVED)


@pytest.mark.parametrize("name", NAMES)
def test_fields_offsets_types_and_size_are_those_observed(name: str) -> None:
    offset, rows = 0, list[tuple[str, int, str, int]]()
    for field, kind in BY_NAME[name].fields:
        width = WIDTHS.get(kind) or int(kind.removeprefix("text:"))
        shown = {"bool": "bool8"}.get(kind, kind.partition(":")[0])
        rows.append((field, offset, shown, width))
        offset += width
    assert rows == [tuple(row) for row in OBSERVED[name]["fields"]]
    assert offset == BY_NAME[name].size == OBSERVED[name]["size"]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_record_comes_back_as_it_went(name: str, data: st.DataObject) -> None:
    layout = BY_NAME[name]
    record = data.draw(records(layout))
    encoded = layout.encode(SimpleNamespace(**record))
    assert len(encoded) == layout.size
    decoded = layout.decode(encoded)
    assert decoded.keys() == record.keys()
    assert all(alike(decoded[field], value) for field, value in record.items())


@given(st.lists(records(TICK), max_size=5))
def test_a_list_comes_back_as_it_went(ticks: list[dict[str, Any]]) -> None:
    encoded = TICK.encode_list([SimpleNamespace(**tick) for tick in ticks])
    decoded = TICK.decode_list(encoded)
    assert [len(tick) for tick in decoded] == [len(tick) for tick in ticks]
    for one, other in zip(decoded, ticks, strict=True):
        assert all(alike(one[field], value) for field, value in other.items())


@pytest.mark.parametrize("name", NAMES)
@given(garbage=st.binary(max_size=5_000))
def test_garbage_is_a_record_or_the_codecs_own_error(name: str, garbage: bytes) -> None:
    for read in (BY_NAME[name].decode, BY_NAME[name].decode_list):
        try:
            read(garbage)
        except CodecError:
            continue


def test_a_list_that_promises_four_thousand_million_records_is_refused_at_once() -> None:
    with pytest.raises(CodecError, match="another length"):
        TICK.decode_list(b"\xff\xff\xff\xff" + bytes(60))


@pytest.mark.parametrize("field", ["login", "name", "balance"])
def test_a_value_that_does_not_fit_its_field_is_refused(field: str) -> None:
    blank = dict.fromkeys((name for name, _ in ACCOUNT_INFO.fields), 0) | dict.fromkeys(
        ("name", "server", "currency", "company"), ""
    )
    wrong = {"login": -1, "name": 5, "balance": "much"}[field]
    with pytest.raises(CodecError, match="AccountInfo"):
        ACCOUNT_INFO.encode(SimpleNamespace(**blank | {field: wrong}))
    with pytest.raises(CodecError, match="AccountInfo"):
        ACCOUNT_INFO.encode(SimpleNamespace(login=1))


def test_a_field_whose_meaning_is_unknown_is_sent_as_zero_and_not_read() -> None:
    fields = [name for name, _ in TRADE_POSITION.fields]
    assert "_commission" in fields
    assert "_commission" not in TRADE_POSITION.decode(bytes(TRADE_POSITION.size))


@given(st.text(), st.integers(1, 40).map(lambda units: units * 2))
def test_a_text_always_fits_its_slot_and_ends_in_nul(text: str, slot: int) -> None:
    if any(0xD800 <= ord(letter) < 0xE000 for letter in text):
        with pytest.raises(UnicodeError):
            fill_slot(text.partition("\0")[0] + "\ud800", slot)
        return
    filled = fill_slot(text, slot)
    assert (len(filled), filled[-2:]) == (slot, b"\0\0")
    assert text.startswith(read_slot(filled))


def test_a_long_text_is_cut_between_characters() -> None:
    assert read_slot(fill_slot("ab\U0001f600", 8)) == "ab"
    assert read_slot(fill_slot("a\U0001f600", 8)) == "a\U0001f600"


def test_what_stands_behind_the_nul_is_not_read() -> None:
    assert read_slot("EUR\0\ud800".encode("utf-16-le", "surrogatepass")) == "EUR"
    with pytest.raises(CodecError):
        read_slot("\ud800\0".encode("utf-16-le", "surrogatepass"))


def test_not_a_number_is_a_number_on_the_pipe() -> None:
    tick = SimpleNamespace(
        **dict.fromkeys((name for name, _ in TICK.fields), 0) | {"bid": math.nan}
    )
    assert math.isnan(float(TICK.decode(TICK.encode(tick))["bid"]))
