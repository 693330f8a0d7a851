"""The pipe and the module are two faces of one terminal: the same question, the same answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.worker.simulator.pipe.conftest import PackageClient, Served

from mt5relay_worker.simulator import Book, Faults, SimulatedMetaTrader5
from mt5relay_worker.simulator.book import Account
from mt5relay_worker.simulator.pipe.calls import package_call
from mt5relay_worker.simulator.pipe.codec import Parameter, Request
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code, Kind
from mt5relay_worker.simulator.rows import Rows
from mt5relay_worker.simulator.structures import TradeRequest
from mt5relay_worker.simulator.surface import FUNCTIONS

NOW = 1_750_000_000
DAY = 86_400
M1, D1, W1, MN1 = 1, 16_408, 32_769, 49_153
ALL_TICKS, INFO, TRADES = 0xFFFF_FFFF, 1, 2
BUY = TradeRequest(1, 7, 0, "EURUSD", 0.1, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, "note", 0, 0)

READS: list[tuple[int, tuple[Parameter, ...]]] = [
    (Code.VERSION, (0,)),
    (Code.TERMINAL_INFO, ()),
    (Code.ACCOUNT_INFO, ()),
    (Code.POSITIONS_TOTAL, ()),
    (Code.POSITIONS, ()),
    (Code.POSITIONS_OF_SYMBOL, ("EURUSD",)),
    (Code.POSITIONS_OF_SYMBOL, ("NOPE",)),
    (Code.ORDERS_TOTAL, ()),
    (Code.ORDERS, ()),
    (Code.ORDERS_OF_SYMBOL, ("EURUSD",)),
    (Code.PAST_ORDERS_TOTAL, (0, NOW)),
    (Code.PAST_ORDERS, (0, NOW)),
    (Code.PAST_ORDERS, (NOW, 0)),
    (Code.PAST_ORDERS, (-1, NOW)),
    (Code.DEALS_TOTAL, (0, NOW)),
    (Code.DEALS, (0, NOW)),
    (Code.SYMBOL, ("EURUSD",)),
    (Code.SYMBOL, ("NOPE",)),
    (Code.SYMBOL, ("",)),
    (Code.SYMBOL_TICK, ("EURUSD",)),
    (Code.SYMBOL_TICK, ("NOPE",)),
    (Code.SYMBOLS_TOTAL, ()),
    (Code.SYMBOLS, ()),
    (Code.SYMBOLS_OF_GROUP, ("*USD*,!EUR*",)),
    (Code.TICKS_FROM, ("EURUSD", (NOW - 60) * 1000, 5, ALL_TICKS)),
    (Code.TICKS_FROM, ("EURUSD", (NOW - 60) * 1000, 5, TRADES)),
    (Code.TICKS_RANGE, ("EURUSD", (NOW - 9) * 1000, NOW * 1000, INFO)),
    (Code.RATES_FROM, ("EURUSD", M1, NOW - DAY, 3)),
    (Code.RATES_RANGE, ("EURUSD", D1, NOW - 9 * DAY, NOW)),
    (Code.RATES_RANGE, ("EURUSD", W1, 0, NOW)),
    (Code.RATES_FROM_POS, ("EURUSD", MN1, 0, 3)),
    (Code.RATES_FROM_POS, ("EURUSD", 7, 0, 3)),
    (Code.RATES_FROM_POS, ("EURUSD", M1, 0, 0xFFFF_FFFF)),
    (Code.RATES_FROM_POS, ("NOPE", M1, 0, 3)),
    (Code.ORDER_CHECK, (BUY,)),
    (Code.ORDER_CHECK, (BUY._replace(volume=0.003),)),
    (Code.CALC_MARGIN, (0, "EURUSD", 1.0, 1.1)),
    (Code.CALC_MARGIN, (5, "EURUSD", 1.0, 1.1)),
    (Code.CALC_PROFIT, (1, "EURUSD", 1.0, 1.1, 1.2)),
    (Code.BOOK, ("EURUSD",)),
]


def fields(found: Any) -> Any:
    """Records by name, as both faces have them; what a record echoes of its request is left out."""
    if hasattr(found, "_asdict"):
        named = {name: fields(value) for name, value in found._asdict().items()}
        named.pop("request", None)
        return named
    if type(found) is tuple or isinstance(found, Rows):
        return plain(cast("Sequence[Any]", found))
    return found


def plain(found: Sequence[Any]) -> Sequence[Any]:
    """A list of records as the pipe has it; the version's tuple stays as it is."""
    is_version = any(isinstance(one, str) for one in found)
    return found if is_version else [fields(one) for one in found]


def names_of(requests: list[tuple[int, tuple[Parameter, ...]]]) -> list[str]:
    return [f"{Code(code).name}{number}" for number, (code, _) in enumerate(requests)]


@pytest.fixture
def module(book: Book, virtual_time: Any, alice: Account) -> SimulatedMetaTrader5:
    """The other face: logged in."""
    mt5 = SimulatedMetaTrader5(
        book, faults=Faults(scale=0), clock=virtual_time.time, sleep=virtual_time.sleep
    )
    mt5.initialize("C:\\Simulated\\terminal64.exe")
    mt5.login(alice.login, password=alice.password, server=alice.server)
    return mt5


@pytest.fixture
def client(serve: Callable[..., Served], alice: Account) -> PackageClient:
    client = serve().client()
    assert client.initialize(alice.login, alice.password, alice.server) == 1
    return client


def ask_module(module: SimulatedMetaTrader5, request: Request) -> tuple[Any, int]:
    call = package_call(request, NOW)
    found = getattr(module, call.function)(*call.args, **call.kwargs)
    return fields(found), module.last_error()[0]


@pytest.mark.parametrize(("code", "parameters"), READS, ids=names_of(READS))
def test_both_faces_answer_alike(
    module: SimulatedMetaTrader5,
    client: PackageClient,
    code: int,
    parameters: tuple[Parameter, ...],
) -> None:
    expected, last_error = ask_module(module, Request(code, parameters))
    answered = client.call(code, *parameters)
    assert (answered.data, answered.code) == (expected, last_error)


def test_a_ticket_gives_one_record(module: SimulatedMetaTrader5, client: PackageClient) -> None:
    for code, found in (
        (Code.POSITION, module.positions_get()),
        (Code.ORDER, module.orders_get()),
        (Code.PAST_ORDER, module.history_orders_get(0, NOW)),
    ):
        assert found
        assert client.call(code, found[0].ticket).data == fields(found[0])
        assert client.call(code, 1).code == -4
    deal = next(deal for deal in module.history_deals_get(0, NOW) or () if deal.order)
    assert client.call(Code.DEAL_OF_ORDER, deal.order).data == fields(deal)
    of_position = client.call(Code.DEALS_OF_POSITION, deal.position_id).data
    assert of_position == fields(module.history_deals_get(position=deal.position_id))
    orders = client.call(Code.PAST_ORDERS_OF_POSITION, deal.position_id).data
    assert orders == fields(module.history_orders_get(position=deal.position_id))


def test_trades_are_made_alike(module: SimulatedMetaTrader5, client: PackageClient) -> None:
    for asked in (BUY, BUY._replace(symbol="NOPE"), BUY._replace(action=99)):
        expected, last_error = ask_module(module, Request(Code.ORDER_SEND, (asked,)))
        answered = client.call(Code.ORDER_SEND, asked)
        assert (answered.data, answered.code) == (expected, last_error)
    assert client.call(Code.POSITIONS).data == fields(module.positions_get())
    assert client.call(Code.POSITIONS_TOTAL).data == 3


def test_market_watch_and_depth_are_kept_alike(
    module: SimulatedMetaTrader5, client: PackageClient
) -> None:
    steps: list[tuple[int, tuple[Parameter, ...]]] = [
        (Code.SYMBOL_SELECT, ("EURUSD", 0)),
        (Code.SYMBOL_TICK, ("EURUSD",)),
        (Code.SYMBOL, ("EURUSD",)),
        (Code.SYMBOL_SELECT, ("EURUSD", 1)),
        (Code.SYMBOL_TICK, ("EURUSD",)),
        (Code.BOOK_ADD, ("EURUSD",)),
        (Code.BOOK, ("EURUSD",)),
        (Code.BOOK_RELEASE, ("EURUSD",)),
        (Code.BOOK, ("EURUSD",)),
    ]
    for code, parameters in steps:
        expected, last_error = ask_module(module, Request(code, parameters))
        answered = client.call(code, *parameters)
        assert answered.code == last_error
        assert answered.data == (None if expected is True else expected)


def test_what_the_terminal_does_not_have_is_refused(client: PackageClient) -> None:
    assert client.call(Code.SYMBOL_SELECT, "NOPE", 1).code == -4
    assert client.call(Code.BOOK_ADD, "NOPE").code == -4
    assert client.call(Code.SYMBOL, "x" * 99).code == -2


def test_every_function_that_asks_the_terminal_has_its_command() -> None:
    local = {"initialize", "shutdown", "login", "last_error"}
    session = {Code.HELLO, Code.LOGIN, Code.AUTHORIZATION}
    zero: dict[Kind, Parameter] = dict.fromkeys(Kind, 0)
    zero |= {Kind.TEXT: "", Kind.TRADE_REQUEST: BUY}
    asked = {
        package_call(
            Request(command, tuple(zero[kind] for kind in COMMANDS[command].parameters)), NOW
        ).function
        for command in COMMANDS.keys() - session
    }
    assert asked == set(FUNCTIONS) - local


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["RATES_RANGE", "TICKS_RANGE"]),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, (1 << 32) - 1),
)
@example("TICKS_RANGE", -551_479_990, -51_479_989, 0)
def test_no_range_asks_for_more_than_a_terminal_gives_at_once(
    name: str, since: int, until: int, number: int
) -> None:
    code = Code[name]
    given_here: tuple[Parameter, ...] = ("EURUSD", number, since, until)
    if code is Code.TICKS_RANGE:
        given_here = ("EURUSD", since, until, number)
    call = package_call(Request(code, given_here), float(NOW))
    newest = call.args[3 if code is Code.RATES_RANGE else 2]
    oldest = call.args[2 if code is Code.RATES_RANGE else 1]
    assert newest <= NOW + DAY
    assert -(1 << 31) <= oldest < 1 << 31
    if code is Code.TICKS_RANGE:
        assert newest - oldest <= 500_000
    elif number & 0x8000 == 0:
        assert newest - oldest <= 100_000 * 0x3FFF * 3600
