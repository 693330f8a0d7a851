"""Who may do what in Redis, as `deploy/redis/users.acl` grants it: asked of the server itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mt5relay_shared.keys import FleetKeys, Keys

Command = tuple[str, ...]

_ACCOUNT = "1@server"
REPLAYER = "default"  # in whose name Redis replays the append-only file at its start


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that a user may or may not do, and whether that is as it should be.

    `is_granted` is None where the server knows no such user.
    """

    user: str
    command: Command
    is_due: bool
    is_granted: bool | None


def rights_to_ask(keys: Keys, fleet: FleetKeys) -> list[tuple[str, Command, bool]]:
    """User, command, and whether it is due: what each needs most, and what would hurt most."""
    return [
        *((user, command, True) for user, commands in _due(keys, fleet) for command in commands),
        *((user, command, False) for user, commands in _undue(keys, fleet) for command in commands),
    ]


def _due(keys: Keys, fleet: FleetKeys) -> Iterable[tuple[str, list[Command]]]:
    needed: dict[str, list[Command]] = {
        REPLAYER: [("INCR", keys.fence), ("SET", keys.reply("1"), "{}")],
        "gateway": [
            ("HGETALL", keys.health),
            ("EVALSHA", "0" * 40, "1", keys.requests),
            ("XADD", keys.requests, "*", "request", "{}"),
            ("XREAD", "STREAMS", keys.replies("gw"), "0"),
            ("GET", keys.reply("1")),
            ("HMGET", keys.snapshot(_ACCOUNT), "data"),
            ("HSET", keys.accounts, _ACCOUNT, "{}"),
            ("HGETALL", fleet.terminals),
            ("HGETALL", fleet.tokens),
        ],
        "worker": [
            ("EVALSHA", "0" * 40, "1", keys.lease),
            ("XREADGROUP", "GROUP", "worker", "worker", "STREAMS", keys.requests, ">"),
            ("XACK", keys.requests, "worker", "1-1"),
            ("HGET", keys.accounts, _ACCOUNT),
            ("SET", keys.reply("1"), "{}"),
            ("HSET", keys.health, "status", "ok"),
            ("SET", keys.sealing_key, "{}"),
            ("XADD", keys.events, "*", "event", "{}"),
        ],
        "monitor": [("HGETALL", keys.health), ("XREVRANGE", keys.events, "+", "-")],
        "operator": [
            ("HGETALL", keys.health),
            ("HGETALL", keys.accounts),
            ("XADD", keys.commands, "*", "command", "{}"),
            ("XDEL", keys.dead, "1-1"),
            ("HSET", fleet.tokens, "id", "{}"),
            ("INFO",),
        ],
    }
    return needed.items()


def _undue(keys: Keys, fleet: FleetKeys) -> Iterable[tuple[str, list[Command]]]:
    reads_of_credentials = [("HGETALL", keys.accounts), ("HVALS", keys.accounts)]
    forgeries = [
        ("SET", keys.reply("1"), "{}"),
        ("SET", keys.lease, "x"),
        ("HSET", keys.health, "status", "ok"),
        ("HSET", keys.snapshot(_ACCOUNT), "data", "{}"),
        ("SET", keys.sealing_key, "{}"),
    ]
    ruin = [("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("ACL", "SETUSER", "gateway")]
    undue: dict[str, list[Command]] = {
        "gateway": [
            *reads_of_credentials,
            *forgeries,
            *ruin,
            ("XADD", keys.commands, "*", "a", "b"),
        ],
        "worker": [
            ("HVALS", keys.accounts),
            ("HDEL", keys.accounts, _ACCOUNT),
            ("HGETALL", fleet.tokens),
            *ruin,
        ],
        "monitor": [
            *reads_of_credentials,
            *forgeries,
            *ruin,
            ("XADD", keys.requests, "*", "request", "{}"),
            ("GET", keys.reply("1")),
        ],
        "operator": [*forgeries, *ruin],
    }
    return undue.items()
