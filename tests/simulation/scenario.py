"""What one seed means: who takes part, what goes wrong, and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from tests.simulation.store import LinkFaults
from tests.simulation.terminal import GOOD_PASSWORD, SERVER, TerminalFaults

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.settings import WorkerSettings

TERMINAL_ID = "sim"
GOOD = tuple(AccountId(login, SERVER) for login in (101, 102, 103, 104))
WRONG_PASSWORD = AccountId(105, SERVER)
NOT_ENROLLED = AccountId(106, SERVER)
ENROLLED = {**dict.fromkeys(GOOD, GOOD_PASSWORD), WRONG_PASSWORD: b"wrong"}

LEASE_TTL = 2.0  # seconds
TROUBLES = (
    "kill_worker", "freeze_worker", "freeze_at_complete", "stop_worker", "kill_gateway",
    "flush_scripts", "outage", "malformed_entry", "plain_request", "command", "broker_outage",
)  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """Times are seconds of the virtual clock."""

    seed: int
    workers: int
    gateways: int
    calls: int
    length: float
    links: LinkFaults
    terminal: TerminalFaults
    troubles: tuple[tuple[float, str], ...]  # when, and what

    def luck(self, whose: str) -> random.Random:
        """Each actor draws from a source of its own, so that one's draws do not shift another's."""
        return random.Random(f"{self.seed}/{whose}")


def scenario(seed: int) -> Scenario:
    luck = random.Random(f"{seed}/scenario")
    length = luck.uniform(3.0, 7.0)
    return Scenario(
        seed=seed,
        workers=luck.choice((1, 2, 2)),
        gateways=luck.choice((2, 2, 3)),
        calls=luck.randint(15, 30),
        length=length,
        links=LinkFaults(
            cut_before=_sometimes(luck, 0.02),
            cut_after=_sometimes(luck, 0.02),
            swallowed=_sometimes(luck, 0.003),
            slow=_sometimes(luck, 0.05),
        ),
        terminal=TerminalFaults(
            dies=_sometimes(luck, 0.05),
            hangs=_sometimes(luck, 0.03),
            refuses=_sometimes(luck, 0.05),
            broker_down=_sometimes(luck, 0.05),
            wrong_identity=_sometimes(luck, 0.2),
            slow=_sometimes(luck, 0.1),
            read_fails=_sometimes(luck, 0.05),
            does_not_start=_sometimes(luck, 0.1),
            switch_ms=luck.choice((5.0, 60.0, 200.0)),
        ),
        troubles=_troubles(luck, length),
    )


def _sometimes(luck: random.Random, most: float) -> float:
    """A fault that is absent from half of the seeds: where all is broken little is tried."""
    return luck.choice((0.0, 1.0)) * luck.uniform(0, most)


def _troubles(luck: random.Random, length: float) -> tuple[tuple[float, str], ...]:
    allowed = luck.sample(TROUBLES, luck.randint(2, len(TROUBLES)))
    count = luck.randint(0, 8)
    return tuple(sorted((luck.uniform(0.2, length), luck.choice(allowed)) for _ in range(count)))


@cache
def worker_settings() -> WorkerSettings:
    """Short times, so that a seed sees many of them go by."""
    return WorkerSettings.model_validate(
        {
            "redis_url": "redis://127.0.0.1",
            "terminal_id": TERMINAL_ID,
            "terminal": "simulated",
            "lease_ttl": LEASE_TTL,
            "heartbeat_interval": 0.5,
            "shutdown_grace": 2.0,
            "connection_pool_size": 2,
            "connection_idle_timeout": 1.0,
            "connection_retry_limit": 2,
            "connection_retry_delay": 0.1,
            "connection_timeout": 1.0,
            "call_limit": 1.5,
            "start_limit": 1.5,
            "health_check_interval": 1.0,
            "breaker_pause": 0.5,
            "breaker_longest_pause": 2.0,
            "lockout_cooldown": 1.0,
            "lockout_longest_cooldown": 3.0,
        }
    )
