"""An answer as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.cli.output import iso_text, printable
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import Record

_POSITION_TYPES = ("buy", "sell")
_ORDER_TYPES = (
    *("buy", "sell", "buy limit", "sell limit", "buy stop", "sell stop"),
    *("buy stop limit", "sell stop limit", "close by"),
)
_DEAL_TYPES = ("buy", "sell", "balance", "credit", "charge", "correction", "bonus", "commission")
_ORDER_STATES = (
    *("started", "placed", "canceled", "partial", "filled", "rejected", "expired"),
    *("request add", "request modify", "request cancel"),
)
_DEAL_ENTRIES = ("in", "out", "in/out", "out by")

_COLUMNS: Mapping[Operation, Sequence[str]] = {
    Operation.POSITIONS: (
        *("ticket", "time", "symbol", "type", "volume", "price_open", "price_current"),
        *("sl", "tp", "swap", "profit", "comment"),
    ),
    Operation.ORDERS: (
        *("ticket", "time_setup", "symbol", "type", "state", "volume_current", "price_open"),
        *("sl", "tp", "price_current", "comment"),
    ),
    Operation.HISTORY_ORDERS: (
        *("ticket", "time_setup", "time_done", "symbol", "type", "state", "volume_initial"),
        *("price_open", "position_id", "comment"),
    ),
    Operation.DEALS: (
        *("ticket", "order", "time", "symbol", "type", "entry", "volume", "price"),
        *("commission", "swap", "profit", "position_id", "comment"),
    ),
    Operation.SYMBOL: (
        *("name", "description", "path", "currency_base", "currency_profit", "currency_margin"),
        *("digits", "point", "bid", "ask", "spread", "trade_contract_size", "trade_tick_value"),
        *("volume_min", "volume_max", "volume_step", "swap_long", "swap_short", "time"),
    ),
}
_NAMES: Mapping[tuple[Operation, str], Sequence[str]] = {
    (Operation.POSITIONS, "type"): _POSITION_TYPES,
    (Operation.ORDERS, "type"): _ORDER_TYPES,
    (Operation.ORDERS, "state"): _ORDER_STATES,
    (Operation.HISTORY_ORDERS, "type"): _ORDER_TYPES,
    (Operation.HISTORY_ORDERS, "state"): _ORDER_STATES,
    (Operation.DEALS, "type"): _DEAL_TYPES,
    (Operation.DEALS, "entry"): _DEAL_ENTRIES,
}
_TIMES = ("time", "time_setup", "time_done")
_MONEY = frozenset(
    {
        *("balance", "credit", "profit", "equity", "margin", "margin_free", "margin_level"),
        *("swap", "commission", "fee"),
    }
)


def answer_fields(answer: Answer[Any]) -> dict[str, object]:
    """The answer for a program; `data` in the package's own field order, `age` in seconds."""
    return {
        "account": str(answer.account),
        "operation": answer.operation.value,
        "status": "ok",
        "source": answer.source,
        "stale": answer.stale,
        "reason": answer.reason,
        "as_of": iso_text(answer.as_of),
        "age": answer.age,
        "synchronized": answer.synchronized,
        "server_utc_offset": (
            None if answer.server_utc_offset is None else answer.server_utc_offset.total_seconds()
        ),
        "request_id": answer.request_id,
        "data": msgspec.to_builtins(answer.data),
    }


def answer_view(answer: Answer[Any]) -> RenderableType:
    """The answer for a person: how far to trust it, and a table of what matters most."""
    return Group(Text(_headline(answer), style="bold"), _body(answer.operation, answer.data))


def _headline(answer: Answer[Any]) -> str:
    stale = f", STALE because of {answer.reason}" if answer.stale else ""
    return (
        f"{answer.operation} of {answer.account}: from the {answer.source}"
        f" as of {iso_text(answer.as_of)}, {answer.age:.1f} s old{stale}"
    )


def _body(operation: Operation, data: Record | Sequence[Record]) -> RenderableType:
    if isinstance(data, Record):
        return _one(operation, data)
    return _many(operation, data) if data else Text("none")


def _one(operation: Operation, record: Record) -> Table:
    table = Table(show_header=False)
    for field in _columns(operation, record):
        table.add_row(field, cell(operation, field, getattr(record, field)))
    return table


def _many(operation: Operation, records: Sequence[Record]) -> Table:
    columns = _columns(operation, records[0])
    table = Table()
    for field in columns:
        numeric = isinstance(getattr(records[0], field), float)
        table.add_column(field, justify="right" if numeric else "left")
    for record in records:
        table.add_row(*(cell(operation, field, getattr(record, field)) for field in columns))
    return table


def _columns(operation: Operation, record: Record) -> Sequence[str]:
    return _COLUMNS.get(operation, record.__struct_fields__)


def cell(operation: Operation, field: str, value: object) -> str:
    """One value as text; times stay in the broker's clock, which has no zone to name."""
    names = _NAMES.get((operation, field))
    if isinstance(value, int) and names is not None:
        return names[value] if 0 <= value < len(names) else str(value)
    if isinstance(value, int) and field in _TIMES:
        return _broker_time(value)
    return _plain(field)(value)


def _plain(field: str) -> Callable[[object], str]:
    return _money if field in _MONEY else _general


def _money(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _general(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.10g}"
        case _:
            return printable(str(value))


def _broker_time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}" if seconds else ""
