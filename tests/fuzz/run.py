"""Fuzz for as long as there is time; a finding is shown with the seed that makes it again.

    python -m tests.fuzz.run --minutes 10 --seed 1
    python -m tests.fuzz.run --target reply --seed 1234 --times 1

Every target has its turn in each round. The exit status is 1 where something was found.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from tests.fuzz import gateway_targets, store_targets, terminal_targets, wire_targets
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (
    *wire_targets.TARGETS,
    *store_targets.TARGETS,
    *gateway_targets.TARGETS,
    *store_targets.SEALING_TARGETS,
    *terminal_targets.TARGETS,
)
TURN = 2.0  # seconds
MOST_SHOWN = 5  # findings of one target


@dataclass
class Tally:
    """What was done for one target."""

    target: Target
    executions: int = 0
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list[str])

    def play(self, seed: int) -> None:
        began = time.perf_counter()
        try:
            self.target.play(seed)
        except Exception:  # noqa: BLE001, RUF100 - whatever it is, it is a finding
            self.findings.append(traceback.format_exc())
            if len(self.findings) <= MOST_SHOWN:
                say(f"FOUND {self.target.name} --seed {seed}\n{self.findings[-1]}")
        self.executions += 1
        self.slowest = max(self.slowest, time.perf_counter() - began)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fuzz(targets: Sequence[Target], seed: int, seconds: float, times: int | None) -> list[Tally]:
    tallies = [Tally(target) for target in targets]
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        for tally in tallies:
            turn_ends = min(give_up, time.monotonic() + TURN)
            while time.monotonic() < turn_ends and tally.executions != times:
                tally.play(seed + tally.executions)
        if times is not None and all(tally.executions == times for tally in tallies):
            break
    return tallies


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, help="inputs for each target, instead of minutes")
    parser.add_argument("--target", choices=[one.name for one in TARGETS], action="append")
    given = parser.parse_args(words)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # errors only
    chosen = [one for one in TARGETS if given.target is None or one.name in given.target]
    seconds = 1e9 if given.times is not None else given.minutes * 60
    tallies = fuzz(chosen, given.seed, seconds, given.times)
    for tally in tallies:
        say(
            f"{tally.target.name:14} {tally.executions:>10} executions,"
            f" slowest {tally.slowest * 1000:.0f} ms, {len(tally.findings)} findings"
        )
    say(f"{sum(tally.executions for tally in tallies)} executions from seed {given.seed} on")
    return 1 if any(tally.findings for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
