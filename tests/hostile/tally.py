"""What a hostile run counts, and what must not have happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.hostile.truth import Flaw

SHOWN = 30  # of each kind are told in full


@dataclass
class Tally:
    """Everything that counts; `violations` is what a run must not end with."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    synchronized: Counter[str] = field(default_factory=Counter[str])
    weather: Counter[str] = field(default_factory=Counter[str])
    figures: dict[str, object] = field(default_factory=dict[str, object])
    flaws: dict[Flaw, list[str]] = field(default_factory=lambda: {flaw: [] for flaw in Flaw})
    unprovable: list[str] = field(default_factory=list[str])
    late: list[str] = field(default_factory=list[str])
    other: list[str] = field(default_factory=list[str])
    longest_wait: float = 0.0

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    def violations(self) -> list[str]:
        found = [f"{flaw.value}: {one}" for flaw, these in self.flaws.items() for one in these]
        found += [f"past its deadline: {one}" for one in self.late]
        return found + self.other

    def report(self) -> str:
        """The counts as rows of a Markdown table."""
        rows: list[tuple[str, object]] = [
            *self.figures.items(),
            ("requests", self.requests),
            *((f"outcome: {name}", count) for name, count in sorted(self.outcomes.items())),
            *(
                (f"synchronized: {name}", count)
                for name, count in sorted(self.synchronized.items())
            ),
            *((f"weather: {name}", count) for name, count in sorted(self.weather.items())),
            ("longest wait for an answer, s", f"{self.longest_wait:.2f}"),
            *((f"**{flaw.value}**", len(these)) for flaw, these in self.flaws.items()),
            ("**past its deadline**", len(self.late)),
            ("**anything else that must not be**", len(self.other)),
            ("empty, assumed, and nothing could tell", len(self.unprovable)),
        ]
        return "\n".join(f"| {name} | {value} |" for name, value in rows)
