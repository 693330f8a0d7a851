"""Pure checks of this side and of the server. Each takes facts and returns what it has to say.

A part of the facts that was not seen ends a check with `NotSeenError`; whoever runs it says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mt5relay_gateway.doctor.facts import Client, Facts, Server
from mt5relay_gateway.doctor.judging import (
    Verdict,
    Verdicts,
    info,
    not_checked,
    ok,
    problem,
    span,
    warning,
)
from mt5relay_gateway.doctor.looks import Seen, Unseen
from mt5relay_gateway.doctor.rights import REPLAYER, Right
from mt5relay_shared.transport import is_loopback

OLDEST_SERVER = {"redis": (7, 0), "valkey": (7, 2)}
CLOCK_TOLERANCE = 2.0  # seconds
_LOAD = "redis-cli --user operator --askpass ACL LOAD"
NEARLY_FULL = 0.8  # of what there may be
CERTIFICATE_NOTICE = 14 * 86_400.0  # seconds

AS_ADMINISTRATOR = (
    "Put it into redis.conf and restart Redis; or, at once, as an administrator of Redis, which"
    " the user operator is not:"
)


def reached(facts: Facts) -> Verdicts:
    trouble = facts.server.trouble
    if trouble is None:
        return [ok(f"{facts.server.address} in {facts.server.round_trip * 1000:.1f} ms")]
    client = facts.client
    return [
        problem(
            f"Redis can't be used: {trouble}",
            "Without Redis nothing can be asked, and workers end when it is away for longer than"
            " their lease.",
            f"REDIS_URL says {client.kind}, {', '.join(client.hosts) or 'a socket'}, user"
            f" {client.user}. Does it run, and do address, TLS and password agree?",
            _reaching(client),
        )
    ]


def _reaching(client: Client) -> str:
    secure = " --tls" if client.is_encrypted else ""
    ask = f"redis-cli -h {client.hosts[0] if client.hosts else '127.0.0.1'}{secure}"
    if client.kind == "sentinel":
        return f"{ask} -p 26379 SENTINEL MASTERS"
    return f"systemctl status mt5relay-redis\n{ask} --user {client.user} --askpass PING"


def plaintext(facts: Facts) -> Verdicts:
    client = facts.client
    away = [host for host in client.hosts if not is_loopback(host)]
    if client.is_encrypted:
        return [ok("TLS")]
    if not away:
        return [ok("this host alone")]
    return [
        warning(
            f"without TLS to {', '.join(away)}",
            "Redis passwords and account data cross the network in the clear; whoever reads the"
            " password may do what its user may.",
            "Start Redis with deploy/redis/tls.conf and write rediss:// where REDIS_URL says"
            " redis://; deploy/README.md tells how certificates are made.",
        )
    ]


def certificates(facts: Facts) -> Verdicts:
    if not facts.client.is_encrypted:
        return [ok("no TLS, no certificate")]
    found = [
        *_expiry("the client's", facts.client.certificate_ends_in),
        *_expiry("the server's", facts.server.certificate_ends_in),
    ]
    return found or [ok("none is asked for")]


def _expiry(whose: str, ends_in: Seen[float | None] | Unseen) -> Verdicts:
    if isinstance(ends_in, Unseen):
        return [not_checked(ends_in.reason)]
    seconds = ends_in.value
    if seconds is None:
        return []
    if seconds > CERTIFICATE_NOTICE:
        return [ok(f"{whose} is good for {span(seconds)}")]
    why = "When it has ended nobody connects any more: no request is answered."
    remedy = "Make a new one as deploy/README.md tells, put it in the old one's place, restart."
    if seconds > 0:
        return [warning(f"{whose} certificate ends in {span(seconds)}", why, remedy)]
    return [problem(f"{whose} certificate ended {span(-seconds)} ago", why, remedy)]


def socket_timeout(facts: Facts) -> Verdicts:
    timeout, block = facts.client.socket_timeout, facts.client.longest_block
    if timeout is None:
        return [
            warning(
                "no socket timeout",
                "A connection that died without a word is waited for as long as the system likes.",
                "Take socket_timeout out of REDIS_URL: then it is 5 s.",
            )
        ]
    if timeout > block:
        return [ok(f"{timeout:g} s, above the longest BLOCK of {block:g} s")]
    return [
        problem(
            f"the socket times out after {timeout:g} s, and BLOCK waits {block:g} s",
            "Every blocking read fails before the server answers: replies come late or never.",
            f"Take socket_timeout={timeout:g} out of REDIS_URL, or set it well above {block:g}.",
        )
    ]


def version(facts: Facts) -> Verdicts:
    name, number = server_version(facts.server.info.value)
    oldest = OLDEST_SERVER[name]
    if number >= oldest:
        return [ok(f"{name} {'.'.join(map(str, number))}")]
    return [
        problem(
            f"{name} {'.'.join(map(str, number))} is older than {'.'.join(map(str, oldest))}",
            "Scripts, ACL selectors and stream commands that are used here do not exist there.",
            "Upgrade the server; its append-only file is read by the new one.",
            "redis-server --version",
        )
    ]


def server_version(known: Mapping[str, object]) -> tuple[str, tuple[int, ...]]:
    """Which of the two it is, and its version; Valkey also claims to be a Redis 7.2.4."""
    name = "valkey" if "valkey_version" in known else "redis"
    digits = re.findall(r"\d+", str(known.get(f"{name}_version", "0")))
    return name, tuple(int(one) for one in digits[:3])


def eviction(facts: Facts) -> Verdicts:
    policy = str(facts.server.info.value.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return [ok(policy)]
    return [
        problem(
            f"maxmemory-policy is {policy}",
            "A server that is full drops keys of its choice without a word: waiting requests,"
            " replies, credentials.",
            AS_ADMINISTRATOR,
            admin_cli(facts.server, "CONFIG SET maxmemory-policy noeviction"),
        )
    ]


def admin_cli(server: Server, command: str) -> str:
    """A redis-cli line for the server that was looked at."""
    host, _, port = server.address.rpartition(":")
    secure = "" if server.certificate_ends_in == Seen(None) else " --tls"
    where = f" -h {host} -p {port}" if host else ""
    return f"redis-cli{where}{secure} {command}"


def persistence(facts: Facts) -> Verdicts:
    known = facts.server.info.value
    if not _number(known, "aof_enabled"):
        return [
            problem(
                "the append-only file is off",
                "When Redis is restarted all waiting requests, enrolled credentials, tokens and"
                " registered terminals are gone.",
                AS_ADMINISTRATOR,
                admin_cli(facts.server, "CONFIG SET appendonly yes"),
            )
        ]
    return [*_failed_writes(facts.server, known), *_fsync(facts.server)] or [ok("appendonly yes")]


def _failed_writes(server: Server, known: Mapping[str, object]) -> Verdicts:
    for field in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if known.get(field, "ok") != "ok":
            yield problem(
                f"{field} is {known[field]}",
                "Redis could not write its file: it may refuse writes, and what it accepted may be"
                " gone after a restart.",
                "Look for room and permissions in its folder, and at its log; then:",
                f"df -h\n{admin_cli(server, 'BGREWRITEAOF')}",
            )


def _fsync(server: Server) -> Verdicts:
    if isinstance(server.config, Unseen):
        yield info(f"on; appendfsync was not seen: {server.config.reason}")
    elif server.config.value.get("appendfsync") == "no":
        yield warning(
            "appendfsync is no",
            "When the host dies, half a minute of accepted requests may be gone.",
            AS_ADMINISTRATOR,
            admin_cli(server, "CONFIG SET appendfsync everysec"),
        )
    elif "appendfsync" in server.config.value:
        yield ok(f"appendonly yes, appendfsync {server.config.value['appendfsync']}")


def memory(facts: Facts) -> Verdicts:
    known = facts.server.info.value
    used, limit = _number(known, "used_memory"), _number(known, "maxmemory")
    if _number(known, "evicted_keys"):
        yield problem(
            f"{_number(known, 'evicted_keys')} keys were evicted since the server's start",
            "Requests, replies or credentials may be among them.",
            "Set maxmemory-policy to noeviction, then enrol what is missing:",
            "mt5relay accounts list",
        )
    if not limit:
        yield warning(
            f"{_mebibytes(used)} used, and no maxmemory",
            "Redis grows until the system ends it, which takes everything with it.",
            AS_ADMINISTRATOR,
            admin_cli(facts.server, "CONFIG SET maxmemory 512mb"),
        )
    elif used >= NEARLY_FULL * limit:
        yield problem(
            f"{_mebibytes(used)} of {_mebibytes(limit)} are used",
            "When it is full Redis refuses writes: nothing is accepted, no heartbeat, no reply.",
            "Find out what grew, then allow more:",
            "mt5relay queue --limit 20\n"
            + admin_cli(facts.server, f"CONFIG SET maxmemory {2 * limit // 2**20}mb"),
        )
    else:
        yield ok(f"{_mebibytes(used)} of {_mebibytes(limit)}")


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def _number(known: Mapping[str, object], field: str) -> int:
    value = known.get(field, 0)
    return int(value) if isinstance(value, int | float) else 0


def clients(facts: Facts) -> Verdicts:
    known = facts.server.info.value
    connected, most = _number(known, "connected_clients"), _number(known, "maxclients")
    refused = _number(known, "rejected_connections")
    if most and connected >= NEARLY_FULL * most:
        yield problem(
            f"{connected} of {most} connections are taken",
            "When all are, Redis refuses workers and gateways that reconnect.",
            AS_ADMINISTRATOR,
            admin_cli(facts.server, f"CONFIG SET maxclients {2 * most}"),
        )
    elif refused:
        yield info(f"{connected} of {most}; {refused} were refused since the server's start")
    else:
        yield ok(f"{connected} of {most}")


def topology(facts: Facts) -> Verdicts:
    known = facts.server.info.value
    state = facts.server.cluster.value.get("cluster_state", "ok")
    if state != "ok":
        yield problem(
            f"cluster_state is {state}",
            "Keys of some terminals can't be reached.",
            "",
            admin_cli(facts.server, "CLUSTER NODES"),
        )
    if known.get("role") != "master":
        yield problem(
            f"{facts.server.address} is a {known.get('role')} of"
            f" {known.get('master_host')}:{known.get('master_port')}",
            "A replica accepts no request: everything written to it is refused.",
            "Let REDIS_URL name the master, or the sentinels:"
            " redis+sentinel://HOST:26379,HOST:26379/SERVICE.",
        )
        return
    replicas = [str(value) for name, value in known.items() if re.fullmatch(r"slave\d+", name)]
    idle = [one for one in replicas if "online" not in one]
    if idle:
        yield warning(
            f"{len(idle)} of {len(replicas)} replicas are not online",
            "A failover to one of them would lose what it has not got.",
            "",
            admin_cli(facts.server, "INFO replication"),
        )
    elif facts.client.kind == "sentinel" and not replicas:
        yield warning(
            "Sentinel, and the master has no replica",
            "When the master dies there is nothing to fail over to.",
            "Start one with `replicaof`, masteruser and masterauth; then look:",
            admin_cli(facts.server, "INFO replication"),
        )
    elif state == "ok":
        yield ok(f"{facts.client.kind}, master, replicas: {len(replicas)}")


def clock(facts: Facts) -> Verdicts:
    ahead = facts.server.clock_ahead.value
    doubt = facts.server.round_trip / 2
    if abs(ahead) <= CLOCK_TOLERANCE + doubt:
        return [ok(f"this host's clock and Redis' differ by {abs(ahead):.1f} s")]
    which = "ahead of" if ahead > 0 else "behind"
    return [
        warning(
            f"Redis' clock is {span(abs(ahead))} {which} this host's",
            "Deadlines follow Redis' clock, so no request suffers; but logs can't be compared,"
            " certificates may be refused, and enrolled credentials carry Redis' time.",
            "Let both hosts follow a time server:",
            "timedatectl set-ntp true",
        )
    ]


def scripts(facts: Facts) -> Verdicts:
    known = facts.server.scripts.value
    missing = [name for name, is_known in known.items() if not is_known]
    if not missing:
        return [ok(f"{len(known)} loaded")]
    return [
        info(
            f"{len(missing)} of {len(known)} are not in the server's cache: {', '.join(missing)}",
            "No harm: whoever needs one first sends its source. After a restart this is as it"
            " should be.",
        )
    ]


def rights(facts: Facts) -> Verdicts:
    asked = [one for one in facts.server.rights.value if one.user != REPLAYER]
    known = {one.user for one in asked if one.is_granted is not None}
    if not known:
        return [_one_user_for_all(facts)]
    said = [*_wrong_rights(asked, known)]
    return said or [ok(f"as they should be for {', '.join(sorted(known))}")]


def replay(facts: Facts) -> Verdicts:
    """Whether what scripts wrote survives a restart."""
    if not _number(facts.server.info.value, "aof_enabled"):
        return [not_checked("the append-only file is off")]
    asked: Sequence[Right] = facts.server.rights.value
    lacking = [_short(one) for one in asked if one.user == REPLAYER and not one.is_granted]
    if not lacking:
        return [ok("the append-only file can be replayed")]
    return [
        problem(
            f"user {REPLAYER} may not {', '.join(lacking)}",
            "Redis replays the append-only file in its name, and throws away what it may not do:"
            " after a restart requests, replies and the fence are gone.",
            "Make `user default off sanitize-payload resetchannels ~* +@all` the first line of the"
            " ACL file: off, nobody can log in as default. Then:",
            _LOAD,
        )
    ]


def door(facts: Facts) -> Verdicts:
    """Whether somebody gets in without a password."""
    client = facts.client
    if not facts.server.is_open.value:
        return [ok("nobody gets in without a password")]
    found = "whoever reaches Redis gets in without a password"
    why = "They can read sealed credentials, forge answers and delete everything."
    remedy = (
        "Turn the user default off and give each side its own, as deploy/redis/README.md tells:"
    )
    if all(is_loopback(host) for host in client.hosts):
        return [info(f"{found}, on this host alone", why, remedy, _MAKE_USERS)]
    return [problem(found, why, remedy, _MAKE_USERS)]


_MAKE_USERS = (
    "python3 deploy/redis/passwords.py /etc/mt5relay/redis/users.acl --out /etc/mt5relay/secrets"
)


def _one_user_for_all(facts: Facts) -> Verdict:
    found = "one user for all: whoever may log in may do everything"
    why = "A leaked gateway password then also reads sealed credentials and forges replies."
    remedy = "Give each side a user of its own, as deploy/redis/README.md tells:"
    if all(is_loopback(host) for host in facts.client.hosts):
        return info(found, why, remedy, _MAKE_USERS)
    return warning(found, why, remedy, _MAKE_USERS)


def _wrong_rights(rights: Sequence[Right], known: set[str]) -> Verdicts:
    mend = "Take that user's line from deploy/redis/users.acl, keep its password's hash, then:"
    command = _LOAD
    for user in sorted({one.user for one in rights}):
        of_user = [one for one in rights if one.user == user]
        lacking = [_short(one) for one in of_user if one.is_due and one.is_granted is False]
        excess = [_short(one) for one in of_user if not one.is_due and one.is_granted]
        if lacking:
            yield problem(
                f"user {user} may not {', '.join(lacking)}",
                "It needs to: requests, replies or health stay away.",
                mend,
                command,
            )
        if excess:
            yield warning(
                f"user {user} may {', '.join(excess)}",
                "Whoever has its password can read credentials, forge answers or stop the relay.",
                mend,
                command,
            )
    missing = sorted({one.user for one in rights} - known)
    if missing and known:
        yield info(f"no user named {', '.join(missing)}; known: {', '.join(sorted(known))}")


def _short(right: Right) -> str:
    key = next((word for word in right.command if "{" in word and "}:" in word), "")
    name = key.partition("}:")[2].partition(":")[0]
    two = right.command[0] in ("CONFIG", "ACL")
    return " ".join(filter(None, (*right.command[: 2 if two else 1], name)))
