"""What goes into a bundle, still unmasked: chosen field by field, as far as the user may see it.

Never looked at: replies, what snapshots hold, envelopes' contents, tokens.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from pydantic import SecretStr

from mt5relay_gateway.doctor.checks import examine
from mt5relay_gateway.doctor.facts import Facts, Terminal
from mt5relay_gateway.doctor.looks import Look, Looks, Seen, Unseen, text, texts
from mt5relay_gateway.operating.connection import connected
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared import __version__
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import MalformedRequestError, decode_request
from mt5relay_shared.settings import variable_of
from mt5relay_shared.transport import hosts_of

EVENTS = 500  # the newest
DEAD_LETTERS = 100
SLOW_COMMANDS = 128
PACKAGES = (
    "mt5relay", "anyio", "cryptography", "cyclopts", "hiredis", "msgspec", "pydantic",
    "pydantic-settings", "redis", "rich", "stamina", "structlog", "starlette", "uvicorn", "uvloop",
    "httptools", "prometheus-client", "opentelemetry-api",
)  # fmt: skip

Members = dict[str, object]
"""File name in the bundle to what it will hold as JSON."""


def of_this_side(settings: GatewaySettings) -> Members:
    """Versions and settings; no Redis."""
    return {"versions.json": _versions(), "settings.json": _settings(settings)}


def _versions() -> dict[str, object]:
    return {
        "mt5relay": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _settings(settings: GatewaySettings) -> list[dict[str, object]]:
    """Each by its variable; secrets only as set or not. The URL without who logs in."""
    kind = type(settings)
    return [
        {
            "setting": variable_of(kind, name),
            "value": _setting(settings, name),
            "is_given": name in settings.model_fields_set,
        }
        for name in kind.model_fields
    ]


def _setting(settings: GatewaySettings, name: str) -> object:
    if name == "redis_url":
        url = settings.redis_url.get_secret_value()
        return f"{url.partition('://')[0]}://{','.join(hosts_of(url))}"
    value: object = getattr(settings, name)
    return "set" if isinstance(value, SecretStr) else value


def of_facts(facts: Facts) -> Members:
    """What the doctor found, and what he saw of each terminal."""
    members: Members = {"doctor.json": msgspec.to_builtins(examine(facts))}
    members["redis/info.json"] = _told(facts.server.info)
    members["redis/config.json"] = _told(facts.server.config)
    members["fleet.json"] = _told(facts.fleet)
    for terminal in facts.terminals:
        members |= {
            f"terminals/{terminal.terminal}/{name}": content
            for name, content in _of_terminal(terminal).items()
        }
    return members


def _of_terminal(seen: Terminal) -> Members:
    return {
        "health.json": _told(seen.health),
        "lease.json": {
            "holder": _told(seen.lease.then(_without_nonce)),
            "ttl_ms": _told(seen.lease_ttl_ms),
            "is_held": _told(seen.is_lease_held),
        },
        "streams.json": {
            "requests": _told(seen.waiting),
            "oldest": _told(seen.oldest),
            "pending": _told(seen.pending),
            "dead": _told(seen.dead),
            "commands": _told(seen.commands),
        },
        "credentials.json": {
            "sealing_key_id": _told(seen.sealing_key_id),
            "enrolled": _told(seen.enrolled),
        },
        "snapshots.json": {"ages_ms": _told(seen.snapshot_ages_ms)},
    }


def _without_nonce(lease: str | None) -> str | None:
    """Holder and fence: whoever knows the whole value could pass for the worker."""
    if lease is None:
        return None
    holder, _, rest = lease.partition(":")
    return f"{holder}, fence {rest.rpartition(':')[2]}"


def _told(look: Look[object]) -> object:
    if isinstance(look, Unseen):
        return {"not_seen": look.reason}
    return msgspec.to_builtins(look.value, builtin_types=(bytes,), enc_hook=_plain)


def _plain(value: object) -> object:
    return dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else str(value)


async def of_server(settings: GatewaySettings, facts: Facts) -> Members:
    """What the doctor does not look at; nothing where Redis was not reached."""
    if facts.server.trouble is not None:
        return {}
    redis = connected(settings, settings.keys)
    try:
        looks = Looks(redis, facts.client.user)
        slow = await looks.at("SLOWLOG", "GET", SLOW_COMMANDS)
        clients = await looks.at("CLIENT", "LIST")
        refused = await looks.at("ACL", "LOG", "100")
    finally:
        await redis.aclose()
    return {
        "redis/slowlog.json": _told(slow.then(_slow_commands)),
        "redis/clients.json": _told(clients.then(_clients)),
        "redis/acl-log.json": _told(refused.then(_refusals)),
    }


def _slow_commands(entries: Sequence[Sequence[Any]]) -> list[dict[str, object]]:
    """Which command, when, how long: its arguments are requests and replies."""
    return [
        {"command": text(words[0]), "at_s": at_s, "took_us": took_us}
        for _, at_s, took_us, words, *_ in entries
    ]


_OF_CLIENTS = ("name", "user", "age", "idle", "flags", "cmd", "tot-mem", "omem", "resp", "lib-ver")


def _clients(answer: object) -> list[dict[str, str]]:
    lines = text(answer).splitlines()
    found = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
    return [{name: one[name] for name in _OF_CLIENTS if name in one} for one in found]


_OF_REFUSALS = ("count", "reason", "context", "object", "username", "age-seconds")


def _refusals(entries: Sequence[Mapping[Any, Any]]) -> list[dict[str, str]]:
    found = [{text(name): text(value) for name, value in entry.items()} for entry in entries]
    return [{name: entry[name] for name in _OF_REFUSALS if name in entry} for entry in found]


async def of_terminal(settings: GatewaySettings, user: str, terminal: str) -> Members:
    """One terminal's line, events, dead letters, groups and histograms."""
    keys = Keys(terminal, settings.key_prefix)
    redis = connected(settings, keys)
    try:
        looks = Looks(redis, user)
        line = await looks.at("HGETALL", keys.queue)
        timings = await looks.at("HGETALL", keys.timings)
        logins = await looks.at("HGETALL", keys.logins)
        groups = await looks.at("XINFO", "GROUPS", keys.requests)
        events = await looks.at("XREVRANGE", keys.events, "+", "-", "COUNT", EVENTS)
        dead = await looks.at("XREVRANGE", keys.dead, "+", "-", "COUNT", DEAD_LETTERS)
    finally:
        await redis.aclose()
    return {
        f"terminals/{terminal}/{name}": _told(content)
        for name, content in {
            "line.json": line.then(_decoded),
            "timings.json": timings.then(_decoded),
            "logins.json": logins.then(texts),
            "groups.json": groups.then(_groups),
            "events.json": events.then(_events),
            "dead-letters.json": dead.then(_letters),
        }.items()
    }


def _decoded(fields: Mapping[bytes, bytes]) -> dict[str, object]:
    return {name: _json(body) for name, body in texts(fields).items()}


def _json(body: str) -> object:
    try:
        return cast("object", msgspec.json.decode(body))
    except msgspec.DecodeError:
        return _unreadable(body.encode())


def _unreadable(body: bytes) -> dict[str, object]:
    """To know one from the other, without what it says."""
    return {"unreadable_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()[:16]}


def _groups(entries: Sequence[Mapping[bytes, Any]]) -> list[dict[str, object]]:
    return [
        {text(name): text(one) if isinstance(one, bytes) else one for name, one in entry.items()}
        for entry in entries
    ]


def _events(entries: Sequence[Any]) -> list[object]:
    return [_json(texts(fields).get("event", "")) for _, fields in reversed(entries)]


def _letters(entries: Sequence[Any]) -> list[dict[str, object]]:
    return [_letter(text(entry_id), fields) for entry_id, fields in entries]


def _letter(entry_id: str, fields: Mapping[bytes, bytes]) -> dict[str, object]:
    """Whose and what was asked, and what came of it; of its arguments the names alone."""
    body = fields.get(b"request", b"")
    try:
        request = decode_request(body)
    except MalformedRequestError:
        asked: dict[str, object] = _unreadable(body)
    else:
        asked = {
            "id": request.id,
            "account": request.account,
            "operation": request.operation,
            "timeout_ms": request.timeout_ms,
            "arguments": sorted(request.arguments),
        }
    return {
        "entry_id": entry_id,
        "request": asked,
        "error": _json(texts(fields).get("error", "{}")),
        "deliveries": text(fields.get(b"deliveries", b"")),
    }


def accounts_in(facts: Facts) -> set[str]:
    """Every account that is known by now, so that its number is found wherever it stands."""
    found: set[str] = set()
    for terminal in facts.terminals:
        if isinstance(terminal.accounts, Seen):
            found |= set(terminal.accounts.value)
        if isinstance(terminal.health, Seen):
            named = (terminal.health.value.get(name) for name in _ACCOUNT_FIELDS)
            found |= {account for account in named if account}
        if isinstance(terminal.waiting_accounts, Seen):
            found |= set(terminal.waiting_accounts.value)
    if isinstance(facts.fleet, Seen):
        found |= set(facts.fleet.value.pins)
    return found


_ACCOUNT_FIELDS = ("current_account", "busiest_account")
