"""What must hold on every path, whoever asks what when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import accumulate

from tests.worker.scheduling.day import Answer
from tests.worker.scheduling.paths import Path
from tests.worker.scheduling.strict_fifo import strict_fifo_logins, strict_fifo_ms

from mt5relay_worker.schedule import EPSILON_MS


class Played:
    """A path, what became of it, and what strict FIFO would have made of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.day = path.play()

    @cached_property
    def fifo_ms(self) -> dict[int, int]:
        """Of a strict FIFO that serves everybody, also who does not wait any more."""
        return strict_fifo_ms(self.path.terminal, self.path.arrivals)

    @cached_property
    def fifo_of_the_same_ms(self) -> dict[int, int]:
        """Of a strict FIFO that serves whom the schedule worked for: who left costs nothing."""
        worked_for = self.day.worked_for
        return strict_fifo_ms(
            self.path.terminal, self.path.arrivals, lambda order, _: order in worked_for
        )

    def late_ms(self, answer: Answer) -> int:
        return answer.at_ms - self.fifo_of_the_same_ms[answer.order]

    @property
    def worst_lateness_ms(self) -> int:
        return max((self.late_ms(one) for one in self.day.answers), default=0)

    @property
    def orders(self) -> range:
        return range(1, len(self.path.arrivals) + 1)

    def misjudged_ms(self, order: int) -> float:
        """How much later than in truth the worker thought that strict FIFO would answer, and by how
        much it misjudged its own visits meanwhile."""
        fifo_ms = self.fifo_of_the_same_ms.get(order, self.fifo_ms[order])
        overrated_ms = self.day.expected_fifo_ms[order] - fifo_ms
        return max(0.0, overrated_ms) + self.day.misjudged_ms[order]


def everybody_is_settled_once(played: Played) -> Iterator[str]:
    """Every request is answered or expires, exactly once, and never before it came."""
    settled = sorted([one.order for one in played.day.answers] + played.day.expired)
    if settled != list(played.orders):
        yield f"settled were {settled}"
    for answer in played.day.answers:
        arrival = played.path.arrivals[answer.order - 1]
        if not arrival.at_ms <= answer.at_ms < arrival.at_ms + arrival.timeout_ms:
            yield f"{answer} of {arrival}"


def no_answer_is_older_than_its_question(played: Played) -> Iterator[str]:
    """A shared read began after each question that it answers, or is as young as was asked for."""
    for answer in played.day.answers:
        arrival = played.path.arrivals[answer.order - 1]
        if answer.read_began_ms is not None:
            allowed_ms = min(arrival.at_ms, answer.at_ms - arrival.max_age_ms)
            if answer.read_began_ms < allowed_ms:
                yield f"{answer} of {arrival}"


def snapshots_are_never_late(played: Played) -> Iterator[str]:
    """Where all ask how an account stands, nobody is served later than under strict FIFO at all."""
    if played.path.asks_snapshots_only:
        for answer in played.day.answers:
            if played.late_ms(answer) > 0:
                yield f"{answer} is {played.late_ms(answer)} ms late"


def nobody_is_late_beyond_epsilon(played: Played) -> Iterator[str]:
    """Whatever is asked, nobody is served later than under strict FIFO and epsilon.

    Where costs are known and nobody leaves or is refused; else, later by no more than strict FIFO's
    own answers were misjudged, to this request or to one before it, and the visits since; and by
    epsilon once more, for which those in a row are read together when they are late already.
    """
    misjudged_ms = list(accumulate(map(played.misjudged_ms, played.orders), max))
    for answer in played.day.answers:
        allowed_ms = EPSILON_MS
        if not _is_predictable(played.path):
            allowed_ms += EPSILON_MS + misjudged_ms[answer.order - 1]
        if played.late_ms(answer) > allowed_ms:
            yield f"{answer} is {played.late_ms(answer)} ms late, {allowed_ms} at most allowed"


def _is_predictable(path: Path) -> bool:
    return path.is_judged_rightly and path.has_patience and not path.terminal.refused


def the_wait_is_bounded_by_distinct_accounts(played: Played) -> Iterator[str]:
    """Nobody who asks how an account stands waits longer than for what runs, and one switch and
    one full read for each distinct account ahead, however many ask."""
    if played.path.asks_snapshots_only:
        for answer in played.day.answers:
            if answer.at_ms > played.day.distinct_bound_ms[answer.order]:
                yield f"{answer}, by {played.day.distinct_bound_ms[answer.order]} was promised"


def no_more_logins_than_strict_fifo(played: Played) -> Iterator[str]:
    """Nor does it take more logins than strict FIFO, whose line nobody leaves, makes."""
    allowed = strict_fifo_logins(played.path.terminal, played.path.arrivals)
    if played.path.asks_snapshots_only and len(played.day.logins) > allowed:
        yield f"{len(played.day.logins)} logins, strict FIFO makes {allowed}"


def the_figure_in_production_is_true(played: Played) -> Iterator[str]:
    """`late_vs_fifo_ms` is the worst lateness there was, where nobody left or was refused."""
    if _is_predictable(played.path):
        shown_ms = played.day.shadow.late_ms
        if shown_ms != max(0, played.worst_lateness_ms):
            yield f"it shows {shown_ms} ms, the truth is {played.worst_lateness_ms}"


PROMISES: tuple[Callable[[Played], Iterator[str]], ...] = (
    everybody_is_settled_once,
    no_answer_is_older_than_its_question,
    snapshots_are_never_late,
    nobody_is_late_beyond_epsilon,
    the_wait_is_bounded_by_distinct_accounts,
    no_more_logins_than_strict_fifo,
    the_figure_in_production_is_true,
)
