"""The table that a demonstration shows while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.cli.demo_traffic import Look
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.health import Health
from mt5relay_shared.operations import Operation
from mt5relay_shared.records import AccountInfo

KEPT_LATENCIES = 1_000


@dataclass(frozen=True)
class Row:
    """What is known of an account. Money in `currency`, `latency` in seconds."""

    currency: str = ""
    balance: float | None = None
    equity: float | None = None
    positions: int | None = None
    source: str = ""
    as_of: datetime | None = None
    latency: float | None = None


class Board:
    """What was seen of all accounts so far."""

    def __init__(self, accounts: Iterable[AccountId]) -> None:
        self._rows = {account: Row() for account in accounts}
        self._latencies: deque[float] = deque(maxlen=KEPT_LATENCIES)
        self.answers = 0
        self.errors = 0

    def saw(self, look: Look) -> None:
        row = self._rows[look.account]
        if isinstance(look.result, MT5Error):
            self.errors += 1
            row = replace(row, source=look.result.code, latency=look.latency)
        else:
            self.answers += 1
            self._latencies.append(look.latency)
            row = _updated(row, look.result, look.latency)
        self._rows[look.account] = row

    @property
    def rows(self) -> dict[AccountId, Row]:
        return dict(self._rows)

    def latency(self, share: float) -> float | None:
        """The latency in seconds that `share` of the recent answers did not pass."""
        return quantile(sorted(self._latencies), share)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _updated(row: Row, answer: Answer[Any], latency: float) -> Row:
    source = "stale" if answer.stale else answer.source
    row = replace(row, source=source, as_of=answer.as_of, latency=latency)
    if isinstance(answer.data, AccountInfo):
        info = answer.data
        return replace(row, currency=info.currency, balance=info.balance, equity=info.equity)
    if answer.operation is Operation.POSITIONS:
        return replace(row, positions=len(answer.data))
    return row


def board_view(board: Board, health: Health | None, now: datetime) -> RenderableType:
    return Group(_header(board, health), _table(board, now))


def _header(board: Board, health: Health | None) -> Text:
    answers = (
        f"answers {board.answers}  errors {board.errors}  latency"
        f" p50 {_seconds(board.latency(0.5))}  p95 {_seconds(board.latency(0.95))}"
    )
    if health is None:
        return Text(f"no worker\n{answers}")
    return Text(
        f"{health.status}  {health.state} {health.detail}  breaker {health.breaker}"
        f"  account {health.current_account or '-'}\n"
        f"waiting {health.queue_depth}  logins {health.logins}  saved {health.logins_saved}"
        f"  visits {health.visits}\n{answers}"
    )


def _table(board: Board, now: datetime) -> Table:
    table = Table(Column("account", no_wrap=True), box=None, padding=(0, 1, 0, 0))
    for column in ("balance", "equity", "", "open"):
        table.add_column(column, justify="right")
    table.add_column("source")
    for column in ("age", "latency"):
        table.add_column(column, justify="right")
    for account, row in board.rows.items():
        table.add_row(str(account), *_cells(row, now))
    return table


def _cells(row: Row, now: datetime) -> Iterable[str]:
    yield _money(row.balance)
    yield _money(row.equity)
    yield row.currency
    yield "" if row.positions is None else str(row.positions)
    yield row.source
    yield "" if row.as_of is None else _seconds(max(0.0, (now - row.as_of).total_seconds()))
    yield "" if row.latency is None else _seconds(row.latency)


def _money(amount: float | None) -> str:
    return "" if amount is None else f"{amount:,.2f}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"


def utc_now() -> datetime:
    return datetime.now(UTC)
