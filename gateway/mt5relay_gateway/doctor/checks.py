"""The table of all checks, by their stable names, and the one way in which they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from mt5relay_gateway.doctor import server_checks as server
from mt5relay_gateway.doctor import terminal_checks as terminal
from mt5relay_gateway.doctor.facts import Facts, Terminal
from mt5relay_gateway.doctor.judging import Verdict, Verdicts, not_checked
from mt5relay_gateway.doctor.looks import NotSeenError
from mt5relay_shared.findings import Finding

OF_SERVER: Mapping[str, Callable[[Facts], Verdicts]] = {
    "redis.reached": server.reached,
    "redis.plaintext": server.plaintext,
    "redis.certificates": server.certificates,
    "redis.socket_timeout": server.socket_timeout,
    "redis.version": server.version,
    "redis.eviction": server.eviction,
    "redis.persistence": server.persistence,
    "redis.memory": server.memory,
    "redis.clients": server.clients,
    "redis.topology": server.topology,
    "redis.clock": server.clock,
    "redis.scripts": server.scripts,
    "redis.replay": server.replay,
    "redis.door": server.door,
    "redis.rights": server.rights,
}

OF_TERMINAL: Mapping[str, Callable[[Facts, Terminal], Verdicts]] = {
    "worker.alive": terminal.alive,
    "worker.lease": terminal.lease,
    "worker.heartbeat": terminal.heartbeat,
    "worker.status": terminal.status,
    "worker.version": terminal.versions,
    "worker.wire": terminal.wire,
    "worker.terminal": terminal.program,
    "queue.depth": terminal.queue,
    "queue.overdue": terminal.overdue,
    "queue.pending": terminal.pending,
    "queue.dead": terminal.dead_letters,
    "queue.commands": terminal.commands,
    "credentials.key": terminal.sealing_key,
    "credentials.envelopes": terminal.credentials,
    "credentials.missing": terminal.missing,
    "keys.snapshots": terminal.snapshots,
    "keys.timings": terminal.timings,
    "fleet.registered": terminal.registered,
}


AS_OPERATOR = (
    "The user operator of deploy/redis/users.acl may see it: set its REDIS_URL and look again."
)


def examine(facts: Facts) -> list[Finding]:
    """Run every check; each has at least one finding, in the order of the tables."""
    return [*_of_server(facts), *_of_terminals(facts)]


def _of_server(facts: Facts) -> Iterator[Finding]:
    for name, check in OF_SERVER.items():
        for verdict in _said(partial(check, facts)):
            yield _finding(name, verdict, None)


def _of_terminals(facts: Facts) -> Iterator[Finding]:
    for one in facts.terminals:
        for name, check in OF_TERMINAL.items():
            for verdict in _said(partial(check, facts, one)):
                yield _finding(name, verdict, one.terminal)


def _said(check: Callable[[], Verdicts]) -> list[Verdict]:
    found: list[Verdict] = []
    try:
        found.extend(check())
    except NotSeenError as unseen:
        reason, is_refused = unseen.unseen.reason, unseen.unseen.is_refused
        found.append(not_checked(reason, AS_OPERATOR if is_refused else ""))
    return found


def _finding(check: str, verdict: Verdict, terminal: str | None) -> Finding:
    return Finding(
        check=check,
        level=verdict.level,
        found=verdict.found,
        why=verdict.why,
        remedy=verdict.remedy,
        command=verdict.command,
        terminal=terminal,
    )
