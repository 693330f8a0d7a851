"""How far the wall clock of each broker's server is ahead of UTC, found from its ticks.

The terminal gives times as the server's wall clock, and nobody says which zone that is. A tick that
has just happened tells: its time less UTC is the offset less its age. What makes this hard is ticks
that only look fresh: of a market that closed half an hour ago, or of the time when the terminal was
last logged in. So one tick proves nothing: three looks at a symbol must find its time moving on as
fast as the clock. Pure: told the time of every look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

STEP = 900  # offsets are whole quarters of an hour
FARTHEST = 14 * 3600
LOOKS = 3
SHORTEST_GAP = 2.0  # seconds between looks: a symbol needs time to tick
LONGEST_GAP = 600.0
SLACK = 30.0  # seconds by which a tick's time may move more or less than the clock
OLDEST = 60.0  # seconds that a tick may be old, its server's clock being right
AHEAD = 30.0  # seconds that this computer's clock may be behind the server's
LOOK_AGAIN = 3600.0  # seconds until a known offset is checked: summer time begins and ends
TRUSTED = 24 * 3600.0  # seconds that it is believed without another proof
SYMBOLS_A_LOOK = 2
_MOST_SYMBOLS = 8
_MOST_UNKNOWN = 64
_USUAL = ("EURUSD", "BTCUSD", "XAUUSD", "USDJPY")


@dataclass(frozen=True, slots=True)
class Sight:
    """A tick's time on the server's clock, and the UTC time at which it was the latest."""

    tick: float
    now: float


def follows(earlier: Sight, later: Sight) -> bool:
    """Whether a symbol's time has moved on as fast as the clock."""
    passed = later.now - earlier.now
    moved = later.tick - earlier.tick
    return 0 < passed <= LONGEST_GAP and moved > 0 and abs(moved - passed) <= SLACK


def offset_of(fresh: Sight) -> int | None:
    """The offset in seconds, taking the tick for fresh; None where that can't be."""
    lead = fresh.tick - fresh.now
    offset = round(lead / STEP) * STEP
    age = offset - lead
    return offset if -AHEAD <= age <= OLDEST and abs(offset) <= FARTHEST else None


@dataclass
class _Server:
    offset: int | None = None
    proved_at: float = 0.0
    looked_at: float | None = None
    symbols: deque[str] = field(default_factory=lambda: deque(_USUAL, _MOST_SYMBOLS))
    unknown: set[str] = field(default_factory=set[str])
    sights: dict[str, list[Sight]] = field(default_factory=dict[str, list[Sight]])

    def forget(self, symbol: str) -> None:
        """The server does not have it, or nobody watches it there."""
        self.sights.pop(symbol, None)
        if symbol in self.symbols:
            self.symbols.remove(symbol)
        if len(self.unknown) < _MOST_UNKNOWN:
            self.unknown.add(symbol)

    def put_last(self, symbol: str) -> None:
        self.sights.pop(symbol, None)
        if symbol in self.symbols:
            self.symbols.remove(symbol)
            self.symbols.append(symbol)


class BrokerTime:
    """What is known of each server. `now` is UTC, in seconds since 1970."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def offset(self, server: str, now: float) -> int | None:
        """Seconds that the server's clock is ahead of UTC; None where it is not known for sure."""
        known = self._servers.get(server)
        if known is None or known.offset is None or now - known.proved_at > TRUSTED:
            return None
        return known.offset

    def wants_a_look(self, server: str, now: float) -> bool:
        known = self._servers.get(server)
        if known is None or known.looked_at is None:
            return True
        is_sure = known.offset is not None and 0 <= now - known.proved_at < LOOK_AGAIN
        return not is_sure and abs(now - known.looked_at) >= SHORTEST_GAP

    def symbols(self, server: str) -> list[str]:
        """Which symbols to look at; none where none is known that the server has."""
        known = self._of(server)
        begun = [symbol for symbol in known.symbols if symbol in known.sights]
        return (begun or list(known.symbols))[:SYMBOLS_A_LOOK]

    def suggest(self, server: str, symbols: Iterable[str]) -> None:
        """Name symbols that the server has."""
        known = self._of(server)
        for symbol in symbols:
            if symbol not in known.symbols and symbol not in known.unknown:
                known.symbols.appendleft(symbol)
        for dropped in known.sights.keys() - set(known.symbols):
            del known.sights[dropped]

    def looked(self, server: str, symbol: str, tick: float | None, now: float) -> None:
        """Take in the time of a symbol's latest tick, in seconds; None where it has none."""
        known = self._of(server)
        known.looked_at = now
        if tick is None:
            known.forget(symbol)
            return
        sights = continued(known.sights.get(symbol, []), Sight(tick, now))
        if not sights:
            known.put_last(symbol)
            return
        known.sights[symbol] = sights
        offset = offset_of(sights[-1]) if len(sights) >= LOOKS else None
        if offset is not None:
            known.offset, known.proved_at = offset, now
            known.sights.clear()

    def _of(self, server: str) -> _Server:
        return self._servers.setdefault(server, _Server())

    def __repr__(self) -> str:
        return f"<BrokerTime { {name: one.offset for name, one in self._servers.items()} }>"


def continued(sights: list[Sight], new: Sight) -> list[Sight]:
    """The looks at a symbol that prove something together; none where it does not tick."""
    if not sights:
        return [new]
    last = sights[-1]
    if new.tick == last.tick and new.now >= last.now:
        return sights if new.now - last.now <= LONGEST_GAP else []
    return [*sights[1 - LOOKS :], new] if follows(last, new) else [new]
