"""The requests that wait, in the order in which they arrived."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

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


@dataclass(slots=True)
class _OfAccount:
    """Who waits for one account: all, and by what will answer them, each oldest first."""

    everybody: OrderedDict[str, Waiting] = field(default_factory=OrderedDict[str, Waiting])
    sharing: OrderedDict[str, Waiting] = field(default_factory=OrderedDict[str, Waiting])
    asking: OrderedDict[Question, dict[str, Waiting]] = field(
        default_factory=OrderedDict[Question, dict[str, Waiting]]
    )
    is_in_order: bool = True

    def add(self, one: Waiting) -> None:
        self.everybody[one.entry] = one
        if one.is_in_snapshot:
            self.sharing[one.entry] = one
        else:
            self.asking.setdefault(one.question, {})[one.entry] = one

    def remove(self, one: Waiting) -> None:
        del self.everybody[one.entry]
        if one.is_in_snapshot:
            del self.sharing[one.entry]
            return
        asking = self.asking[one.question]
        del asking[one.entry]
        if asking:
            self.is_in_order = False  # who asked first may have been the oldest of all
        else:
            del self.asking[one.question]

    def questions(self) -> OrderedDict[Question, dict[str, Waiting]]:
        if not self.is_in_order:
            in_order = sorted(self.asking.items(), key=lambda item: _oldest(item[1]).order)
            self.asking, self.is_in_order = OrderedDict(in_order), True
        return self.asking


def _oldest(waiting: Mapping[str, Waiting]) -> Waiting:
    return next(iter(waiting.values()))


_NOBODY = _OfAccount()


class Backlog:
    """Knows who waits, for which account, and until when. Every step costs the same however many
    wait, but for `expired`, which costs a logarithm for each that has."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._by_account: dict[AccountId, _OfAccount] = {}
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
        of_account = self._by_account.get(waiting.account)
        if of_account is None:
            of_account = self._by_account[waiting.account] = _OfAccount()
        of_account.add(waiting)
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
                of_account.remove(one)
                if not of_account.everybody:
                    del self._by_account[one.account]

    def oldest(self) -> Waiting | None:
        return next(iter(self._waiting.values()), None)

    def waiting_for(self, account: AccountId) -> list[Waiting]:
        """Everybody who waits for an account, oldest first."""
        return list(self._of(account).everybody.values())

    def oldest_for(self, account: AccountId) -> Waiting | None:
        return next(iter(self._of(account).everybody.values()), None)

    def run_ends(self, oldest: Waiting, limit: int) -> int:
        """The place in the line at which the first of another account stands; `oldest` is the first
        in line, and `limit` bounds how many are looked at. 0 where `oldest` is not."""
        order = 0
        for one in islice(self._waiting.values(), limit):
            if one.account != oldest.account:
                return one.order if order else 0
            order = one.order + 1
        return order

    def sharing(self, account: AccountId) -> list[Waiting]:
        """Those whom the one full read of a visit answers, oldest first."""
        return list(self._of(account).sharing.values())

    def questions(self, account: AccountId) -> Mapping[Question, Mapping[str, Waiting]]:
        """Every other question and who asks it, oldest first."""
        return self._of(account).questions()

    def joined_after(self, account: AccountId, order: int) -> list[Waiting]:
        """Who came to wait for an account after this place in the line, oldest first."""
        newcomers: list[Waiting] = []
        for one in reversed(self._of(account).everybody.values()):
            if one.order <= order:
                break
            newcomers.append(one)
        return newcomers[::-1]

    def newest_order(self) -> int:
        """The last place in the line, 0 where there is none."""
        return next((one.order for one in reversed(self._waiting.values())), 0)

    def _of(self, account: AccountId) -> _OfAccount:
        return self._by_account.get(account, _NOBODY)

    def oldest_of_each_account(self) -> Iterator[Waiting]:
        """The oldest waiter of each account, in no particular order."""
        return (next(iter(one.everybody.values())) for one in self._by_account.values())

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
