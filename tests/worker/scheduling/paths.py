"""Random paths: who asks what when, of a terminal that costs what. A seed makes the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from tests.worker.scheduling.conftest import Arrival
from tests.worker.scheduling.day import Day, TerminalCosts

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS, Operation
from mt5relay_worker.costs import Costs

ACCOUNTS = tuple(AccountId(number, f"Server-{number % 3}") for number in range(1, 25))
SYMBOLS = ("EURUSD", "GBPUSD", "XAU", "BTC")
SINGLE_OPERATIONS = tuple(one for one in Operation if one not in SNAPSHOT_OPERATIONS)
PATIENCE_MS = 3_600_000

KeyT = TypeVar("KeyT")
Moment = tuple[int, AccountId]


@dataclass(frozen=True)
class Path:
    """One experiment. `believed` is what the schedule thinks that things cost."""

    seed: int
    pattern: str
    terminal: TerminalCosts
    arrivals: tuple[Arrival, ...]
    believed: TerminalCosts

    @property
    def asks_snapshots_only(self) -> bool:
        return all(one.operation in SNAPSHOT_OPERATIONS for one in self.arrivals)

    @property
    def has_patience(self) -> bool:
        """Nobody has a deadline that could pass."""
        return all(one.timeout_ms == PATIENCE_MS for one in self.arrivals)

    @property
    def is_judged_rightly(self) -> bool:
        return self.believed == self.terminal

    def costs(self) -> Costs:
        return self.believed.as_learned()

    def play(self) -> Day:
        return Day(self.terminal, self.arrivals, self.costs())

    def without(self, dropped: range) -> Path:
        """The same path, some arrivals fewer."""
        kept = (one for index, one in enumerate(self.arrivals) if index not in dropped)
        return replace(self, arrivals=tuple(kept))


def path_of(seed: int, *, misjudged: bool = False) -> Path:
    """The path of a seed. `misjudged`: what the schedule believes of costs is wrong."""
    random = Random(seed)
    pattern, make = random.choice(tuple(PATTERNS.items()))
    accounts = random.sample(ACCOUNTS, random.choice((2, 2, 3, 3, 4, 5, 8)))
    terminal = _terminal(random, may_refuse=not misjudged)
    asks = _Asker(random, may_hurry=not misjudged)
    moments = sorted(make(random, accounts, terminal), key=lambda moment: moment[0])
    arrivals = tuple(asks(at_ms, account) for at_ms, account in moments)
    if pattern == "ambush":
        arrivals = _ambushed(random, terminal, arrivals, asks)
    believed = _misjudge(random, terminal) if misjudged else terminal
    return Path(seed, pattern, terminal, arrivals, believed)


def _terminal(random: Random, *, may_refuse: bool) -> TerminalCosts:
    switches: tuple[Callable[[], int], ...] = (
        lambda: random.randint(100, 5_000),
        lambda: random.choice((100, 5_000)),
        lambda: random.choice((0, 0, 500, 2_000)),
        lambda: random.choice((500, 500, 501)),
    )
    reads: tuple[tuple[int, ...], ...] = ((20,), (0, 1, 5, 20, 100, 1_000), (1, 7, 20, 90))
    switch_ms, read_ms = random.choice(switches), random.choice(reads)
    refuses = may_refuse and random.random() < 0.2
    return TerminalCosts(
        {account: switch_ms() for account in ACCOUNTS},
        {operation: random.choice(read_ms) for operation in Operation},
        frozenset(random.sample(ACCOUNTS, 6)) if refuses else frozenset(),
    )


def _misjudge(random: Random, terminal: TerminalCosts) -> TerminalCosts:
    by = random.choice((1.1, 1.5, 3.0))

    def wrong(true_ms: Mapping[KeyT, int]) -> dict[KeyT, int]:
        return {key: round(ms * by ** random.uniform(-1, 1)) for key, ms in true_ms.items()}

    return replace(terminal, switch_ms=wrong(terminal.switch_ms), read_ms=wrong(terminal.read_ms))


class _Asker:
    """Decides what is asked, how long its caller waits, and how old the answer may be."""

    def __init__(self, random: Random, *, may_hurry: bool) -> None:
        self._random = random
        kinds: tuple[tuple[Operation, ...], ...] = (
            SNAPSHOT_OPERATIONS,
            SNAPSHOT_OPERATIONS,
            tuple(Operation),
            (Operation.POSITIONS, Operation.TICK, Operation.RATES),
            SINGLE_OPERATIONS,
        )
        self._operations = random.choice(kinds)
        self._hurried = random.choice((0.0, 0.0, 0.0, 0.2, 1.0)) if may_hurry else 0.0
        self._lenient = random.choice((0.0, 0.0, 0.0, 0.5))

    def __call__(self, at_ms: int, account: AccountId) -> Arrival:
        random = self._random
        is_hurried, is_lenient = random.random() < self._hurried, random.random() < self._lenient
        return Arrival(
            at_ms,
            account,
            random.choice(self._operations),
            random.choice(SYMBOLS),
            timeout_ms=round(10 ** random.uniform(1, 4.3)) if is_hurried else PATIENCE_MS,
            max_age_ms=random.choice((1, 100, 3_000)) if is_lenient else 0,
        )


def _bursts(
    random: Random, accounts: list[AccountId], _terminal: TerminalCosts
) -> Iterator[Moment]:
    at_ms = 0
    for _ in range(random.randint(1, 4)):
        for _ in range(random.randint(1, 10)):
            yield at_ms, random.choice(accounts)
        at_ms += random.choice((1, 100, 2_000, 6_000, 30_000))


def _poisson(
    random: Random, accounts: list[AccountId], terminal: TerminalCosts
) -> Iterator[Moment]:
    mean_ms = sum(terminal.switch_ms[one] for one in accounts) / len(accounts) + 20
    gap_ms, at_ms = mean_ms * 10 ** random.uniform(-1, 0.7), 0.0
    for _ in range(random.randint(5, 40)):
        at_ms += random.expovariate(1 / gap_ms)
        yield round(at_ms), random.choice(accounts)


def _in_turns(
    random: Random, accounts: list[AccountId], _terminal: TerminalCosts
) -> Iterator[Moment]:
    at_ms, gap_ms = 0, random.choice((0, 1, 10, 300, 3_000))
    for number in range(random.randint(4, 30)):
        yield at_ms, accounts[number % len(accounts)]
        at_ms += gap_ms


def _hot(random: Random, accounts: list[AccountId], _terminal: TerminalCosts) -> Iterator[Moment]:
    at_ms, gap_ms = 0, random.choice((1, 10, 100, 1_000))
    for _ in range(random.randint(10, 40)):
        yield at_ms, accounts[0] if random.random() < 0.8 else random.choice(accounts)
        at_ms += random.randint(0, 2 * gap_ms)


def _all_distinct(
    random: Random, _accounts: list[AccountId], _terminal: TerminalCosts
) -> Iterator[Moment]:
    at_ms, gap_ms = 0, random.choice((0, 10, 1_000, 5_000))
    for account in random.sample(ACCOUNTS, random.randint(2, len(ACCOUNTS))):
        yield at_ms, account
        at_ms += random.randint(0, gap_ms)


def _idle_phases(
    random: Random, accounts: list[AccountId], terminal: TerminalCosts
) -> Iterator[Moment]:
    at_ms = 0
    for _ in range(random.randint(2, 10)):
        for _ in range(random.choice((1, 1, 2, 4))):
            yield at_ms, random.choice(accounts)
            at_ms += random.choice((0, 0, 1, 200))
        busy_ms = sum(terminal.switch_ms[one] for one in random.sample(accounts, 2))
        at_ms += random.choice((busy_ms // 2, busy_ms, busy_ms + 50, 2 * busy_ms, 60_000))


def _ambushed(
    random: Random, terminal: TerminalCosts, arrivals: tuple[Arrival, ...], asks: _Asker
) -> tuple[Arrival, ...]:
    """Play it, and let somebody arrive at the worst moment; again and again."""
    for _ in range(random.randint(1, 4)):
        day = Day(terminal, arrivals)
        account, at_ms = random.choice(arrivals).account, random.choice(arrivals).at_ms
        if day.logins:
            login = random.choice(day.logins)
            account = login.left if login.left and random.random() < 0.7 else login.account
            at_ms = random.choice((login.began_ms, login.began_ms, login.ended_ms))
        if day.ended_ms and random.random() < 0.2:
            at_ms = random.choice(day.ended_ms)
        one = asks(max(0, at_ms + random.choice((-1, 0, 1, 1))), account)
        arrivals = tuple(sorted((*arrivals, one), key=lambda arrival: arrival.at_ms))
    return arrivals


PATTERNS: dict[str, Callable[[Random, list[AccountId], TerminalCosts], Iterator[Moment]]] = {
    "bursts": _bursts,
    "poisson": _poisson,
    "in turns": _in_turns,
    "hot account": _hot,
    "all distinct": _all_distinct,
    "idle phases": _idle_phases,
    "ambush": _idle_phases,
}
