"""What `mt5relay-worker check` says of a host, by facts that are wrong in one point."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mt5relay_shared.findings import Level
from mt5relay_worker.host_checks import HostFacts, examine_host

KEY = "a" * 32
PATH = r"C:\MT5\main\terminal64.exe"
HEALTHY = HostFacts(
    terminal_id="main",
    is_simulated=False,
    terminal_path=PATH,
    has_terminal_file=True,
    is_terminal_running=True,
    package_version="5.0.6231",
    package_trouble=None,
    key_file="mt5relay.key",
    has_key=True,
    key_ids=[KEY],
    key_trouble=None,
    redis_hosts="10.0.0.7",
    redis_user="worker",
    redis_trouble=None,
    eviction_policy="noeviction",
    lease_holder=None,
    free_bytes=50 << 30,
    is_windows=True,
)
P, W, I, N = Level.PROBLEM, Level.WARNING, Level.INFO, Level.NOT_CHECKED  # noqa: E741

WRONG: list[tuple[str, dict[str, Any], str, Level, str]] = [
    ("simulated", {"is_simulated": True}, "host.terminal", W, "simulated"),
    ("no terminal", {"has_terminal_file": False}, "host.terminal", P, PATH),
    ("terminal down", {"is_terminal_running": False}, "host.terminal", I, "does not run"),
    ("no package", {"package_trouble": "it is not installed"}, "host.package", P, "not installed"),
    (
        "no key",
        {"key_trouble": "private key: no file", "has_key": False, "key_ids": []},
        "host.private_key",
        P,
        "no file",
    ),
    (
        "open key",
        {"key_trouble": "private key: others may read it", "key_ids": []},
        "host.private_key",
        P,
        "others may read",
    ),
    ("two keys", {"key_ids": [KEY, "b" * 32]}, "host.private_key", I, "b" * 32),
    ("Redis away", {"redis_trouble": "refused"}, "host.redis", P, "refused"),
    ("lease unseen", {"redis_trouble": "refused"}, "host.lease", N, "not reached"),
    ("evicts", {"eviction_policy": "allkeys-lru"}, "host.redis", P, "allkeys-lru"),
    ("served", {"lease_holder": "host-2"}, "host.lease", I, "host-2"),
    ("full disk", {"free_bytes": 200 << 20}, "host.disk", W, "200 MiB"),
    ("no folder", {"free_bytes": None}, "host.disk", N, "can't be seen"),
]


def test_where_all_is_well_every_check_says_so() -> None:
    found = examine_host(HEALTHY)
    assert {finding.level for finding in found} == {Level.OK}
    assert len({finding.check for finding in found}) == 6


@pytest.mark.parametrize(
    ("changed", "check", "level", "words"),
    [one[1:] for one in WRONG],
    ids=[one[0] for one in WRONG],
)
def test_what_is_wrong_is_found_with_what_mends_it(
    changed: dict[str, Any], check: str, level: Level, words: str
) -> None:
    (finding,) = [one for one in examine_host(replace(HEALTHY, **changed)) if one.check == check]
    assert (finding.level, words in finding.found) == (level, True)
    if level in (P, W):
        assert finding.why


def test_a_key_that_others_may_read_is_not_to_be_made_anew() -> None:
    facts = replace(HEALTHY, key_trouble="private key: others may read it", key_ids=[])
    assert "keygen" not in " ".join(one.command for one in examine_host(facts))


def test_commands_are_those_of_the_hosts_system() -> None:
    away = replace(HEALTHY, redis_trouble="refused")
    assert "Test-NetConnection 10.0.0.7" in " ".join(one.command for one in examine_host(away))
    posix = replace(away, is_windows=False)
    assert "redis-cli -h 10.0.0.7" in " ".join(one.command for one in examine_host(posix))
