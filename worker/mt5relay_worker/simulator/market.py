"""Prices that move: for every symbol a seeded walk that is a pure function of time.

The walk is a sum of noises of periods from one second to half a year, each as large as a random
walk of the symbol's volatility would move in that period. So any moment of the past can be asked
for, two terminals with one seed agree, and nothing is stored. It never closes: whoever asks stops
the time that they ask for.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from mt5relay_worker.simulator.book import Symbol
from mt5relay_worker.simulator.rows import RateRow, TickRow
from mt5relay_worker.simulator.structures import Tick
from mt5relay_worker.simulator.surface import Constants

TICK_SECONDS = 0.5
SAMPLES_A_BAR = 8
_YEAR = 365 * 86_400.0
_WEEK = 7 * 86_400
_FIRST_SUNDAY = 3 * 86_400
_NOISES = tuple((4.0**octave, math.sqrt(4.0**octave / _YEAR)) for octave in range(13))
_FAST = 3  # so many octaves change every few seconds
_MASK = (1 << 64) - 1


class Quote(NamedTuple):
    bid: float
    ask: float


class Market:
    """Prices of all symbols at any time. Times are seconds since 1970, true UTC."""

    def __init__(self, symbols: Iterable[Symbol], seed: int) -> None:
        self.symbols = {symbol.name: symbol for symbol in symbols}
        self._seeds = {name: zlib.crc32(f"{seed}/{name}".encode()) for name in self.symbols}
        self._newest: dict[str, tuple[int, Quote]] = {}  # asked for last, by symbol
        self._pairs = {
            (symbol.currency_base, symbol.currency_profit): name
            for name, symbol in self.symbols.items()
        }

    def quote(self, name: str, at: float) -> Quote:
        """Bid and ask as of the last tick not later than `at`."""
        tick = math.floor(at / TICK_SECONDS)
        known = self._newest.get(name)
        if known is None or known[0] != tick:
            known = self._newest[name] = (tick, self._quote(self.symbols[name], tick))
        return known[1]

    def _quote(self, symbol: Symbol, tick: int) -> Quote:
        at = tick * TICK_SECONDS
        drift = walk(self._seeds[symbol.name], at, symbol.volatility)
        bid = round(symbol.price * math.exp(drift), symbol.digits)
        return Quote(bid, round(bid + self.spread(symbol.name, at) * symbol.point, symbol.digits))

    def spread(self, name: str, at: float) -> int:
        """In points; it breathes by a fifth every minute."""
        usual = self.symbols[name].spread_points
        return round(usual * (1 + 0.2 * lattice(self._seeds[name] ^ 1, 0, math.floor(at / 60))))

    def rate(self, source: str, target: str, at: float) -> float:
        """How much of `target` one unit of `source` is worth, directly or through USD."""
        direct = self._direct_rate(source, target, at)
        if direct is not None:
            return direct
        to_usd = self._direct_rate(source, "USD", at)
        from_usd = self._direct_rate("USD", target, at)
        if to_usd is None or from_usd is None:
            raise LookupError(f"no symbols convert {source} to {target}")
        return to_usd * from_usd

    def _direct_rate(self, source: str, target: str, at: float) -> float | None:
        if source == target:
            return 1.0
        if (source, target) in self._pairs:
            return self.quote(self._pairs[source, target], at).bid
        if (target, source) in self._pairs:
            return 1 / self.quote(self._pairs[target, source], at).ask
        return None

    def tick(self, name: str, at: float, offset: int) -> Tick:
        """The last tick; `offset` is the server clock's lead over UTC in seconds."""
        row = self._tick_row(name, math.floor(at / TICK_SECONDS), offset)
        return Tick(**row._asdict())

    def ticks(self, name: str, since: float, until: float, offset: int) -> Iterator[TickRow]:
        """Every tick of [since, until]."""
        first, last = math.ceil(since / TICK_SECONDS), math.floor(until / TICK_SECONDS)
        return (self._tick_row(name, number, offset) for number in range(first, last + 1))

    def _tick_row(self, name: str, number: int, offset: int) -> TickRow:
        at = number * TICK_SECONDS
        bid, ask = self.quote(name, at)
        flags = Constants.TICK_FLAG_BID | Constants.TICK_FLAG_ASK
        shown_msc = round((at + offset) * 1000)
        return TickRow(shown_msc // 1000, bid, ask, 0.0, 0, shown_msc, flags, 0.0)

    def bar(self, name: str, timeframe: int, start: int, now: float, offset: int) -> RateRow:
        """The bar that opens at `start` (server clock), as far as it has got by `now`.

        High and low are those of a few samples, so a long bar may miss an extreme of a short one.
        """
        opens = start - offset
        closes = min(bar_end(timeframe, start) - offset - TICK_SECONDS, now)
        step = (closes - opens) / (SAMPLES_A_BAR - 1)
        bids = [self.quote(name, opens + step * number).bid for number in range(SAMPLES_A_BAR)]
        ticks = max(1, round((closes - opens) / TICK_SECONDS))
        spread = self.spread(name, opens)
        return RateRow(start, bids[0], max(bids), min(bids), bids[-1], ticks, spread, 0)


def bar_start(timeframe: int, moment: int) -> int:
    """When the bar that holds `moment` opened.

    >>> bar_start(Constants.TIMEFRAME_H1, 7_300)
    7200
    """
    if timeframe == Constants.TIMEFRAME_MN1:
        day = datetime.fromtimestamp(moment, UTC)
        return round(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())
    if timeframe == Constants.TIMEFRAME_W1:
        return (moment - _FIRST_SUNDAY) // _WEEK * _WEEK + _FIRST_SUNDAY
    length = _bar_seconds(timeframe)
    return moment // length * length


def bar_end(timeframe: int, start: int) -> int:
    """When the bar after the one that opened at `start` opens."""
    longest = 32 * 86_400 if timeframe == Constants.TIMEFRAME_MN1 else _WEEK
    if timeframe in (Constants.TIMEFRAME_MN1, Constants.TIMEFRAME_W1):
        return bar_start(timeframe, start + longest)
    return start + _bar_seconds(timeframe)


def bar_starts_back(timeframe: int, moment: int) -> Iterator[int]:
    """Opening times from the bar that holds `moment` backwards, to the beginning of 1971."""
    start = bar_start(timeframe, moment)
    while start >= _YEAR:
        yield start
        start = bar_start(timeframe, start - 1)


def _bar_seconds(timeframe: int) -> int:
    """The package's numbers are minutes, or 0x4000 plus hours."""
    hours = timeframe & 0x3FFF
    return hours * 3600 if timeframe & 0x4000 else timeframe * 60


def walk(seed: int, at: float, volatility: float) -> float:
    """The logarithm of price over middle price."""
    drift = 0.0
    for octave, (period, weight) in enumerate(_NOISES):
        position = at / period
        whole = math.floor(position)
        part = position - whole
        look = lattice if octave < _FAST else slow_lattice
        before, after = look(seed, octave, whole), look(seed, octave, whole + 1)
        drift += weight * ((1 - part) * before + part * after)
    return volatility * drift


def lattice(seed: int, octave: int, index: int) -> float:
    """A number in [-1, 1) that depends on nothing but the arguments (splitmix64)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + octave * 0xD1B54A32D192ED03 + index) & _MASK
    mixed = (mixed + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return (mixed ^ (mixed >> 31)) / (1 << 63) - 1


slow_lattice = lru_cache(maxsize=1 << 15)(lattice)  # of noises that are the same for minutes
