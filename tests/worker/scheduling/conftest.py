"""Requests that wait, and a simulated terminal that serves them as the schedule says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import Request
from mt5relay_shared.operations import OPERATIONS, Operation
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.costs import Costs
from mt5relay_worker.schedule import Follow, Visit, Wait, next_step
from mt5relay_worker.shadow_fifo import ShadowFifo


@dataclass(frozen=True)
class Arrival:
    """Somebody asks, at a time in ms. A `symbol` tells questions of one operation apart."""

    at_ms: int
    account: AccountId
    operation: Operation = Operation.POSITIONS
    symbol: str = "EURUSD"
    timeout_ms: int = 3_600_000

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
    )
    at_ms = arrival.at_ms
    return Waiting(str(order), order, request, request.question(), at_ms, at_ms, fifo_finish_ms)


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


class SimulatedDay:
    """A terminal that takes exactly its costs, driven by the schedule. Times in ms."""

    def __init__(self, costs: Costs, arrivals: Sequence[Arrival]) -> None:
        self.costs = costs
        self.arrivals = arrivals
        self.finished_ms: dict[int, float] = {}  # by order of arrival
        self.switches: list[AccountId] = []
        self.visits = 0
        self.shadow = ShadowFifo(costs)
        self.now_ms = 0.0
        self._current: AccountId | None = None
        self._backlog = Backlog()
        self._admitted = 0
        while not self._is_over():
            self._step()

    def _is_over(self) -> bool:
        return self._admitted == len(self.arrivals) and not len(self._backlog)

    def _step(self) -> None:
        self._admit()
        match next_step(self._backlog, self._current, self.costs, self.now_ms):
            case Visit() as visit:
                self._make(visit)
            case Follow(account):
                self._backlog.newest_account = None
                self._switch(account)
            case Wait():
                self.now_ms = self.arrivals[self._admitted].at_ms

    def _admit(self) -> None:
        for arrival in self.arrivals[self._admitted :]:
            if arrival.at_ms > self.now_ms:
                break
            self._admitted += 1
            entry = str(self._admitted)
            finish = self.shadow.arrive(entry, arrival.account, arrival.operation, arrival.at_ms)
            self._backlog.add(waiting(self._admitted, arrival, finish))

    def _switch(self, account: AccountId) -> None:
        if account != self._current:
            self.now_ms += self.costs.switch_ms(account)
            self.switches.append(account)
        self._current = account

    def _make(self, visit: Visit) -> None:
        self.visits += 1
        self._switch(visit.account)
        self._admit()  # who came during the login
        riders = [one for one in self._backlog.waiting_for(visit.account) if visit.answers(one)]
        self.now_ms += self.costs.snapshot_ms() if visit.reads_snapshot else 0
        self.now_ms += sum(self.costs.read_ms(one.operation) for one in visit.questions)
        for one in riders:
            self.finished_ms[one.order] = self.now_ms
            switch_ms = self.costs.switch_ms(one.account)
            self.shadow.serve(
                one.entry, self.now_ms, switch_ms, self._read_ms(one.question.operation)
            )
        self._backlog.remove(riders)

    def _read_ms(self, operation: Operation) -> float:
        """What strict FIFO would read for one request: the full read, too, is one read."""
        if OPERATIONS[operation].in_snapshot:
            return self.costs.snapshot_ms()
        return self.costs.read_ms(operation)

    def strict_fifo_ms(self) -> dict[int, float]:
        """When a terminal that serves one request after the other would have finished each."""
        free_ms, current, finished = 0.0, None, dict[int, float]()
        for order, arrival in enumerate(self.arrivals, 1):
            free_ms = max(free_ms, arrival.at_ms) + self._read_ms(arrival.operation)
            if arrival.account != current:
                free_ms += self.costs.switch_ms(arrival.account)
            current = arrival.account
            finished[order] = free_ms
        return finished
