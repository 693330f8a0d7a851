"""The oracle: a terminal that serves one request after the other, each with a read of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.worker.scheduling.conftest import Arrival
from tests.worker.scheduling.day import TerminalCosts

from mt5relay_shared.accounts import AccountId


def strict_fifo_ms(
    terminal: TerminalCosts,
    arrivals: Sequence[Arrival],
    is_served: Callable[[int, int], bool] = lambda _order, _start_ms: True,
) -> dict[int, int]:
    """When each request is answered, by order of arrival, from 1.

    `is_served` is asked when a request's turn comes (order, time in ms); who is not, has left the
    line and costs nothing. By default everybody is served, whether their deadline passed or not.
    """
    free_ms, current, finished = 0, None, dict[int, int]()
    for order, arrival in enumerate(arrivals, 1):
        starts_ms = max(free_ms, arrival.at_ms)
        if is_served(order, starts_ms):
            took_ms, current = _serve(terminal, arrival, current)
            finished[order] = free_ms = starts_ms + took_ms
    return finished


def impatient_fifo_ms(terminal: TerminalCosts, arrivals: Sequence[Arrival]) -> dict[int, int]:
    """The same, but whose deadline has passed when their turn comes has left."""

    def is_there(order: int, starts_ms: int) -> bool:
        one = arrivals[order - 1]
        return starts_ms < one.at_ms + one.timeout_ms

    return strict_fifo_ms(terminal, arrivals, is_there)


def strict_fifo_logins(terminal: TerminalCosts, arrivals: Sequence[Arrival]) -> int:
    """How many logins that makes."""
    logins, current = 0, None
    for one in arrivals:
        logins += one.account != current
        current = None if one.account in terminal.refused else one.account
    return logins


def _serve(
    terminal: TerminalCosts, arrival: Arrival, current: AccountId | None
) -> tuple[int, AccountId | None]:
    """What it takes, and where the terminal is then."""
    switch_ms = 0 if arrival.account == current else terminal.switch_ms[arrival.account]
    if arrival.account in terminal.refused:
        return switch_ms, None
    return switch_ms + terminal.answer_ms(arrival.operation), arrival.account
