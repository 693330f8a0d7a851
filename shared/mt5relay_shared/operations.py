"""What can be asked of an account, with which arguments, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

import msgspec

from mt5relay_shared.decoding import UnreadableError, read_fields
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.records import (
    AccountInfo,
    Rate,
    SymbolInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)

MAX_RATES = 10_000  # about 1 MB of JSON; the terminal's own "max bars in chart" is 100 000
MAX_BROKER_TIME_MS = 2**31 * 1000 - 1  # the package sends later dates as negative numbers

Timeframe = Literal[
    "M1", "M2", "M3", "M4", "M5", "M6", "M10", "M12", "M15", "M20", "M30",
    "H1", "H2", "H3", "H4", "H6", "H8", "H12", "D1", "W1", "MN1",
]  # fmt: skip
TIMEFRAMES: tuple[str, ...] = get_args(Timeframe)

SymbolName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=31)
]  # the record holds 31 and NUL
BrokerTimeMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_BROKER_TIME_MS)]


class Operation(StrEnum):
    """The value is the name on the wire."""

    ACCOUNT_INFO = "account_info"
    POSITIONS = "positions"
    ORDERS = "orders"
    DEALS = "deals"
    HISTORY_ORDERS = "history_orders"
    SYMBOL = "symbol"
    TICK = "tick"
    RATES = "rates"


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of an operation's arguments; alone it stands for none."""


class HistoryArguments(Arguments, frozen=True):
    """A closed range of the broker server's clock, as everywhere in the package's records."""

    from_ms: BrokerTimeMs
    to_ms: BrokerTimeMs

    def __post_init__(self) -> None:
        if self.from_ms > self.to_ms:
            raise ValueError("`from_ms` is after `to_ms`")


class SymbolArguments(Arguments, frozen=True):
    symbol: SymbolName


class RatesArguments(Arguments, frozen=True):
    """The last `count` bars, the running one included."""

    symbol: SymbolName
    timeframe: Timeframe
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_RATES)]


@dataclass(frozen=True, slots=True)
class OperationSpec:
    arguments: type[Arguments]
    result: Any  # a Record, or a list of one
    in_snapshot: bool  # answered by the one full read of a visit


OPERATIONS: dict[Operation, OperationSpec] = {
    Operation.ACCOUNT_INFO: OperationSpec(Arguments, AccountInfo, True),
    Operation.POSITIONS: OperationSpec(Arguments, list[TradePosition], True),
    Operation.ORDERS: OperationSpec(Arguments, list[TradeOrder], True),
    Operation.DEALS: OperationSpec(HistoryArguments, list[TradeDeal], False),
    Operation.HISTORY_ORDERS: OperationSpec(HistoryArguments, list[TradeOrder], False),
    Operation.SYMBOL: OperationSpec(SymbolArguments, SymbolInfo, False),
    Operation.TICK: OperationSpec(SymbolArguments, Tick, False),
    Operation.RATES: OperationSpec(RatesArguments, list[Rate], False),
}
SNAPSHOT_OPERATIONS = tuple(name for name, spec in OPERATIONS.items() if spec.in_snapshot)


def parse_operation(text: str) -> Operation:
    try:
        return Operation(text)
    except ValueError:
        known = ", ".join(Operation)
        raise MT5ValidationError(f"operation: {text[:80]!r} is not one of {known}") from None


def parse_arguments(operation: Operation, arguments: object) -> Arguments:
    """Check raw JSON arguments against the operation's own struct.

    Raises:
        MT5ValidationError: naming the field, e.g. "arguments: Expected `int` >= 1 - at `$.count`".
    """
    try:
        return read_fields(arguments, OPERATIONS[operation].arguments)
    except UnreadableError as error:
        raise MT5ValidationError(f"arguments of {operation}: {error}") from None
