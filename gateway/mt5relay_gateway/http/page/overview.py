"""What the page shows beside the live news: how fresh each account is, and the dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from mt5relay_gateway.batch import CommandBatch, answered_within
from mt5relay_gateway.http.monitor import LOOK_LIMIT
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.http.tokens import Token
from mt5relay_gateway.http.visibility import shown_account, shown_text
from mt5relay_gateway.operating.connection import server_time_ms
from mt5relay_gateway.operating.dead_letters import DeadLetter, DeadLetters
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import MalformedRequestError, decode_request

MOST_ACCOUNTS = 2_000  # of a terminal that are looked at
MOST_SHOWN = 300
NEWEST_LETTERS = 20


class Freshness(msgspec.Struct, frozen=True):
    """When an account was last read in full, in Redis time; None: never, or too long ago."""

    account: str
    as_of_ms: int | None


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter; what can't be read of its request is None."""

    at_ms: int
    code: str
    message: str | None
    deliveries: int
    account: str | None
    operation: str | None


class TerminalOverview(msgspec.Struct, frozen=True, kw_only=True):
    """One terminal. `accounts`: the stalest of those that were looked at, of `enrolled` in all."""

    terminal: str
    now_ms: int
    enrolled: int
    accounts: Sequence[Freshness]
    dead: int
    letters: Sequence[Letter]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """`token`: the name of the caller's; `sees_all`: whether no login is masked."""

    token: str
    sees_all: bool
    terminals: Sequence[TerminalOverview]


async def overview_of(relay: Relay, caller: Token) -> Overview:
    """Every terminal, as the caller may see it.

    Raises:
        RedisUnavailableError: Redis does not answer within two seconds.
        MT5DataError: the registry of terminals can't be read.
    """
    async with answered_within(LOOK_LIMIT):
        terminals = await relay.terminals()
        found = await asyncio.gather(*(_look(relay, one) for one in terminals))
    return Overview(
        token=caller.name,
        sees_all=not caller.accounts,
        terminals=[shown_to(caller, one) for one in found],
    )


async def _look(relay: Relay, terminal: str) -> TerminalOverview:
    keys = relay.keys_of(terminal)
    redis = relay.commands(keys)
    now_ms, names, dead, letters = await asyncio.gather(
        server_time_ms(redis),
        redis.call("HKEYS", keys.accounts),
        redis.call("XLEN", keys.dead),
        DeadLetters(redis, keys).newest(NEWEST_LETTERS),
    )
    enrolled = sorted(name.decode(errors="replace") for name in names)
    found = await _freshness(redis, keys, enrolled[:MOST_ACCOUNTS])
    return TerminalOverview(
        terminal=terminal,
        now_ms=now_ms,
        enrolled=len(enrolled),
        accounts=stalest(found),
        dead=dead,
        letters=[letter_view(one) for one in letters],
    )


async def _freshness(redis: CommandBatch, keys: Keys, accounts: Sequence[str]) -> list[Freshness]:
    reads = await asyncio.gather(
        *(redis.call("HGET", keys.snapshot(account), "as_of") for account in accounts),
        return_exceptions=True,
    )
    for trouble in reads:
        # One key of another type is no snapshot; anything else is trouble with Redis itself.
        if isinstance(trouble, BaseException) and "WRONGTYPE" not in str(trouble):
            raise trouble
    return [
        Freshness(account, int(as_of) if isinstance(as_of, bytes) and as_of.isdigit() else None)
        for account, as_of in zip(accounts, reads, strict=True)
    ]


def stalest(found: Sequence[Freshness]) -> list[Freshness]:
    """The oldest reads first; those without one come last, because there may be very many."""
    ordered = sorted(found, key=lambda one: (one.as_of_ms is None, one.as_of_ms or 0))
    return ordered[:MOST_SHOWN]


def letter_view(letter: DeadLetter) -> Letter:
    try:
        request = decode_request(letter.request)
    except MalformedRequestError:
        request = None
    return Letter(
        at_ms=letter.buried_at_ms,
        code=letter.cause.code,
        message=letter.cause.message or None,
        deliveries=letter.deliveries,
        account=request.account if request else None,
        operation=request.operation if request else None,
    )


def shown_to(caller: Token, seen: TerminalOverview) -> TerminalOverview:
    """The same with the logins masked that the caller may not see."""
    if not caller.accounts:
        return seen
    return msgspec.structs.replace(
        seen,
        accounts=[
            Freshness(shown_account(one.account, caller) or "", one.as_of_ms)
            for one in seen.accounts
        ],
        letters=[
            msgspec.structs.replace(
                one,
                account=shown_account(one.account, caller),
                message=shown_text(one.message, caller),
            )
            for one in seen.letters
        ],
    )
