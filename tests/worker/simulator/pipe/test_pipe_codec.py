"""Frames go there and back; bytes that make no sense end in the codec's own error."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_worker.simulator.pipe.codec import (
    HELLO_FROM_PACKAGE,
    MAX_REQUEST_BYTES,
    FrameBuffer,
    ParametersError,
    Reply,
    Request,
    UnknownCommandError,
    decode_data,
    decode_reply,
    decode_request,
    encode_data,
    encode_reply,
    encode_request,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code, Kind, Shape
from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.structures import TradeRequest

letters = st.characters(exclude_categories=["Cs"])
slots = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=15)
u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
f64 = st.floats(allow_nan=False)
trades = st.builds(
    TradeRequest,
    *(u32, u64, u64, slots, f64, f64, f64, f64, f64, u64, u32, u32, u32, i64, slots, u64, u64),
)
PARAMETERS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.U8: st.integers(0, 255),
    Kind.U32: u32,
    Kind.I64: i64,
    Kind.U64: u64,
    Kind.F64: f64,
    Kind.TEXT: st.text(letters, max_size=200),
    Kind.TRADE_REQUEST: trades,
}
requests = st.sampled_from(sorted(COMMANDS)).flatmap(
    lambda command: st.builds(
        Request,
        st.just(command),
        st.tuples(*(PARAMETERS[kind] for kind in COMMANDS[command].parameters)),
    )
)


@given(requests)
def test_a_request_comes_back_as_it_went(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


@given(st.lists(requests, max_size=4), st.data())
def test_frames_come_whole_however_the_bytes_are_cut(
    sent: list[Request], data: st.DataObject
) -> None:
    stream = b"".join(encode_request(request) for request in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    buffer = FrameBuffer()
    edges = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    found = [frame for start, end in edges for frame in buffer.feed(stream[start:end])]
    assert [decode_request(frame) for frame in found] == sent


@given(st.binary(max_size=400))
def test_garbage_is_a_request_or_the_codecs_own_error(garbage: bytes) -> None:
    try:
        request = decode_request(garbage)
    except CodecError:
        return
    assert request.command in COMMANDS


@given(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=400))
def test_garbage_behind_a_known_command_names_that_command(command: int, garbage: bytes) -> None:
    frame = struct.pack("<II", 4 + len(garbage), command) + garbage
    found = command
    try:
        found = decode_request(frame).command
    except ParametersError as error:
        found = error.command
    assert found == command


@given(st.binary(max_size=2_000))
def test_garbage_in_a_stream_is_frames_or_the_codecs_own_error(garbage: bytes) -> None:
    buffer = FrameBuffer(limit=1_000)
    try:
        frames = list(buffer.feed(garbage))
    except CodecError:
        return
    assert sum(map(len, frames)) <= len(garbage)


@given(st.binary(max_size=400), st.sampled_from(sorted(COMMANDS)))
def test_garbage_as_a_reply_ends_in_the_codecs_own_error(garbage: bytes, command: int) -> None:
    with suppress(CodecError):
        decode_reply(garbage)
    with suppress(CodecError):
        decode_data(COMMANDS[command].answer, garbage)


def test_a_length_without_its_bytes_costs_no_memory() -> None:
    promises = (
        struct.pack("<III", 8, Code.SYMBOL, 0xFFFF_FFFF),
        struct.pack("<IIiI", 12, Code.POSITIONS, 1, 0xFFFF_FFFF),
    )
    tracemalloc.start()
    try:
        with pytest.raises(ParametersError):
            decode_request(promises[0])
        with pytest.raises(CodecError):
            decode_data(COMMANDS[Code.POSITIONS].answer, decode_reply(promises[1]).data)
        with pytest.raises(CodecError):
            list(FrameBuffer().feed(struct.pack("<I", 0xFFFF_FFF0)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("rest", [0, 3, MAX_REQUEST_BYTES + 1])
def test_a_stream_that_can_not_be_followed_is_refused(rest: int) -> None:
    with pytest.raises(CodecError):
        list(FrameBuffer().feed(struct.pack("<II", rest, 4)))


def test_the_package_greets_as_it_was_observed_to() -> None:
    observed = "1800000004000000030000000600000050007900740068006f006e00"
    assert encode_request(HELLO_FROM_PACKAGE).hex() == observed
    assert decode_request(bytes.fromhex(observed)) == HELLO_FROM_PACKAGE


def test_an_unknown_command_and_wrong_parameters_are_told_apart() -> None:
    with pytest.raises(UnknownCommandError) as unknown:
        decode_request(struct.pack("<II", 4, 9_999))
    assert unknown.value.command == 9_999
    with pytest.raises(ParametersError, match="ends too early"):
        decode_request(struct.pack("<II", 4, Code.SYMBOL))
    with pytest.raises(ParametersError, match="more than its parameters"):
        decode_request(struct.pack("<III", 8, Code.ACCOUNT_INFO, 0))
    with pytest.raises(CodecError):
        encode_request(Request(9_999))
    with pytest.raises(ParametersError):
        encode_request(Request(Code.SYMBOL))
    for wrong in (Request(Code.SYMBOL, (5,)), Request(Code.POSITION, (-1,))):
        with pytest.raises(CodecError):
            encode_request(wrong)


def test_a_password_is_in_no_repr_and_in_no_error() -> None:
    request = Request(Code.LOGIN, (0, 1, "invented-secret", "S"))
    assert "secret" not in repr(request)
    broken = encode_request(request)[:-1]
    with pytest.raises(CodecError) as error:
        decode_request(struct.pack("<I", len(broken) - 4) + broken[4:])
    assert "secret" not in str(error.value)


@given(st.builds(Reply, u32, st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=99)))
def test_a_reply_comes_back_as_it_went(reply: Reply) -> None:
    frame = encode_reply(reply)
    assert decode_reply(frame) == reply
    assert struct.unpack_from("<I", frame)[0] == len(frame) - 4


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (Code.VERSION, (500, 5_200, "1 Nov 2025")),
        (Code.CALC_PROFIT, 12.5),
        (Code.POSITIONS_TOTAL, 7),
        (Code.LOGIN, None),
        (Code.BOOK, []),
    ],
)
def test_data_comes_back_as_it_went(command: int, found: object) -> None:
    answer = COMMANDS[command].answer
    assert decode_data(answer, encode_data(answer, found)) == found


@pytest.mark.parametrize(
    ("command", "found"),
    [(Code.VERSION, None), (Code.CALC_PROFIT, "x"), (Code.POSITIONS_TOTAL, -1), (Code.BOOK, 5)],
)
def test_an_answer_of_another_form_is_refused(command: int, found: object) -> None:
    with pytest.raises(CodecError):
        encode_data(COMMANDS[command].answer, found)


def test_every_answer_with_records_has_a_layout() -> None:
    for command in COMMANDS.values():
        has_records = command.answer.shape in (Shape.RECORD, Shape.LIST)
        assert (command.answer.layout is not None) == has_records
