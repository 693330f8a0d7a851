"""The best that anybody could do who knew the future, for a handful of requests.

Dynamic programming over (who is answered, where the terminal is), with every pair of time and cost
that no other beats. Knowing who will ask, the optimum may log in ahead and may wait for riders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.policies import Load

Label = tuple[float, float]  # when the terminal is free, what it has cost so far
_State = tuple[int, int | None]  # bits of those answered, where the terminal is


@dataclass(frozen=True, slots=True)
class _Step:
    """Log in, if need be, and answer everybody who has come by then."""

    ends_ms: float
    account: int
    answers: tuple[int, ...]
    switches: bool


def least_total_wait_ms(load: Load, *, logs_in_ahead: bool = True) -> float:
    """The smallest sum of all waits; with or without logins before anybody has asked."""

    def wait_ms(step: _Step) -> float:
        return sum(step.ends_ms - load.arrivals[order][0] for order in step.answers)

    return _least(load, wait_ms, lambda _: True, logs_in_ahead=logs_in_ahead)


def fewest_logins(load: Load, by_ms: Sequence[float]) -> int:
    """The fewest logins with which everybody is answered by a time of their own.

    Raises:
        ValueError: no order of visits does that.
    """

    def is_in_time(step: _Step) -> bool:
        return all(step.ends_ms <= by_ms[order] for order in step.answers)

    return int(_least(load, lambda step: float(step.switches), is_in_time))


def _least(
    load: Load,
    cost: Callable[[_Step], float],
    is_allowed: Callable[[_Step], bool],
    *,
    logs_in_ahead: bool = True,
) -> float:
    everybody = (1 << len(load.arrivals)) - 1
    reached: dict[int, dict[int | None, list[Label]]] = {0: {None: [(0.0, 0.0)]}}
    for answered in range(everybody):  # a step only ever adds bits
        for current, labels in reached.pop(answered, {}).items():
            for free_ms, so_far in labels:
                steps = _steps(load, (answered, current), free_ms, logs_in_ahead=logs_in_ahead)
                for step in filter(is_allowed, steps):
                    after = answered | sum(1 << order for order in step.answers)
                    known = reached.setdefault(after, {}).setdefault(step.account, [])
                    _keep(known, (step.ends_ms, so_far + cost(step)))
    ends = reached.get(everybody, {}).values()
    return min(label[1] for labels in ends for label in labels)


def _steps(load: Load, state: _State, free_ms: float, *, logs_in_ahead: bool) -> Iterator[_Step]:
    answered, current = state
    waiting: dict[int, list[int]] = {}
    for order, (_, account) in enumerate(load.arrivals):
        if not answered >> order & 1:
            waiting.setdefault(account, []).append(order)
    for account, orders in waiting.items():
        came_ms = [load.arrivals[order][0] for order in orders]
        starts_ms = free_ms if logs_in_ahead else max(free_ms, came_ms[0])
        ready_ms = starts_ms + (0 if account == current else load.login_ms)
        for reads_at_ms in sorted({max(ready_ms, one) for one in came_ms}):
            there = tuple(o for o, one in zip(orders, came_ms, strict=True) if one <= reads_at_ms)
            yield _Step(reads_at_ms + load.read_ms, account, there, account != current)


def _keep(known: list[Label], new: Label) -> None:
    """Add a label unless another is at least as good in both; drop those that it beats."""
    if any(time <= new[0] and cost <= new[1] for time, cost in known):
        return
    known[:] = [one for one in known if one[0] < new[0] or one[1] < new[1]]
    known.append(new)
