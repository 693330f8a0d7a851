"""A recording tells what a terminal answers, and nothing of whose it is."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.worker.simulator.pipe.conftest import DroppedError, PackageClient, Served

from mt5relay_worker.simulator import Faults
from mt5relay_worker.simulator.book import Account
from mt5relay_worker.simulator.pipe.codec import (
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code
from mt5relay_worker.simulator.pipe.exchange import Drop, Write
from mt5relay_worker.simulator.pipe.masking import FIRST_LOGIN, Mask
from mt5relay_worker.simulator.pipe.recording import Entry, Recorder, read_recording, replay
from mt5relay_worker.simulator.pipe.records import ACCOUNT_INFO, TICK, TRADE_POSITION
from mt5relay_worker.simulator.pipe.relay import Relay
from mt5relay_worker.simulator.structures import TradeRequest, zeros

Serve = Callable[..., Served]

OF_THE_PACKAGE = Path(__file__).parent / "package-5.0.6231.jsonl"
SLOT_OF_NAME = next((at, width) for name, _, at, width in ACCOUNT_INFO.places() if name == "name")


def recorded(served: Served, alice: Account) -> tuple[Relay, io.BytesIO, PackageClient]:
    """A client behind a relay to a served terminal."""
    out = io.BytesIO()
    relay = Relay(lambda: Passage(served), Recorder(out, 0.0), clock=served.clock.time)
    client = PackageClient(relay, served.clock)
    assert client.initialize(alice.login, alice.password, alice.server) == 1
    return relay, out, client


class Passage:
    """A pipe to a served terminal; it keeps on asking until there is a reply."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._number = served.exchange.connect()

    def ask(self, frame: bytes) -> bytes:
        actions = self._served.exchange.receive(self._number, frame, self._served.clock.now)
        for action in actions:
            if isinstance(action, Write):
                return action.frame
        raise OSError("the terminal has closed its pipe")

    def close(self) -> None:
        self._served.exchange.disconnect(self._number)


def test_what_the_package_sent_and_was_answered_is_what_the_codec_makes_of_it() -> None:
    """Recorded with the unmodified package 5.0.6231 under Wine, from the simulator's pipe."""
    with OF_THE_PACKAGE.open("rb") as lines:
        entries = list(read_recording(lines))
    assert list(replay(entries)) == []
    sent = {entry.command for entry in entries if entry.direction == "request"}
    assert set(COMMANDS) - sent == {Code.ORDERS_OF_SYMBOL, Code.ORDER}


def test_a_recording_of_a_session_replays_without_a_doubt(serve: Serve, alice: Account) -> None:
    served = serve()
    _, out, client = recorded(served, alice)
    for code in (Code.ACCOUNT_INFO, Code.POSITIONS, Code.ORDERS, Code.TERMINAL_INFO):
        assert client.call(code).code == 1
    assert client.call(Code.SYMBOL, "NOPE").code == -4
    entries = list(read_recording(out.getvalue().splitlines()))
    assert list(replay(entries)) == []
    assert [entry.direction for entry in entries[:2]] == ["request", "reply"]


def test_it_holds_no_password_no_login_and_no_name(serve: Serve, alice: Account) -> None:
    served = serve()
    _, out, client = recorded(served, alice)
    shown = client.call(Code.ACCOUNT_INFO).data
    assert shown["login"] == alice.login, "who asks gets the truth"
    stored = out.getvalue()
    for secret in (alice.password, "Demo Trader"):
        assert secret.encode("utf-16-le").hex().encode() not in stored
    entries = list(read_recording(stored.splitlines()))
    masked = next(entry.frame for entry in entries if entry.command == Code.LOGIN)
    assert decode_request(bytes.fromhex(masked or "")).parameters[1:3] == (FIRST_LOGIN, "")
    info = decode_reply(bytes.fromhex(entries[-1].frame or ""))
    assert ACCOUNT_INFO.decode(info.data)["login"] == FIRST_LOGIN


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_password_leaves_no_trace_not_even_its_length(password: str) -> None:
    mask = Mask()
    frames = {
        mask.request(encode_request(Request(Code.LOGIN, (0, 7, text, "S"))))
        for text in (password, "")
    }
    assert len(frames) == 1


@given(st.binary(max_size=300), st.sampled_from(list(Code)))
def test_what_can_not_be_read_is_withheld(garbage: bytes, command: Code) -> None:
    out = io.BytesIO()
    recorder = Recorder(out, 0.0)
    frame = (4 + len(garbage)).to_bytes(4, "little") + int(command).to_bytes(4, "little") + garbage
    recorder.request(1, frame, 0.0)
    (entry,) = read_recording(out.getvalue().splitlines())
    if entry.frame is None:
        assert next(iter(replay([entry]))).line == 1
        assert garbage.hex() not in out.getvalue().decode() or len(garbage) < 4
    else:
        decode_request(bytes.fromhex(entry.frame))


def test_the_same_login_is_always_the_same_number_and_nobody_stays_nobody() -> None:
    mask = Mask()

    def number(login: int) -> object:
        data = bytearray(ACCOUNT_INFO.size)
        data[:8] = login.to_bytes(8, "little")
        masked = mask.reply(encode_reply(Reply(Code.ACCOUNT_INFO, 1, bytes(data))))
        return ACCOUNT_INFO.decode(decode_reply(masked or b"").data)["login"]

    assert [number(login) for login in (777, 888, 777, 0)] == [
        FIRST_LOGIN,
        FIRST_LOGIN + 1,
        FIRST_LOGIN,
        0,
    ]


def test_what_stands_behind_a_text_is_crossed_out_and_its_form_stays() -> None:
    at, width = SLOT_OF_NAME
    data = bytearray(ACCOUNT_INFO.size)
    data[at : at + width] = "Jo\0left\0".encode("utf-16-le").ljust(width, b"\0")
    masked = Mask().reply(encode_reply(Reply(Code.ACCOUNT_INFO, 1, bytes(data))))
    slot = decode_reply(masked or b"").data[at : at + width].decode("utf-16-le")
    assert slot.rstrip("\0") == "xx\0xxxx"


def test_comments_are_crossed_out_and_symbols_are_not() -> None:
    asked = TradeRequest._make(zeros(TradeRequest))._replace(symbol="EURUSD", comment="mine")
    masked = Mask().request(encode_request(Request(Code.ORDER_SEND, (asked,))))
    (sent,) = decode_request(masked or b"").parameters
    assert isinstance(sent, TradeRequest)
    assert (sent.symbol, sent.comment) == ("EURUSD", "xxxx")
    slots = {name: at for name, _, at, _ in TRADE_POSITION.places()}
    data = bytearray(4 + TRADE_POSITION.size)
    data[0] = 1
    for name, text in {"symbol": "EURUSD", "comment": "mine"}.items():
        place = 4 + slots[name]
        data[place : place + 2 * len(text)] = text.encode("utf-16-le")
    hidden = Mask().reply(encode_reply(Reply(Code.POSITIONS, 1, bytes(data))))
    (held,) = TRADE_POSITION.decode_list(decode_reply(hidden or b"").data)
    assert (held["symbol"], held["comment"]) == ("EURUSD", "xxxx")


def test_a_refusal_keeps_its_status_and_loses_its_data() -> None:
    masked = Mask().reply(encode_reply(Reply(Code.ACCOUNT_INFO, -4, b"secret")))
    assert decode_reply(masked or b"") == Reply(Code.ACCOUNT_INFO, -4)


def test_a_reply_that_is_not_as_the_tables_say_is_a_doubt() -> None:
    tick = TICK.encode_list([])
    good = Entry("reply", Code.TICKS_FROM, 0.0, 1, encode_reply(Reply(104, 1, tick)).hex(), 16)
    other = Entry("reply", Code.TICKS_FROM, 0.0, 1, encode_reply(Reply(104, 1, b"")).hex(), 12)
    unknown = Entry("reply", 999, 0.0, 1, encode_reply(Reply(999, 1)).hex(), 12)
    position = bytearray(TRADE_POSITION.size)
    position[104] = 1  # the field that nothing is known of
    odd = Entry("reply", 123, 0.0, 1, encode_reply(Reply(123, 1, bytes(position))).hex(), 332)
    assert [doubt.line for doubt in replay([good, other, unknown, odd])] == [2, 3, 4]
    assert "byte 116" in next(iter(replay([odd]))).why


def test_a_terminal_that_goes_drops_the_client_and_others_can_come(
    serve: Serve, alice: Account, bob: Account
) -> None:
    served = serve(Faults(scale=0, terminal_dies_every_switches=2))
    relay, _, client = recorded(served, alice)
    assert client.login(bob.login, bob.password, bob.server) == 1
    with pytest.raises(DroppedError):
        client.call(Code.ACCOUNT_INFO)
    assert PackageClient(relay, served.clock).initialize() == 1


def test_a_client_that_talks_nonsense_is_dropped(serve: Serve, alice: Account) -> None:
    relay, out, _ = recorded(serve(), alice)
    before = out.getvalue()
    number = relay.connect()
    assert relay.receive(number, b"\xff" * 8, 0.0) == [Drop(number)]
    assert relay.receive(number, b"\xff" * 8, 0.0) == []
    assert out.getvalue() == before
