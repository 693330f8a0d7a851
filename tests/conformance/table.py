"""What the MetaTrader5 package 5.0.6231 answers, as data.

Rows of the states without a terminal were measured on the official wheel. Rows of `LOGGED_IN` come
from its documentation and from public projects: no terminal was at hand, so they bind the simulator
only, until somebody runs them against one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any


class State(Enum):
    """What came before a call; in the order in which one process can go through them."""

    BEFORE = "before initialize"
    MISSING = "no terminal installed"
    NEVER_ATTACHED = "after shutdown, never attached"
    LOGGED_IN = "attached, logged in"
    AFTER = "after shutdown"


NEVER = (State.BEFORE, State.NEVER_ATTACHED)
WITHOUT_TERMINAL = (*NEVER, State.AFTER)

Error = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Raises:
    kind: type[Exception]

    def __repr__(self) -> str:
        return f"raises {self.kind.__name__}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """A number of this type."""

    kind: type[Any]

    def __repr__(self) -> str:
        return f"some {self.kind.__name__}"


@dataclass(frozen=True, slots=True)
class Record:
    """A structure of the package, by its name."""

    structure: str

    def __repr__(self) -> str:
        return f"a {self.structure}"


@dataclass(frozen=True, slots=True)
class Records:
    """A tuple of structures, possibly empty."""

    structure: str

    def __repr__(self) -> str:
        return f"a tuple of {self.structure}"


@dataclass(frozen=True, slots=True)
class Columns:
    """A structured array, by the names of its fields."""

    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"an array of {', '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One call and what it must come to.

    `returns` is a value, or one of the five shapes above. `last_error` is what `last_error()` says
    afterwards; None where the call leaves it as it was. `known` says, by target, why a target does
    not agree: it is then shown, does not fail, and fails once it does agree.
    """

    call: str
    args: tuple[Any, ...]
    returns: object
    last_error: Error | None
    state: State
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    with_empty_keywords: bool = False

    def __str__(self) -> str:
        given = [shortened(value) for value in self.args]
        given += [f"{name}={shortened(value)}" for name, value in self.kwargs.items()]
        if self.with_empty_keywords:
            given.append("**{}")
        return f"{self.call}({', '.join(given)})"


def shortened(value: object, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 15]}... ({len(text)} long)"


@dataclass(frozen=True, slots=True)
class Given:
    """The arguments of a call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def given(*args: Any, **kwargs: Any) -> Given:
    return Given(args, kwargs)


def rows(
    calls: str | Sequence[str],
    arguments: Sequence[Given],
    returns: object,
    last_error: Error | None,
    *,
    states: Sequence[State] = WITHOUT_TERMINAL,
    known: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Every call with every set of arguments in every state; all come to the same."""
    for state in states:
        for call in [calls] if isinstance(calls, str) else calls:
            for one in arguments:
                yield Row(call, one.args, returns, last_error, state, one.kwargs, known or {})


# -- texts ----------------------------------------------------------------------------------------

SUCCESS = (1, "Success")
NO_CONNECTION = (-10004, "No IPC connection")
NOT_FOUND = (-4, "Terminal: Not found")
INVALID = (-2, "Invalid arguments")
INVALID_NUMBER = (-2, "Invalid number of arguments")
UNNAMED = (-2, "Unnamed arguments not allowed")
OLD_BUILD = (
    -5,
    "Terminal: Incompatible versions, "
    "please install the latest version of Terminal and Python module",
)
NO_TERMINAL = (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")
NO_PROGRAM = r"C:\nowhere\terminal64.exe"
SYSTEM_ERROR = Raises(SystemError)
TYPE_ERROR = Raises(TypeError)

# Why the simulator differs.
EMPTY_KEYWORDS = {"simulated": "a function written in Python can't see an empty keyword dictionary"}


def of(name: str) -> Error:
    return (-2, f'Invalid "{name}" argument')


def place(ordinal: str) -> Error:
    return (-2, f"Invalid {ordinal} unnamed argument")


def not_started(path: str) -> Error:
    return (-10003, f"IPC initialize failed, Process create failed '{path}'")


# -- the terminal ---------------------------------------------------------------------------------


def first_of_all() -> Iterator[Row]:
    """Must be the first rows: what a process finds that has called nothing yet."""
    yield Row("last_error", (), (0, ""), None, State.BEFORE)


NO_ARGUMENTS = (
    *("account_info", "terminal_info", "positions_total", "orders_total", "symbols_total"),
    *("version", "shutdown"),
)


def without_link() -> Iterator[Row]:
    """Calls in order, but no terminal to send them to."""
    yield from rows("account_info", [given()], None, NO_CONNECTION)
    yield from rows("terminal_info", [given()], None, NO_CONNECTION)
    yield from rows(["positions_total", "orders_total"], [given()], None, NO_CONNECTION)
    yield from rows("symbols_total", [given()], None, OLD_BUILD, states=NEVER)
    yield from rows("symbols_total", [given()], None, NO_CONNECTION, states=(State.AFTER,))
    yield from rows("version", [given()], (0, 0, ""), NO_CONNECTION)
    yield from rows("shutdown", [given()], True, SUCCESS)
    yield from rows(NO_ARGUMENTS, [given(1), given(unknown=1)], TYPE_ERROR, None)
    yield from rows("last_error", [given(1), given(unknown=1)], TYPE_ERROR, None)


def initializing() -> Iterator[Row]:
    nothing = (
        *(
            given(),
            given(""),
            given(unknown=1),
            given(timeout=0),
            given(login=0),
            given(login=True),
        ),
        *(given(portable=value) for value in (None, "x", 1, 1.0, True)),
        given(login=1, password="x", server="s"),
        *(given(password="x" * 253), given(server="x" * 253)),
    )
    missing = (State.MISSING,)
    yield from rows("initialize", nothing, False, NO_TERMINAL, states=missing)
    for arguments, path in (
        (given(NO_PROGRAM), NO_PROGRAM),
        (given(path=NO_PROGRAM), NO_PROGRAM),
        (given("nowhere.exe"), "nowhere.exe"),
        (given("ignored", path=NO_PROGRAM), NO_PROGRAM),
    ):
        yield from rows(
            "initialize",
            [arguments],
            False,
            not_started(path),
            states=missing,
        )


def initialize_refused() -> Iterator[Row]:
    """Refused before it looks for a terminal, so that it never starts one."""
    refused = "initialize"
    for name, values in {
        "login": ("1", 1.0, None),
        "password": (None, 1, "x" * 254),
        "server": (None, 1, "x" * 254),
        "path": (None, 1, "x" * 258),
        "timeout": (None, "x", 1.5),
    }.items():
        arguments = [given(**{name: value}) for value in values]
        yield from rows(refused, arguments, False, of(name))
    for name, bits in (("login", 64), ("timeout", 32)):
        out_of_range = [given(**{name: -1}), given(**{name: 1 << bits})]
        yield from rows(refused, out_of_range, SYSTEM_ERROR, of(name))
    wrong_path = [given(value) for value in (1, None, b"x", "x" * 258)]
    yield from rows(refused, wrong_path, False, place("1st"))
    yield from rows(refused, [given("a", "b"), given(1, 2, path=1)], False, INVALID_NUMBER)
    # Which of two wrong arguments is named: place, login, server, password, timeout, path.
    yield from rows(refused, [given(1, login="x"), given(1, path="b")], False, place("1st"))
    yield from rows(refused, [given(server=1, login="x")], False, of("login"))
    yield from rows(refused, [given(password=1, server=1)], False, of("server"))
    yield from rows(refused, [given(timeout="x", password=1)], False, of("password"))
    yield from rows(refused, [given(path=1, timeout="x")], False, of("timeout"))
    yield from rows(refused, [given(login=-1, server=1)], SYSTEM_ERROR, of("login"))


def logging_in() -> Iterator[Row]:
    unsent = (
        *(given(123), given(True), given(login=123), given((1 << 64) - 1), given(0, login=1)),
        *(given(123, "p"), given(123, "p", "s"), given(123, unknown=1), given(123, timeout=1000)),
        *(given(123, password="p", server="s"), given(123, password="", server="")),
        given(123, password="x" * 253),
    )
    yield from rows("login", unsent, False, NO_CONNECTION)
    nobody = (given(), given(0), given(login=0), given(1, login=0), given(server="x"))
    yield from rows("login", nobody, False, of("login"))
    for name, values in {
        "login": ("x", 1.0, None),
        "password": (None, 1, "x" * 254),
        "server": (None, 1, "x" * 254),
        "timeout": (None, "x", 1.5),
    }.items():
        arguments = [given(1, **{name: value}) for value in values]
        yield from rows("login", arguments, False, of(name))
    wrong_login = [given(value) for value in ("1", 1.0, None)]
    yield from rows("login", wrong_login, False, place("1st"))
    yield from rows("login", [given(1, None), given(1, 2, 3)], False, place("2nd"))
    yield from rows("login", [given(1, "p", 3)], False, place("3rd"))
    yield from rows("login", [given(1, "p", "s", 1000), given(1, 2, 3, 4)], False, INVALID_NUMBER)
    yield from rows("login", [given(-1), given(1 << 64)], SYSTEM_ERROR, place("1st"))
    yield from rows("login", [given(login=-1)], SYSTEM_ERROR, of("login"))
    yield from rows(
        "login", [given(1, timeout=-1), given(1, timeout=1 << 32)], SYSTEM_ERROR, of("timeout")
    )
    # Which of two wrong arguments is named: places, login, server, password, timeout.
    yield from rows("login", [given("x", login="y"), given("x", 2)], False, place("1st"))
    yield from rows("login", [given(1, 2, server=1)], False, place("2nd"))
    yield from rows("login", [given(1, password=1, server=1)], False, of("server"))
    yield from rows(
        "login", [given(0, server=1), given(timeout="x", server=1)], False, of("server")
    )
    yield from rows("login", [given(timeout="x", password=1)], False, of("password"))


# -- the account ----------------------------------------------------------------------------------

OPEN = ("positions_get", "orders_get")
PAST = ("history_deals_get", "history_orders_get")
PAST_TOTALS = ("history_deals_total", "history_orders_total")
BEYOND_32_BITS = (1 << 31, 1 << 63, -(1 << 31) - 1)


def open_things() -> Iterator[Row]:
    sent = (
        *(
            given(),
            given(unknown=1),
            given(symbol="EURUSD"),
            given(symbol=""),
            given(group="*USD*"),
        ),
        *(given(ticket=1), given(ticket=True), given(ticket=(1 << 64) - 1)),
        *(given(symbol="x" * 29), given(group="x" * 1997)),
        # Only the first of ticket, symbol, group is looked at.
        *(given(ticket=1, symbol=1, group=1), given(symbol="EURUSD", group=1)),
    )
    yield from rows(OPEN, sent, None, NO_CONNECTION)
    yield from rows(OPEN, [given("EURUSD"), given(1, ticket="x")], None, UNNAMED)
    for name, values in {
        "symbol": (1, None, "x" * 30),
        "group": (1, None, "x" * 1998),
        "ticket": ("1", 1.0, None),
    }.items():
        yield from rows(OPEN, [given(**{name: value}) for value in values], None, of(name))
    both = given(symbol=1, ticket="x"), given(ticket="x", group=1)
    yield from rows(OPEN, both, None, of("ticket"))
    yield from rows(OPEN, [given(symbol=1, group=1)], None, of("symbol"))
    yield from rows(OPEN, [given(ticket=-1), given(ticket=1 << 64)], SYSTEM_ERROR, of("ticket"))


MOMENTS = (
    *(given(0, 1), given(0.0, 1.0), given(1, 0), given(-1, 1), given(True, 1)),
    *(given(0, (1 << 31) - 1), given(0, -(1 << 31)), given(0, float(1 << 40))),
    given(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1)),  # noqa: DTZ001
    given(datetime(2040, 1, 1), datetime(2041, 1, 1)),  # noqa: DTZ001
    given(datetime(1960, 1, 1, tzinfo=UTC), 1),
)
NO_MOMENTS = (
    *(given(), given(0), given("0", 1), given(0, "1"), given(None, 1), given(0, 1, 2)),
    given(date(2024, 1, 1), 1),
)
# Of a datetime its `timestamp()` is taken, which on Windows raises for these.
NOT_CONVERTIBLE = (
    given(datetime(1970, 1, 1), 1),  # noqa: DTZ001
    given(datetime(1970, 1, 1, 23, 59, 59), 1),  # noqa: DTZ001
    given(0, datetime(1900, 1, 1)),  # noqa: DTZ001
    given(0, datetime(3002, 1, 1)),  # noqa: DTZ001
)


def past_things() -> Iterator[Row]:
    yield from rows(PAST, MOMENTS, None, NO_CONNECTION)
    yield from rows(PAST, NO_MOMENTS, None, INVALID)
    ignored = (
        *(given(0, 1, unknown=1), given(0, 1, ticket="x"), given(0, 1, position="x")),
        *(given(0, 1, group="*USD*"), given(0, 1, group=""), given(0, 1, ticket=-1)),
        *(given(ticket=1), given(position=1), given(ticket=1, position="x", group=1)),
        given(position=1, group=1),
    )
    yield from rows(PAST, ignored, None, NO_CONNECTION)
    named = (
        *(given(date_from=0, date_to=1), given(0, date_to=1), given(group="*"), given(unknown=1)),
        *(
            given(0, group=1),
            given(0, 1, "*USD*"),
            given(0, 1, 2, group="x"),
            given("x", 1, group=1),
        ),
    )
    yield from rows(PAST, named, None, INVALID)
    mixed = given(0, ticket=1), given(0, 1, 2, ticket="x"), given(0, position="x")
    yield from rows(PAST, mixed, None, UNNAMED)
    yield from rows(PAST, [given(0, 1, group=1), given(0, 1, group=None)], None, of("group"))
    for name in ("ticket", "position"):
        yield from rows(PAST, [given(**{name: value}) for value in ("1", None)], None, of(name))
        yield from rows(PAST, [given(**{name: -1})], SYSTEM_ERROR, of(name))
    yield from rows(PAST, [given(ticket="x", position=1)], None, of("ticket"))
    # A date that does not fit is sent as -1, and the answer is thrown away.
    beyond = [given(0, value) for value in BEYOND_32_BITS] + [given(1 << 31, 1)]
    yield from rows((*PAST, *PAST_TOTALS), beyond, SYSTEM_ERROR, NO_CONNECTION)
    yield from rows((*PAST, *PAST_TOTALS), NOT_CONVERTIBLE, SYSTEM_ERROR, INVALID)


def past_totals() -> Iterator[Row]:
    yield from rows(PAST_TOTALS, MOMENTS, None, NO_CONNECTION)
    yield from rows(PAST_TOTALS, NO_MOMENTS, None, INVALID)
    keywords = given(date_from=0, date_to=1), given(0, date_to=1), given(0, 1, unknown=1)
    yield from rows(PAST_TOTALS, keywords, TYPE_ERROR, None)


# -- symbols and prices ---------------------------------------------------------------------------

OF_A_SYMBOL = ("symbol_info", "symbol_info_tick", "market_book_get")
BOOK_CALLS = ("market_book_add", "market_book_release")
SYMBOLS = tuple(given(name) for name in ("EURUSD", "", "x" * 29, "\U0001f600" * 14, "a\0b"))
NO_SYMBOLS = (
    *(given(), given(1), given(None), given(b"EURUSD"), given("EURUSD", 1)),
    *(given("x" * 30), given("\U0001f600" * 15)),
)
NAMED_SYMBOL = (given(symbol="EURUSD"), given(symbol=1), given("EURUSD", unknown=1))


def symbols() -> Iterator[Row]:
    yield from rows(OF_A_SYMBOL, SYMBOLS, None, NO_CONNECTION)
    yield from rows(BOOK_CALLS, SYMBOLS, False, SUCCESS)
    yield from rows((*OF_A_SYMBOL, *BOOK_CALLS), NO_SYMBOLS, None, INVALID)
    yield from rows((*OF_A_SYMBOL, *BOOK_CALLS), NAMED_SYMBOL, TYPE_ERROR, None)
    chosen = [given("EURUSD", enable) for enable in (True, False, 1, "1", None, 1.0, 2, -1)]
    yield from rows("symbol_select", [given("EURUSD"), *chosen], False, NO_CONNECTION)
    not_chosen = [given(), given(1), given(None, True), given("EURUSD", True, 1), given("x" * 30)]
    yield from rows("symbol_select", not_chosen, False, INVALID)
    named = [*NAMED_SYMBOL, given("EURUSD", enable=True)]
    yield from rows("symbol_select", named, TYPE_ERROR, None)


def symbol_lists() -> Iterator[Row]:
    sent = (
        *(given(), given("*USD*"), given(group="*USD*"), given(""), given(unknown=1)),
        given("x" * 1997),
    )
    # The build of the terminal is looked at first, and remembered after a shutdown.
    yield from rows("symbols_get", sent, None, OLD_BUILD, states=NEVER)
    yield from rows("symbols_get", sent, None, NO_CONNECTION, states=(State.AFTER,))
    # False, where every other read answers None.
    wrong = given(1), given(None), given(1, group="x"), given("x" * 1998)
    yield from rows("symbols_get", wrong, False, place("1st"))
    yield from rows("symbols_get", [given(group=1), given("x", group=1)], False, of("group"))
    many = given("a", "b"), given(1, 2), given("a", "b", group=1)
    yield from rows("symbols_get", many, False, INVALID_NUMBER)


def bars_and_ticks() -> Iterator[Row]:
    at, since, between = "copy_rates_from_pos", "copy_rates_from", "copy_rates_range"
    ticks, ticks_between = "copy_ticks_from", "copy_ticks_range"
    good = {
        at: ("EURUSD", 1, 0, 10),
        since: ("EURUSD", 1, 0, 10),
        between: ("EURUSD", 1, 0, 10),
        ticks: ("EURUSD", 0, 1, -1),
        ticks_between: ("EURUSD", 0, 1, -1),
    }
    numbers = {at: (1, 2, 3), since: (1, 3), between: (1,), ticks: (2, 3), ticks_between: (3,)}
    dates = {at: (), since: (2,), between: (2, 3), ticks: (1,), ticks_between: (1, 2)}
    for call, arguments in good.items():
        yield from rows(call, [Given(arguments, {})], None, NO_CONNECTION)
        yield from rows(call, [given(), given("EURUSD")], None, INVALID)
        yield from rows(call, [Given((*arguments, 1), {})], None, INVALID)
        yield from rows(call, [Given(arguments, {"unknown": 1})], TYPE_ERROR, None)
        yield from rows(call, [Given(arguments[:3], {"count": 10})], TYPE_ERROR, None)
        no_symbol = [with_value(arguments, 0, value) for value in (1, None, "x" * 30)]
        yield from rows(call, no_symbol, None, INVALID)
        for which in numbers[call]:
            # Nobody looks at the sign, nor whether a time frame exists, before the terminal does.
            odd = [with_value(arguments, which, value) for value in (-1, True, 7, -(1 << 31))]
            yield from rows(call, odd, None, NO_CONNECTION)
            wrong = [
                with_value(arguments, which, value)
                for value in ("M1", None, 1.0, 1 << 31, -(1 << 31) - 1, 1 << 32)
            ]
            yield from rows(call, wrong, SYSTEM_ERROR, INVALID)
        for which in dates[call]:
            moments = (0.5, -1, datetime(2024, 1, 1))  # noqa: DTZ001
            sent = [with_value(arguments, which, value) for value in moments]
            yield from rows(call, sent, None, NO_CONNECTION)
            wrong = [with_value(arguments, which, value) for value in ("x", None)]
            yield from rows(call, wrong, None, INVALID)
            beyond = [with_value(arguments, which, value) for value in BEYOND_32_BITS]
            yield from rows(call, beyond, SYSTEM_ERROR, NO_CONNECTION)
    # A wrong number raises, whatever else is wrong.
    yield from rows(at, [given(1, "M1", 0, 1)], SYSTEM_ERROR, INVALID)
    yield from rows(ticks_between, [given("x", "y", 1, "z")], SYSTEM_ERROR, INVALID)


def with_value(arguments: tuple[Any, ...], at: int, value: Any) -> Given:
    return Given((*arguments[:at], value, *arguments[at + 1 :]), {})


# -- trading --------------------------------------------------------------------------------------

TRADE = ("order_check", "order_send")
DEAL = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1}


def calculations() -> Iterator[Row]:
    good = {
        "order_calc_margin": (0, "EURUSD", 0.1, 1.1),
        "order_calc_profit": (0, "EURUSD", 0.1, 1.1, 1.2),
    }
    for call, arguments in good.items():
        actions = [with_value(arguments, 0, value) for value in (7, -1, 1 << 32, 1 << 64, True)]
        yield from rows(call, [Given(arguments, {}), *actions], None, NO_CONNECTION)
        yield from rows(call, [with_value(arguments, 2, 1)], None, NO_CONNECTION)
        wrong_actions = [with_value(arguments, 0, value) for value in ("0", 0.0, None)]
        yield from rows(call, wrong_actions, SYSTEM_ERROR, INVALID)
        no_symbol = [with_value(arguments, 1, value) for value in (1, None, "x" * 30)]
        yield from rows(call, no_symbol, None, INVALID)
        for which in range(2, len(arguments)):
            wrong = [with_value(arguments, which, value) for value in ("x", None)]
            yield from rows(call, wrong, SYSTEM_ERROR, INVALID)
        number = [given(), Given(arguments[:-1], {}), Given((*arguments, 1), {})]
        yield from rows(call, number, None, INVALID)
        yield from rows(call, [Given(arguments, {"unknown": 1})], TYPE_ERROR, None)


ACCEPTED_FIELDS: Mapping[str, Sequence[Any]] = {
    "volume": (-1.0,),
    "magic": (True, (1 << 64) - 1),
    "deviation": (1 << 32, (1 << 64) - 1),
    "action": (99,),
    "expiration": (-1, 1 << 31, (1 << 63) - 1),
    "comment": ("", "c" * 29, "\U0001f600" * 14),
    "symbol": ("", "s" * 29),
    "unknown": (1, None),
}
REFUSED_FIELDS: Mapping[str, Sequence[Any]] = {
    **dict.fromkeys(("volume", "price", "sl", "tp", "stoplimit"), (1, None, "x", True)),
    **dict.fromkeys(
        ("action", "magic", "order", "deviation", "type", "type_filling", "type_time"),
        (1.0, None, "1"),
    ),
    **dict.fromkeys(("position", "position_by"), (1.0, None, "1")),
    "expiration": (1.0, None, datetime(2024, 1, 1)),  # noqa: DTZ001
    "comment": (1, None, b"x", "c" * 30, "\U0001f600" * 15),
    "symbol": (1, None, b"x", "s" * 30),
}
FIELDS_OUT_OF_RANGE: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("magic", "order", "position", "position_by", "deviation"), (-1, 1 << 64)),
    **dict.fromkeys(("action", "type", "type_filling", "type_time"), (-1, 1 << 32)),
    "expiration": (1 << 63, -(1 << 63) - 1),
}
FIELDS_IN_ORDER = (
    *("action", "magic", "order", "symbol", "volume", "price", "stoplimit", "sl", "tp"),
    *("deviation", "type", "type_filling", "type_time", "expiration", "comment"),
    *("position", "position_by"),
)


def trade_requests() -> Iterator[Row]:
    whole = (
        given(DEAL),
        given({}),
        given({1: 2}),
        Given((), DEAL),
        given(request=1),
        given(unknown=1),
    )
    yield from rows(TRADE, whole, None, NO_CONNECTION)
    yield from rows(TRADE, [given(), given(DEAL, DEAL)], None, INVALID_NUMBER)
    yield from rows(TRADE, [given(value) for value in (None, "x", [1], 1)], None, INVALID)
    both = given({}, volume=0.1), given(None, volume=0.1), given({}, {}, volume=0.1)
    yield from rows(TRADE, both, None, UNNAMED)
    for name, values in ACCEPTED_FIELDS.items():
        yield from rows(TRADE, [given({name: value}) for value in values], None, NO_CONNECTION)
    for name, values in REFUSED_FIELDS.items():
        yield from rows(TRADE, [given({name: value}) for value in values], None, of(name))
    for name, values in FIELDS_OUT_OF_RANGE.items():
        yield from rows(TRADE, [given({name: value}) for value in values], SYSTEM_ERROR, of(name))
    # Which of two wrong fields is named does not depend on the order they are given in.
    for before, after in itertools.pairwise(FIELDS_IN_ORDER):
        yield from rows(TRADE, [given({after: None, before: None})], None, of(before))
    for state in WITHOUT_TERMINAL:
        for call in TRADE:
            yield Row(
                call,
                (DEAL,),
                None,
                UNNAMED,
                state,
                known=EMPTY_KEYWORDS,
                with_empty_keywords=True,
            )


# -- attached, and somebody is logged in ----------------------------------------------------------

RATE = ("time", "open", "high", "low", "close", "tick_volume", "spread", "real_volume")
TICK = ("time", "bid", "ask", "last", "volume", "time_msc", "flags", "volume_real")
NOBODY_HAS = 1  # a ticket


def logged_in() -> Iterator[Row]:
    """Reads only: they may be run on a terminal that somebody trades on."""
    here = (State.LOGGED_IN,)
    yield from rows("account_info", [given()], Record("AccountInfo"), SUCCESS, states=here)
    yield from rows("terminal_info", [given()], Record("TerminalInfo"), SUCCESS, states=here)
    totals = "positions_total", "orders_total", "symbols_total"
    yield from rows(totals, [given()], OneOf(int), SUCCESS, states=here)
    yield from rows("version", [given()], OneOf(tuple), SUCCESS, states=here)
    for call, structure in (("positions_get", "TradePosition"), ("orders_get", "TradeOrder")):
        found = given(), given(unknown=1), given(symbol="EURUSD"), given(group="*USD*")
        yield from rows(call, found, Records(structure), SUCCESS, states=here)
        nothing = given(ticket=NOBODY_HAS), given(symbol="NOPE")
        yield from rows(call, nothing, (), SUCCESS, states=here)
        yield from rows(call, [given("EURUSD")], None, UNNAMED, states=here)
    for call, structure in (
        ("history_deals_get", "TradeDeal"),
        ("history_orders_get", "TradeOrder"),
    ):
        # Not from 0 on: of a date that comes to 0 the package sends what stands in its memory.
        past = given(1, (1 << 31) - 1), given(1, (1 << 31) - 1, group="*USD*")
        yield from rows(call, past, Records(structure), SUCCESS, states=here)
        yield from rows(call, [given(1, 2), given(ticket=NOBODY_HAS)], (), SUCCESS, states=here)
    yield from rows(PAST_TOTALS, [given(1, (1 << 31) - 1)], OneOf(int), SUCCESS, states=here)
    yield from rows("symbol_info", [given("EURUSD")], Record("SymbolInfo"), SUCCESS, states=here)
    yield from rows("symbol_select", [given("EURUSD", True)], True, SUCCESS, states=here)
    yield from rows("symbol_info_tick", [given("EURUSD")], Record("Tick"), SUCCESS, states=here)
    unknown = "symbol_info", "symbol_info_tick"
    yield from rows(unknown, [given("NOPE")], None, NOT_FOUND, states=here)
    some = given("*EURUSD*"), given(""), given(group="")
    yield from rows("symbols_get", some, Records("SymbolInfo"), SUCCESS, states=here)
    bars = "copy_rates_from_pos"
    yield from rows(bars, [given("EURUSD", 1, 0, 3)], Columns(RATE), SUCCESS, states=here)
    recent = given("EURUSD", datetime(2025, 6, 2, tzinfo=UTC), 3, -1)
    yield from rows("copy_ticks_from", [recent], Columns(TICK), SUCCESS, states=here)
    margin = given(0, "EURUSD", 0.1, 1.1)
    yield from rows("order_calc_margin", [margin], OneOf(float), SUCCESS, states=here)
    profit = given(0, "EURUSD", 0.1, 1.1, 1.2)
    yield from rows("order_calc_profit", [profit], OneOf(float), SUCCESS, states=here)
    yield from rows("symbol_info", [given(1)], None, INVALID, states=here)
    yield from rows("symbol_info", [given(symbol="EURUSD")], TYPE_ERROR, None, states=here)


ROWS: tuple[Row, ...] = (
    *first_of_all(),
    *without_link(),
    *initializing(),
    *initialize_refused(),
    *logging_in(),
    *open_things(),
    *past_things(),
    *past_totals(),
    *symbols(),
    *symbol_lists(),
    *bars_and_ticks(),
    *calculations(),
    *trade_requests(),
    *logged_in(),
)
