"""What the worker's decisions cost, by how many wait: microseconds a step, no Redis, no clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import Request
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.costs import Costs
from mt5relay_worker.schedule import next_step, turns
from mt5relay_worker.shadow_fifo import ShadowFifo

WAITING = (100, 1_000, 10_000, 100_000)  # for one account
ACCOUNTS = (10, 100, 1_000, 10_000)  # with one waiter each
NOW_MS = 1_763_719_637_000
ARRIVED_MS = NOW_MS - 100


@dataclass(frozen=True, slots=True)
class Cost:
    """`size` is how many wait, or for how many accounts."""

    step: str
    of: str
    size: int
    microseconds: float


def waiting(number: int, account: AccountId) -> Waiting:
    request = Request(
        id=f"{number:026}",
        account=str(account),
        operation="deals",
        arguments={"from_ms": number, "to_ms": number + 1},
    )
    entry = f"{ARRIVED_MS}-{number}"
    finish_ms = NOW_MS + 20.0 * number
    return Waiting(entry, number, request, request.question(), ARRIVED_MS, ARRIVED_MS, finish_ms)


def line(size: int, accounts: int) -> list[Waiting]:
    known = [AccountId(number + 1, "Bench-Demo") for number in range(accounts)]
    return [waiting(number, known[number % accounts]) for number in range(size)]


def filled(waiters: list[Waiting]) -> Backlog:
    backlog = Backlog()
    for one in waiters:
        backlog.add(one)
    return backlog


def measured(budget: float) -> list[Cost]:
    """Every step at every size; each is repeated for `budget` seconds."""
    found: list[Cost] = []
    for size in WAITING:
        waiters = line(size, 1)
        found += _of_line(waiters, "requests for one account", size, budget)
        found.append(_visiting(waiters, "requests for one account", size, budget))
    for size in ACCOUNTS:
        waiters = line(size, size)
        found += _of_line(waiters, "accounts", size, budget)
        found.append(_visiting(waiters, "accounts", size, budget))
        found.append(_turns(filled(waiters), size, budget))
    return found


def _turns(backlog: Backlog, size: int, budget: float) -> Cost:
    costs = Costs()
    took = repeated(lambda: turns(backlog, None, costs, NOW_MS), budget)
    return Cost("turns, of the heartbeat", "accounts", size, took)


def _of_line(waiters: list[Waiting], of: str, size: int, budget: float) -> list[Cost]:
    backlog, shadow = filled(waiters), ShadowFifo(Costs())
    for one in waiters:
        shadow.arrive(one.entry, one.account, one.question.operation, one.arrived_ms)
    newcomer = waiting(size, waiters[0].account)

    def come_and_go() -> None:
        backlog.add(newcomer)
        backlog.oldest()
        backlog.remove([newcomer])
        backlog.next_deadline_ms()

    def shadowed() -> None:
        shadow.arrive("new", newcomer.account, newcomer.question.operation, ARRIVED_MS)
        shadow.leave("new", NOW_MS)

    return [
        Cost("backlog: add, oldest, remove", of, size, repeated(come_and_go, budget)),
        Cost("shadow FIFO: arrive, leave", of, size, repeated(shadowed, budget)),
    ]


def _visiting(waiters: list[Waiting], of: str, size: int, budget: float) -> Cost:
    """Plan a visit: divided by the requests that it serves, for that is what each pays."""
    backlog, costs = filled(waiters), Costs()
    for one in waiters[:1]:
        costs.observe_read(one.question.operation, 0.1)
        costs.observe_switch(one.account, 1.0)
    account = waiters[0].account
    step = next_step(backlog, account, costs, NOW_MS)
    served = len(getattr(step, "serves", ())) or 1
    took = repeated(lambda: next_step(backlog, account, costs, NOW_MS), budget)
    return Cost(f"next_step, for each of {served} served", of, size, took / served)


def repeated(step: Callable[[], object], budget: float) -> float:
    """Microseconds that a step takes, the least of a few tries: the rest is other programs'."""
    times: list[float] = []
    give_up = time.perf_counter() + budget
    count = 1
    while time.perf_counter() < give_up or not times:
        began = time.perf_counter()
        for _ in range(count):
            step()
        took = time.perf_counter() - began
        times.append(took / count)
        if took < 0.01:
            count *= 2
    return min(times) * 1e6
