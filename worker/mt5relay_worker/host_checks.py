"""What `mt5relay-worker check` says of this host: pure, from facts gathered elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mt5relay_shared.findings import Finding, Level

NEARLY_FULL_BYTES = 1 << 30  # of disk: a terminal's update needs some hundred megabytes


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What was seen on this host. `…_trouble` is why something can't be used, or None."""

    terminal_id: str
    is_simulated: bool
    terminal_path: str | None
    has_terminal_file: bool
    is_terminal_running: bool | None  # None where that can't be told
    package_version: str | None
    package_trouble: str | None
    key_file: str
    has_key: bool  # in the file or in MT5_PRIVATE_KEY, usable or not
    key_ids: Sequence[str]
    key_trouble: str | None
    redis_hosts: str
    redis_user: str
    redis_trouble: str | None
    eviction_policy: str | None
    lease_holder: str | None
    free_bytes: int | None  # where the private key lies
    is_windows: bool


def examine_host(facts: HostFacts) -> list[Finding]:
    """Every check, in the order in which a host is set up."""
    return [
        *_terminal(facts),
        *_package(facts),
        *_private_key(facts),
        *_redis(facts),
        *_lease(facts),
        *_disk(facts),
    ]


def _terminal(facts: HostFacts) -> Iterator[Finding]:
    say = partial(Finding, check="host.terminal")
    if facts.is_simulated:
        yield say(
            level=Level.WARNING,
            found="MT5_TERMINAL is simulated",
            why="Accounts, balances and positions are invented.",
            remedy="For a real one set MT5_TERMINAL=metatrader5 and MT5_TERMINAL_PATH.",
        )
    elif not facts.has_terminal_file:
        yield say(
            level=Level.PROBLEM,
            found=f"there is no program {facts.terminal_path}",
            why="Nothing can be attached: every request ends with MT5_INIT_FAILED.",
            remedy="Set MT5_TERMINAL_PATH to the terminal64.exe that this worker is to use.",
            command='where /r "C:\\Program Files" terminal64.exe' if facts.is_windows else "",
        )
    elif facts.is_terminal_running is False:
        yield say(
            level=Level.INFO,
            found=f"{facts.terminal_path} does not run",
            why="The worker starts it at its first attach, which takes up to a minute.",
        )
    else:
        seen = {True: "runs", None: "is there"}[facts.is_terminal_running]
        yield say(level=Level.OK, found=f"{facts.terminal_path} {seen}")


def _package(facts: HostFacts) -> Iterator[Finding]:
    say = partial(Finding, check="host.package")
    if facts.is_simulated:
        yield say(level=Level.NOT_CHECKED, found="a simulated terminal needs no package")
    elif facts.package_trouble is not None:
        yield say(
            level=Level.PROBLEM,
            found=f"the MetaTrader5 package can't be imported: {facts.package_trouble}",
            why="Only through it can the terminal be asked; it exists for Windows x64 alone.",
            command="py -m pip install --upgrade MetaTrader5",
        )
    else:
        yield say(level=Level.OK, found=f"MetaTrader5 {facts.package_version or 'unknown'}")


def _private_key(facts: HostFacts) -> Iterator[Finding]:
    say = partial(Finding, check="host.private_key")
    if facts.key_trouble is not None:
        yield say(
            level=Level.PROBLEM,
            found=facts.key_trouble,
            why="Without it no credential opens: every request ends with INVALID_STATE.",
            remedy=""
            if facts.has_key
            else "Take back the old one from its backup; where there never was one:",
            command="" if facts.has_key else f"mt5relay-worker keygen --out {facts.key_file}",
        )
        return
    current, *others = facts.key_ids
    if others:
        yield say(
            level=Level.INFO,
            found=f"{current}, and {len(others)} other: {', '.join(others)}",
            why="A change of the key is under way.",
            command="mt5relay-worker keys",
        )
    else:
        yield say(level=Level.OK, found=f"{current}; pin it: MT5_SEALING_KEY_ID={current}")


def _redis(facts: HostFacts) -> Iterator[Finding]:
    say = partial(Finding, check="host.redis")
    if facts.redis_trouble is not None:
        yield say(
            level=Level.PROBLEM,
            found=f"Redis can't be used: {facts.redis_trouble}",
            why="A worker without Redis serves nobody.",
            remedy=f"REDIS_URL names {facts.redis_hosts}, user {facts.redis_user}. Does it run, is"
            " the port open to this host, do TLS and password agree?",
            command=_reach(facts),
        )
    elif facts.eviction_policy not in (None, "noeviction"):
        yield say(
            level=Level.PROBLEM,
            found=f"maxmemory-policy is {facts.eviction_policy}",
            why="When it is full Redis drops requests, replies and credentials without a word.",
            remedy="Put `maxmemory-policy noeviction` into redis.conf and restart Redis; or, at"
            " once, as an administrator of Redis:",
            command="redis-cli CONFIG SET maxmemory-policy noeviction",
        )
    else:
        yield say(level=Level.OK, found=f"{facts.redis_hosts}, as user {facts.redis_user}")


def _reach(facts: HostFacts) -> str:
    host = facts.redis_hosts.partition(",")[0] or "127.0.0.1"
    if facts.is_windows:
        return f"Test-NetConnection {host} -Port 6379"
    return f"redis-cli -h {host} --user {facts.redis_user} --askpass PING"


def _lease(facts: HostFacts) -> Iterator[Finding]:
    say = partial(Finding, check="host.lease", terminal=facts.terminal_id)
    if facts.redis_trouble is not None:
        yield say(level=Level.NOT_CHECKED, found="Redis was not reached")
    elif facts.lease_holder is None:
        yield say(level=Level.OK, found="free: no worker serves this terminal now")
    else:
        yield say(
            level=Level.INFO,
            found=f"{facts.lease_holder} serves this terminal now",
            why="A second worker waits until it ends.",
        )


def _disk(facts: HostFacts) -> Iterator[Finding]:
    say = partial(Finding, check="host.disk")
    if facts.free_bytes is None:
        yield say(level=Level.NOT_CHECKED, found="the folder of the private key can't be seen")
    elif facts.free_bytes < NEARLY_FULL_BYTES:
        yield say(
            level=Level.WARNING,
            found=f"{facts.free_bytes >> 20} MiB are free",
            why="A full disk stops logs, the terminal's updates, and then the worker.",
            remedy="Make room: old logs and the terminal's bases and logs folders grow most.",
        )
    else:
        yield say(level=Level.OK, found=f"{facts.free_bytes >> 30} GiB free")
