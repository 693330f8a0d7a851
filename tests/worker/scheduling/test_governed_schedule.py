"""The login governor, on random paths: its limits are kept, and nobody is forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from random import Random

import pytest
from tests.worker.scheduling.day import Day
from tests.worker.scheduling.paths import Path, path_of

from mt5relay_worker.governor import GovernorPolicy

SEEDS = range(600)
Governed = tuple[GovernorPolicy, Path, Day]


def _policy(seed: int) -> GovernorPolicy:
    random = Random(seed)
    return GovernorPolicy(
        per_minute=random.choice((0, 6, 20, 60)),
        burst=random.choice((1, 2, 5)),
        dwell_ms=random.choice((0, 0, 500, 10_000)),
    )


@pytest.fixture(scope="module")
def days() -> list[Governed]:
    paths = [(_policy(seed), path_of(seed)) for seed in SEEDS]
    return [
        (policy, path, Day(path.terminal, path.arrivals, path.costs(), policy))
        for policy, path in paths
    ]


def _too_often(policy: GovernorPolicy, began_ms: list[int]) -> bool:
    """Whether some stretch of time holds more logins than the bucket and its refill."""
    return any(
        later - earlier + 1 > policy.burst + (began_ms[later] - began_ms[earlier]) / interval_ms
        for interval_ms in [policy.interval_ms]
        for earlier in range(len(began_ms))
        for later in range(earlier + 1, len(began_ms))
    )


def test_no_server_sees_more_logins_than_its_bucket_holds(days: list[Governed]) -> None:
    def servers() -> Iterator[tuple[GovernorPolicy, list[int]]]:
        for policy, _, day in days:
            by_server: dict[str, list[int]] = defaultdict(list)
            for login in day.logins:
                by_server[login.account.server].append(login.began_ms)
            yield from ((policy, began_ms) for began_ms in by_server.values())

    assert not [
        began for policy, began in servers() if policy.per_minute and _too_often(policy, began)
    ]


def test_no_account_is_left_before_it_was_dwelt_on(days: list[Governed]) -> None:
    stays = [
        (policy.dwell_ms, second.began_ms - first.began_ms)
        for policy, _, day in days
        for first, second in zip(day.logins, day.logins[1:], strict=False)
    ]
    assert not [stay for dwell_ms, stay in stays if stay < dwell_ms]


def test_who_is_held_back_is_still_answered_or_expires_once(days: list[Governed]) -> None:
    for _, path, day in days:
        settled = sorted([one.order for one in day.answers] + day.expired)
        assert settled == list(range(1, len(path.arrivals) + 1)), path.seed
