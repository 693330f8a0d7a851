"""Plays random paths and says which break a promise; with `--seed` one, made as short as it gets.

python -m tests.worker.scheduling.replay --paths 100000
python -m tests.worker.scheduling.replay --seed 1234 [--misjudged]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from tests.worker.scheduling.paths import Path, path_of
from tests.worker.scheduling.promises import PROMISES, Played

REPLAY = "python -m tests.worker.scheduling.replay --seed {seed}{misjudged}"
Promise = Callable[[Played], Iterator[str]]


def violations(
    seeds: Iterable[int], *, misjudged: bool = False, patterns: Counter[str] | None = None
) -> dict[str, list[str]]:
    """By the promise's name, what broke it and the command that plays it again."""
    found: dict[str, list[str]] = {promise.__name__: [] for promise in PROMISES}
    for seed in seeds:
        played = Played(path_of(seed, misjudged=misjudged))
        if patterns is not None:
            patterns[played.path.pattern] += 1
        for promise in PROMISES:
            broken = next(promise(played), None)
            if broken:
                found[promise.__name__].append(f"{replay_command(played.path)}\n    {broken}")
    return found


def replay_command(path: Path) -> str:
    return REPLAY.format(seed=path.seed, misjudged="" if path.is_judged_rightly else " --misjudged")


def shortened(path: Path, promise: Promise) -> Path:
    """The path without the arrivals that the violation does not need."""
    size = len(path.arrivals)
    while size:
        start = 0
        while start < len(path.arrivals):
            shorter = path.without(range(start, start + size))
            if shorter.arrivals and any(promise(Played(shorter))):
                path = shorter
            else:
                start += size
        size //= 2
    return path


def told(played: Played) -> Iterator[str]:
    """Who asked what, when it was answered, and when strict FIFO would have answered."""
    terminal, day = played.path.terminal, played.day
    answers = {one.order: one for one in day.answers}
    yield f"seed {played.path.seed}, {played.path.pattern}"
    for order, one in enumerate(played.path.arrivals, 1):
        answer = answers.get(order)
        ours = "expired" if answer is None else f"{answer.at_ms} (read at {answer.read_began_ms})"
        refused = ", refused" if one.account in terminal.refused else ""
        yield (
            f"{order:3} at {one.at_ms} {one.account} {one.operation} {one.symbol}"
            f" [login {terminal.switch_ms[one.account]}{refused},"
            f" read {terminal.answer_ms(one.operation)}, waits {one.timeout_ms},"
            f" max age {one.max_age_ms}]: {ours}; FIFO {played.fifo_ms[order]},"
            f" of the same {played.fifo_of_the_same_ms.get(order)}"
        )
    for login in day.logins:
        why = "" if login.wanted else " (followed)"
        yield f"login {login.began_ms}-{login.ended_ms} {login.left} -> {login.account}{why}"


def _replay(seed: int, *, misjudged: bool) -> Iterator[str]:
    path, is_fine = path_of(seed, misjudged=misjudged), True
    for promise in PROMISES:
        if any(promise(Played(path))):
            is_fine = False
            played = Played(shortened(path, promise))
            yield from told(played)
            yield f"broken: {promise.__name__}: {next(promise(played))}\n"
    if is_fine:
        yield from told(Played(path))
        yield "every promise holds"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--paths", type=int, default=20_000)
    parser.add_argument("--misjudged", action="store_true", help="costs are believed wrong")
    asked = parser.parse_args()
    if asked.seed is not None:
        lines = list(_replay(asked.seed, misjudged=asked.misjudged))
        sys.stdout.write("\n".join(lines) + "\n")
        return 0 if lines[-1] == "every promise holds" else 1
    found = violations(range(asked.paths), misjudged=asked.misjudged)
    for name, broken in found.items():
        sys.stdout.write("\n".join([f"{name}: {len(broken)} broken", *broken[:3]]) + "\n")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
