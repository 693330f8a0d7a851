"""Looks at the keys of one terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mt5relay_gateway.doctor.facts import Enrolled, Oldest, Pending, Terminal
from mt5relay_gateway.doctor.looks import Look, Looks, Seen, Unseen, text, texts
from mt5relay_shared.envelopes import decode_sealing_key, read_envelope
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.keys import WORKER_GROUP, Keys
from mt5relay_shared.messages import MalformedRequestError, decode_request

MOST_SNAPSHOTS = 2_000  # of more accounts only so many are looked at

_NO_SUCH_GROUP = re.compile("NOGROUP|no such key", re.IGNORECASE)


async def terminal_facts(looks: Looks, keys: Keys) -> Terminal:
    """Everything there is to see of one terminal."""
    now_ms = (await looks.at("TIME")).then(_milliseconds)
    enrolled = (await looks.at("HGETALL", keys.accounts)).then(_enrolled)
    accounts: Look[Sequence[str]] = enrolled.then(_accounts)
    if isinstance(accounts, Unseen):  # a gateway may know the names alone
        accounts = (await looks.at("HKEYS", keys.accounts)).then(_names)
    return Terminal(
        terminal=keys.terminal,
        prefix=keys.prefix,
        now_ms=now_ms,
        health=(await looks.at("HGETALL", keys.health)).then(texts),
        health_ttl_ms=await looks.at("PTTL", keys.health),
        lease=(await looks.at("GET", keys.lease)).then(_text_or_none),
        lease_ttl_ms=await looks.at("PTTL", keys.lease),
        is_lease_held=(await looks.at("EXISTS", keys.lease)).then(bool),
        waiting=await looks.at("XLEN", keys.requests),
        oldest=(await looks.at("XRANGE", keys.requests, "-", "+", "COUNT", 1)).then(_oldest),
        pending=await _pending(looks, keys),
        dead=await looks.at("XLEN", keys.dead),
        commands=await looks.at("XLEN", keys.commands),
        timings_ttl_ms=await looks.at("PTTL", keys.timings),
        sealing_key_id=(await looks.at("GET", keys.sealing_key)).then(_sealing_key_id),
        accounts=accounts,
        enrolled=enrolled,
        waiting_accounts=(await looks.at("HGETALL", keys.queue)).then(_names),
        snapshot_ages_ms=await _snapshot_ages_ms(looks, keys, accounts, now_ms),
    )


def _milliseconds(answer: Sequence[Any]) -> int:
    return int(answer[0]) * 1000 + int(answer[1]) // 1000


def _text_or_none(answer: object) -> str | None:
    return None if answer is None else text(answer)


def _names(answer: Sequence[object]) -> list[str]:
    return sorted(text(name) for name in answer)


def _enrolled(answer: Mapping[bytes, bytes]) -> list[Enrolled]:
    return [_enrolment(text(account), body) for account, body in sorted(answer.items())]


def _enrolment(account: str, body: bytes) -> Enrolled:
    envelope = read_envelope(body)
    return (
        Enrolled(account, None, 0)
        if envelope is None
        else Enrolled(account, envelope.key_id, envelope.v)
    )


def _accounts(enrolled: Sequence[Enrolled]) -> list[str]:
    return [one.account for one in enrolled]


def _sealing_key_id(body: bytes | None) -> str | None:
    if body is None:
        return None
    try:
        return decode_sealing_key(body).key_id
    except MT5ValidationError as error:
        raise ValueError(str(error)) from None


def _oldest(answer: Sequence[Any]) -> Oldest | None:
    if not answer:
        return None
    entry_id, fields = answer[0]
    arrived_ms = int(text(entry_id).partition("-")[0])
    try:
        request = decode_request(cast("Mapping[bytes, bytes]", fields).get(b"request", b""))
    except MalformedRequestError:
        return Oldest(arrived_ms, None)
    return Oldest(arrived_ms, arrived_ms + request.timeout_ms)


async def _pending(looks: Looks, keys: Keys) -> Look[Pending | None]:
    answer = await looks.at("XPENDING", keys.requests, WORKER_GROUP)
    if isinstance(answer, Unseen) and _NO_SUCH_GROUP.search(answer.reason):
        return Seen(None)
    return answer.then(_summarised)


def _summarised(answer: Mapping[str, Any]) -> Pending:
    consumers = cast("Sequence[Mapping[str, Any]]", answer["consumers"])
    return Pending(
        int(answer["pending"]), {text(one["name"]): int(one["pending"]) for one in consumers}
    )


async def _snapshot_ages_ms(
    looks: Looks, keys: Keys, accounts: Look[Sequence[str]], now_ms: Look[int]
) -> Look[Mapping[str, int | None]]:
    if isinstance(accounts, Unseen):
        return accounts
    if isinstance(now_ms, Unseen):
        return now_ms
    chosen: Sequence[str] = accounts.value[:MOST_SNAPSHOTS]
    answers = await looks.at_each([("HMGET", keys.snapshot(one), "as_of") for one in chosen])
    found: dict[str, int | None] = {}
    for account, answer in zip(chosen, answers, strict=True):
        if isinstance(answer, Unseen):
            return answer
        found[account] = _age_ms(answer.value[0], now_ms.value)
    return Seen(found)


def _age_ms(as_of: bytes | None, now_ms: int) -> int | None:
    return now_ms - int(as_of) if as_of is not None and as_of.isdigit() else None
