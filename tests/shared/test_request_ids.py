"""Ids that are unique and sort by time."""

from __future__ import annotations

import time

from mt5relay_shared.ids import new_request_id
from mt5relay_shared.messages import Request, decode_request, encode

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def value_of(ulid: str) -> int:
    value = 0
    for character in ulid:
        value = value << 5 | CROCKFORD.index(character)
    return value


def test_ids_do_not_repeat() -> None:
    assert len({new_request_id() for _ in range(10_000)}) == 10_000


def test_an_id_tells_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = value_of(new_request_id()) >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = [new_request_id() for _ in range(5_000)]
    stamps = [text[:10] for text in made]
    assert stamps == sorted(stamps)


def test_an_id_is_legal_on_the_wire() -> None:
    request = Request(id=new_request_id(), account="1@Demo", operation="orders")
    assert len(request.id) == 26
    assert decode_request(encode(request)) == request
