"""The requests that wait, in the order in which they arrived."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.messages import Question, Request
from mt5relay_shared.operations import OPERATIONS


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request in the backlog. Times are milliseconds of Redis server time.

    `admitted_ms` is when this worker first saw it, never earlier than it arrived;
    `fifo_finish_ms` is when strict first-in-first-out would have answered it, by estimate.
    """

    entry: str
    order: int  # position in the line, for telling who came first
    request: Request
    question: Question
    arrived_ms: int
    admitted_ms: int
    fifo_finish_ms: float

    @property
    def deadline_ms(self) -> int:
        return self.arrived_ms + self.request.timeout_ms

    @property
    def account(self) -> AccountId:
        return self.question.account

    def accepts(self, read_began_ms: int, now_ms: int) -> bool:
        """Whether a read that was planned for others is young enough now: it began after this
        arrived, or is not older than `max_age` allows."""
        return read_began_ms >= min(self.admitted_ms, now_ms - self.request.max_age_ms)

    @property
    def is_in_snapshot(self) -> bool:
        """Whether the one full read of a visit answers it."""
        return OPERATIONS[self.question.operation].in_snapshot


class Backlog:
    """Knows who waits, for which account, and until when. Every step costs the same however many
    wait, but for `expired`, which costs a logarithm for each that has."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._by_account: dict[AccountId, OrderedDict[str, Waiting]] = {}
        self._deadlines: list[tuple[int, str]] = []
        self.newest_account: AccountId | None = None  # of those the terminal worked for
        self._newest_order = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting.values())

    def __contains__(self, entry: str) -> bool:
        return entry in self._waiting

    @property
    def accounts(self) -> int:
        """For how many different accounts somebody waits."""
        return len(self._by_account)

    def add(self, waiting: Waiting) -> None:
        self._waiting[waiting.entry] = waiting
        self._by_account.setdefault(waiting.account, OrderedDict())[waiting.entry] = waiting
        heapq.heappush(self._deadlines, (waiting.deadline_ms, waiting.entry))

    def visit_begins(self, oldest: Waiting) -> None:
        """The terminal goes to an account for the sake of this request; strict FIFO does as well,
        even if its caller leaves meanwhile."""
        if oldest.order > self._newest_order:
            self._newest_order, self.newest_account = oldest.order, oldest.account

    def remove(self, served: Iterable[Waiting]) -> None:
        """Take off whom the terminal worked for; those that are no longer here are passed over."""
        for one in served:
            if one.entry in self._waiting:
                self.visit_begins(one)
                self.drop([one])

    def drop(self, left: Iterable[Waiting]) -> None:
        """Take off who left the line before their turn: strict FIFO never goes to their account."""
        for one in left:
            if self._waiting.pop(one.entry, None) is not None:
                of_account = self._by_account[one.account]
                del of_account[one.entry]
                if not of_account:
                    del self._by_account[one.account]

    def oldest(self) -> Waiting | None:
        return next(iter(self._waiting.values()), None)

    def waiting_for(self, account: AccountId) -> list[Waiting]:
        """Everybody who waits for an account, oldest first."""
        return list(self._by_account.get(account, OrderedDict[str, Waiting]()).values())

    def oldest_of_each_account(self) -> Iterator[Waiting]:
        """The oldest waiter of each account, in no particular order."""
        return (next(iter(waiting.values())) for waiting in self._by_account.values())

    def expired(self, now_ms: int) -> list[Waiting]:
        """Take off and return everybody whose deadline has passed."""
        found: list[Waiting] = []
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            _, entry = heapq.heappop(self._deadlines)
            if entry in self._waiting:
                found.append(self._waiting[entry])
        self.drop(found)
        return found

    def next_deadline_ms(self) -> int | None:
        while self._deadlines and self._deadlines[0][1] not in self._waiting:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def __repr__(self) -> str:
        return f"<Backlog {len(self)} requests for {self.accounts} accounts>"
