"""The commands of the pipe: what each is asked with and what it is answered with.

Numbers, parameters and answers as observed with package 5.0.6231.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from mt5relay_worker.simulator.pipe.records import (
    ACCOUNT_INFO,
    BOOK_INFO,
    ORDER_CHECK_RESULT,
    ORDER_SEND_RESULT,
    RATE,
    SYMBOL_INFO,
    TERMINAL_INFO,
    TICK,
    TRADE_DEAL,
    TRADE_ORDER,
    TRADE_POSITION,
    Layout,
)


class Code(IntEnum):
    """A command's number."""

    VERSION = 1
    HELLO = 4
    LOGIN = 5
    TICKS_FROM = 104
    TICKS_RANGE = 105
    RATES_FROM = 106
    RATES_RANGE = 107
    RATES_FROM_POS = 108
    AUTHORIZATION = 109
    POSITIONS_TOTAL = 120
    POSITIONS = 121
    POSITIONS_OF_SYMBOL = 122
    POSITION = 123
    ORDERS_TOTAL = 130
    ORDERS = 131
    ORDERS_OF_SYMBOL = 132
    ORDER = 133
    PAST_ORDERS_TOTAL = 140
    PAST_ORDERS = 141
    PAST_ORDERS_OF_POSITION = 142
    PAST_ORDER = 143
    DEALS_TOTAL = 150
    DEALS = 151
    DEALS_OF_POSITION = 152
    DEAL_OF_ORDER = 153
    ORDER_CHECK = 160
    ORDER_SEND = 161
    CALC_MARGIN = 162
    CALC_PROFIT = 163
    SYMBOL = 170
    SYMBOL_SELECT = 171
    SYMBOL_TICK = 172
    SYMBOLS_TOTAL = 173
    SYMBOLS = 174
    SYMBOLS_OF_GROUP = 175
    TERMINAL_INFO = 180
    ACCOUNT_INFO = 190
    BOOK_ADD = 191
    BOOK_RELEASE = 192
    BOOK = 193


class Kind(Enum):
    """The type of a parameter."""

    U8 = auto()
    U32 = auto()
    I64 = auto()
    U64 = auto()
    F64 = auto()
    TEXT = auto()
    TRADE_REQUEST = auto()


class Shape(Enum):
    """What an answer's data is."""

    NOTHING = auto()
    U32 = auto()
    F64 = auto()
    VERSION = auto()
    RECORD = auto()
    LIST = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """The form of an answer; `layout` where it has records."""

    shape: Shape
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """What a command takes and gives."""

    parameters: tuple[Kind, ...]
    answer: Answer


_U8, _U32, _I64, _U64, _F64, _TEXT = (
    Kind.U8,
    Kind.U32,
    Kind.I64,
    Kind.U64,
    Kind.F64,
    Kind.TEXT,
)
_NOTHING, _COUNT, _MONEY = Answer(Shape.NOTHING), Answer(Shape.U32), Answer(Shape.F64)


def _record(layout: Layout) -> Answer:
    return Answer(Shape.RECORD, layout)


def _list(layout: Layout) -> Answer:
    return Answer(Shape.LIST, layout)


def _open_things(first: int, layout: Layout) -> dict[int, Command]:
    return {
        first: Command((), _COUNT),
        first + 1: Command((), _list(layout)),
        first + 2: Command((_TEXT,), _list(layout)),
        first + 3: Command((_U64,), _record(layout)),
    }


def _past_things(first: int, layout: Layout) -> dict[int, Command]:
    return {
        first: Command((_I64, _I64), _COUNT),
        first + 1: Command((_I64, _I64), _list(layout)),
        first + 2: Command((_U64,), _list(layout)),
        first + 3: Command((_U64,), _record(layout)),
    }


COMMANDS: Final[Mapping[int, Command]] = {
    Code.VERSION: Command((_U32,), Answer(Shape.VERSION)),
    Code.HELLO: Command((_U32, _TEXT), _COUNT),
    Code.LOGIN: Command((_U32, _U64, _TEXT, _TEXT), _NOTHING),
    Code.AUTHORIZATION: Command((), _COUNT),
    Code.TICKS_FROM: Command((_TEXT, _I64, _U32, _U32), _list(TICK)),
    Code.TICKS_RANGE: Command((_TEXT, _I64, _I64, _U32), _list(TICK)),
    Code.RATES_FROM: Command((_TEXT, _U32, _I64, _U32), _list(RATE)),
    Code.RATES_RANGE: Command((_TEXT, _U32, _I64, _I64), _list(RATE)),
    Code.RATES_FROM_POS: Command((_TEXT, _U32, _U32, _U32), _list(RATE)),
    **_open_things(Code.POSITIONS_TOTAL, TRADE_POSITION),
    **_open_things(Code.ORDERS_TOTAL, TRADE_ORDER),
    **_past_things(Code.PAST_ORDERS_TOTAL, TRADE_ORDER),
    **_past_things(Code.DEALS_TOTAL, TRADE_DEAL),
    Code.ORDER_CHECK: Command((Kind.TRADE_REQUEST,), _record(ORDER_CHECK_RESULT)),
    Code.ORDER_SEND: Command((Kind.TRADE_REQUEST,), _record(ORDER_SEND_RESULT)),
    Code.CALC_MARGIN: Command((_U32, _TEXT, _F64, _F64), _MONEY),
    Code.CALC_PROFIT: Command((_U32, _TEXT, _F64, _F64, _F64), _MONEY),
    Code.SYMBOL: Command((_TEXT,), _record(SYMBOL_INFO)),
    Code.SYMBOL_SELECT: Command((_TEXT, _U8), _NOTHING),
    Code.SYMBOL_TICK: Command((_TEXT,), _record(TICK)),
    Code.SYMBOLS_TOTAL: Command((), _COUNT),
    Code.SYMBOLS: Command((), _list(SYMBOL_INFO)),
    Code.SYMBOLS_OF_GROUP: Command((_TEXT,), _list(SYMBOL_INFO)),
    Code.TERMINAL_INFO: Command((), _record(TERMINAL_INFO)),
    Code.ACCOUNT_INFO: Command((), _record(ACCOUNT_INFO)),
    Code.BOOK_ADD: Command((_TEXT,), _NOTHING),
    Code.BOOK_RELEASE: Command((_TEXT,), _NOTHING),
    Code.BOOK: Command((_TEXT,), _list(BOOK_INFO)),
}
