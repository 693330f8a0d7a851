"""Whatever a client sends, the terminal lives on, and says what it made of it."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.worker.simulator.pipe.conftest import Served

from mt5relay_worker.simulator.book import Account
from mt5relay_worker.simulator.pipe.codec import (
    HELLO_FROM_PACKAGE,
    FrameBuffer,
    Request,
    decode_data,
    decode_reply,
    encode_request,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code, Kind
from mt5relay_worker.simulator.pipe.exchange import Action, Drop, Exchange, Write
from mt5relay_worker.simulator.structures import TradeRequest

Serve = Callable[..., Served]

letters = st.characters(exclude_categories=["Cs"])
symbols = st.sampled_from(["EURUSD", "XAUUSD", "NOPE", ""]) | st.text(letters, max_size=40)
slots = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=15)
u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
few = st.integers(0, 20) | st.integers((1 << 32) - 20, (1 << 32) - 1)
moments = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(1_749_999_000, 1_750_001_000)
numbers = st.floats()
frames = st.sampled_from([1, 16_385, 32_769, 49_153]) | u32
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.U8: st.integers(0, 255),
    Kind.U32: u32,
    Kind.I64: moments,
    Kind.U64: u64 | st.integers(1_000, 1_050),
    Kind.F64: numbers,
    Kind.TEXT: symbols,
    Kind.TRADE_REQUEST: st.builds(
        TradeRequest,
        *(st.integers(0, 10) | u32, u64, u64, symbols.map(lambda text: text[:15]), numbers),
        *(numbers, numbers, numbers, numbers, u64, st.integers(0, 8) | u32, u32, u32),
        *(moments, slots, u64, u64),
    ),
}
# Few bars and ticks: the longest answers are right, and take seconds each.
BOUNDED: dict[int, tuple[st.SearchStrategy[Any], ...]] = {
    Code.RATES_FROM_POS: (symbols, frames, few, few),
    Code.RATES_FROM: (symbols, frames, moments, few),
    Code.RATES_RANGE: (symbols, frames, st.integers(1_749_999_000, 1 << 62), moments),
    Code.TICKS_FROM: (symbols, moments, few, u32),
    Code.TICKS_RANGE: (symbols, st.integers(1_749_999_000_000, 1 << 62), moments, u32),
}


def request_of(command: int) -> st.SearchStrategy[Request]:
    usual = tuple(VALUES[kind] for kind in COMMANDS[command].parameters)
    return st.builds(Request, st.just(command), st.tuples(*BOUNDED.get(command, usual)))


requests = st.sampled_from(sorted(COMMANDS)).flatmap(request_of)
fuzz = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def logged_in(served: Served, account: Account) -> int:
    number = served.exchange.connect()
    asked = Request(Code.LOGIN, (0, account.login, account.password, account.server))
    for request in (HELLO_FROM_PACKAGE, asked):
        assert send(served.exchange, number, encode_request(request), served.clock.now)
    return number


def send(exchange: Exchange, number: int, data: bytes, now: float) -> list[Action]:
    return exchange.receive(number, data, now)


@fuzz
@given(sent=st.lists(requests, max_size=8))
def test_every_request_is_answered_in_the_form_of_its_command(
    serve: Serve, alice: Account, caplog: pytest.LogCaptureFixture, sent: list[Request]
) -> None:
    served = serve()
    number = logged_in(served, alice)
    with caplog.at_level(logging.ERROR):
        for request in sent:
            (action,) = send(served.exchange, number, encode_request(request), served.clock.now)
            assert isinstance(action, Write)
            (whole,) = FrameBuffer(1 << 30).feed(action.frame)
            reply = decode_reply(whole)
            assert reply.command == request.command
            if reply.status >= 0:
                decode_data(COMMANDS[request.command].answer, reply.data)
            else:
                assert reply.data == b""
    assert not caplog.records, "a call failed by a defect"


@fuzz
@given(pieces=st.lists(st.binary(max_size=200), max_size=8), command=st.sampled_from(list(Code)))
def test_garbage_never_ends_the_terminal_nor_touches_others(
    serve: Serve, alice: Account, pieces: list[bytes], command: Code
) -> None:
    served = serve()
    good, bad = logged_in(served, alice), served.exchange.connect()
    for piece in pieces:
        framed = struct.pack("<II", 4 + len(piece), command) + piece
        for data in (framed, piece):
            actions = send(served.exchange, bad, data, served.clock.now)
            assert {action.client for action in actions} <= {bad}
    served.exchange.poll(served.clock.now)
    asked = encode_request(Request(Code.ACCOUNT_INFO))
    (action,) = send(served.exchange, good, asked, served.clock.now)
    assert isinstance(action, Write)


def test_requests_sent_ahead_are_answered_in_their_order(serve: Serve, alice: Account) -> None:
    served = serve()
    number = logged_in(served, alice)
    codes = [Code.POSITIONS_TOTAL, Code.ACCOUNT_INFO, Code.ORDERS_TOTAL]
    stream = b"".join(encode_request(Request(code)) for code in codes)
    actions = send(served.exchange, number, stream, served.clock.now)
    frames = [action.frame for action in actions if isinstance(action, Write)]
    assert [struct.unpack_from("<I", frame, 4)[0] for frame in frames] == codes


def test_who_is_gone_is_sent_nothing_more(serve: Serve, alice: Account) -> None:
    served = serve()
    number = logged_in(served, alice)
    served.exchange.disconnect(number)
    served.exchange.disconnect(number)
    asked = encode_request(Request(Code.ACCOUNT_INFO))
    assert send(served.exchange, number, asked, served.clock.now) == []
    assert served.exchange.next_due() is None


def test_a_frame_that_never_ends_is_no_request(serve: Serve) -> None:
    served = serve()
    number = served.exchange.connect()
    assert send(served.exchange, number, b"\x08\0\0\0\xbe", served.clock.now) == []
    too_long = struct.pack("<I", 1 << 20)
    other = served.exchange.connect()
    assert send(served.exchange, other, too_long, served.clock.now) == [Drop(other)]


def test_no_repr_tells_a_password(serve: Serve, alice: Account) -> None:
    served = serve()
    logged_in(served, alice)
    shown = repr(served.exchange) + repr(served.terminal)
    assert alice.password not in shown
    assert "1 clients" in shown
