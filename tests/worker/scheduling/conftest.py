"""Requests that wait, and what a terminal is known to cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import Question, Request
from mt5relay_shared.operations import Operation
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.costs import Costs
from mt5relay_worker.shadow_fifo import ShadowFifo


@dataclass(frozen=True)
class Arrival:
    """Somebody asks, at a time in ms. A `symbol` tells questions of one operation apart."""

    at_ms: int
    account: AccountId
    operation: Operation = Operation.POSITIONS
    symbol: str = "EURUSD"
    timeout_ms: int = 3_600_000
    max_age_ms: int = 0

    @property
    def arguments(self) -> dict[str, Any]:
        match self.operation:
            case Operation.SYMBOL | Operation.TICK:
                return {"symbol": self.symbol}
            case Operation.RATES:
                return {"symbol": self.symbol, "timeframe": "M1", "count": 5}
            case Operation.DEALS | Operation.HISTORY_ORDERS:
                return {"from_ms": 0, "to_ms": len(self.symbol)}
            case _:
                return {}


def waiting(order: int, arrival: Arrival, fifo_finish_ms: float = 0.0) -> Waiting:
    """A place in the backlog; its entry is named after its order."""
    request = Request(
        id=f"r{order}",
        account=str(arrival.account),
        operation=arrival.operation.value,
        arguments=arrival.arguments,
        timeout_ms=arrival.timeout_ms,
        max_age_ms=arrival.max_age_ms,
    )
    question = question_of(arrival.account, arrival.operation, arrival.symbol)
    at_ms = arrival.at_ms
    return Waiting(str(order), order, request, question, at_ms, at_ms, fifo_finish_ms)


@cache
def question_of(account: AccountId, operation: Operation, symbol: str) -> Question:
    arguments = Arrival(0, account, operation, symbol).arguments
    return Request(
        id="r", account=str(account), operation=operation.value, arguments=arguments
    ).question()


def queue(costs: Costs, arrivals: Iterable[Arrival]) -> Backlog:
    """A backlog in which all of these wait, with their places in the shadow FIFO."""
    backlog, shadow = Backlog(), ShadowFifo(costs)
    for order, one in enumerate(arrivals, 1):
        finish = shadow.arrive(str(order), one.account, one.operation, one.at_ms)
        backlog.add(waiting(order, one, finish))
    return backlog


def known_costs(
    accounts: Iterable[AccountId], *, switch_ms: float = 1_000, read_ms: float = 20
) -> Costs:
    """Costs that have been learned and do not vary."""
    costs = Costs()
    for account in accounts:
        costs.observe_switch(account, switch_ms)
    for operation in Operation:
        costs.observe_read(operation, read_ms)
    return costs
