"""The client that backend services use, on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Unpack, cast

import msgspec
from redis.asyncio import Redis

from mt5relay_gateway.answers import (
    AccountSnapshot,
    Answer,
    account_snapshot,
    answer_from,
    collected_answer,
)
from mt5relay_gateway.batch import CommandBatch, RedisInterruptedError, answered_within
from mt5relay_gateway.composing import (
    Ask,
    AskOptions,
    check_connection,
    check_gateway_name,
    check_request_id,
    check_type,
    check_wait,
    compose,
    parsed_account,
    timeout_as_ms,
)
from mt5relay_gateway.exchange import LAST_LOOK_LIMIT, Exchange
from mt5relay_gateway.home import Home, warn_unclosed
from mt5relay_gateway.inbox import Inbox
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_gateway.snapshot_reader import SnapshotReader
from mt5relay_gateway.submitter import Submitter
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import (
    MT5DataError,
    MT5Error,
    MT5StateError,
    MT5ValidationError,
    RedisUnavailableError,
)
from mt5relay_shared.health import Health, decode_health
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import DEFAULT_TIMEOUT_MS, OkReply, decode_reply
from mt5relay_shared.operations import Operation
from mt5relay_shared.redis_client import Connect, connect
from mt5relay_shared.snapshots import fresh_reply, stale_reply

FIRST_POLL, LONGEST_POLL = 0.02, 0.25  # seconds between two looks at a submitted request's reply


class _State(Enum):
    NEW = auto()
    OPEN = auto()
    CLOSED = auto()


class AccountClient(AccountLookups):
    """Asks the worker of one terminal, over two Redis connections however much is in flight.

    Use as an async context manager, or call `open()` and `aclose()`; one client serves a whole
    process and event loop. It never re-asks by itself after an error reply.
    """

    def __init__(
        self,
        redis_url: str = "redis://127.0.0.1:6379/0",
        *,
        terminal: str = "main",
        key_prefix: str = "mt5",
        name: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_MS / 1000,
        queue_limit: int = 10_000,
        gateway_limit: int = 0,
        allow_plaintext: bool = False,
        connect: Connect = connect,
    ) -> None:
        """Prepare a client; `open()` connects.

        Args:
            redis_url: `redis://`, `rediss://` (TLS) or `unix://`.
            terminal: the id of the terminal that is asked.
            key_prefix: the first part of every key, as the worker has it.
            name: the gateway's name in Redis, unique among living clients; default: made up.
            timeout: seconds for look-ups that name none.
            queue_limit: refuse with `QueueFullError` when so many requests wait; 0: no limit. The
                places are shared: one gateway alone gets 8/9 of them, two get 8/17 each.
            gateway_limit: refuse likewise when so many wait that this gateway asked; 0: no limit
                but its share.
            allow_plaintext: whether a Redis on another machine may be reached without TLS.
            connect: makes the two Redis clients; for simulations.

        Raises:
            MT5ValidationError: naming the parameter and what it should be.
        """
        timeout_as_ms(timeout)
        check_connection("redis_url", redis_url, allow_plaintext)
        self._timeout = timeout
        self._name = check_gateway_name(name or f"gw-{new_request_id()[-12:].lower()}")
        self._keys = Keys(terminal, key_prefix)

        def connection(role: str) -> Redis:
            return connect(
                redis_url,
                client_name=f"mt5relay-{self._name}-{role}",
                tag=self._keys.tag,
                allow_plaintext=allow_plaintext,
            )

        self._batch = CommandBatch(connection("commands"))
        self._inbox = Inbox(
            connection("replies"),
            self._batch,
            self._keys,
            self._name,
        )
        self._submitter = Submitter(
            self._batch,
            self._keys,
            queue_limit=checked_limit("queue_limit", queue_limit),
            gateway_limit=checked_limit("gateway_limit", gateway_limit),
        )
        self._exchange = Exchange(self._batch, self._inbox, self._submitter, self._keys)
        self._snapshots = SnapshotReader(self._batch, self._keys)
        self._state = _State.NEW
        self._home: Home | None = None

    async def open(self) -> None:
        """Connect and start receiving replies.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses the client.
            MT5StateError: it was opened before, or no asyncio event loop runs here.
        """
        if self._state is not _State.NEW:
            raise MT5StateError("the client was opened before; make a new one")
        self._home = Home()
        self._state = _State.OPEN
        try:
            await self._inbox.open()
        except MT5Error:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Stop receiving, fail who still waits with `MT5StateError`, and disconnect."""
        if self._state is _State.CLOSED:
            return
        self._state = _State.CLOSED
        if self._home is not None:
            if not self._home.is_this_process:
                return  # the connections are the parent's
            self._home.check()
        await self._inbox.aclose()  # first: it says its last words through the batch
        await self._batch.aclose()

    async def submit(
        self,
        operation: Operation | str,
        account: AccountId | str,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[AskOptions],
    ) -> str:
        self._check_open()
        # Without `reply_to`: nobody listens for this reply, it is only kept.
        ask = compose(operation, account, arguments, default_timeout=self._timeout, **options)
        seconds = ask.request.timeout_ms / 1000
        async with answered_within(seconds):
            await self._submitter.submit(ask.request, _now() + seconds)
        return ask.request.id

    async def fetch_reply(self, request_id: str, *, wait: float = 0.0) -> Answer[Any] | None:
        self._check_open()
        check_wait(wait)
        give_up_at, pause = _now() + wait, FIRST_POLL
        key = self._keys.reply(check_request_id(request_id))
        while (body := await self._stored_reply(key, give_up_at)) is None:
            if _now() >= give_up_at:
                return None
            await asyncio.sleep(min(pause, give_up_at - _now()))
            pause = min(LONGEST_POLL, pause * 2)
        return collected_answer(decode_reply(body))

    async def _stored_reply(self, key: str, give_up_at: float) -> bytes | None:
        """None: not there, or Redis is away while there is time to wait for it."""
        try:
            async with answered_within(max(LAST_LOOK_LIMIT, give_up_at - _now())):
                return cast(bytes | None, await self._batch.call("GET", key))
        except RedisInterruptedError:
            if _now() >= give_up_at:
                raise
            return None

    async def snapshot(self, account: AccountId | str) -> AccountSnapshot | None:
        self._check_open()
        found = await self._snapshots.read(parsed_account(account))
        return None if found is None else account_snapshot(*found)

    async def health(self) -> Health | None:
        self._check_open()
        fields: Mapping[bytes, bytes] = await self._batch.call("HGETALL", self._keys.health)
        try:
            return decode_health({name.decode(): text.decode() for name, text in fields.items()})
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            raise MT5DataError(f"health of {self._keys.terminal}: unreadable: {error}") from None

    async def _ask(
        self,
        operation: Operation,
        account: AccountId | str,
        arguments: Mapping[str, Any],
        options: AskOptions,
    ) -> Answer[Any]:
        self._check_open()
        ask = compose(
            operation,
            account,
            arguments,
            default_timeout=self._timeout,
            reply_to=self._name,
            **options,
        )
        deadline = _now() + ask.request.timeout_ms / 1000
        try:
            reply = await self._fresh(ask) or await self._exchange.ask(ask.request, deadline)
            return answer_from(reply, ask.question)
        except MT5Error as error:
            if (stale := await self._stale(ask, error)) is None:
                raise
            return answer_from(stale, ask.question)

    async def _fresh(self, ask: Ask) -> OkReply | None:
        """Answer from the snapshot without the queue, where the caller's `max_age` allows it."""
        request, operation = ask.request, ask.question.operation
        if request.max_age_ms == 0 or not ask.is_in_snapshot:
            return None
        async with answered_within(request.timeout_ms / 1000):
            found = await self._snapshots.read(ask.question.account)
        return None if found is None else fresh_reply(request, operation, *found)

    async def _stale(self, ask: Ask, error: MT5Error) -> OkReply | None:
        """Answer from the snapshot instead of an error, where `stale_if_error` allows it."""
        request, operation = ask.request, ask.question.operation
        if request.stale_if_error_ms == 0 or not ask.is_in_snapshot or not _is_bridged(error):
            return None
        with contextlib.suppress(RedisUnavailableError):  # the first error says more
            async with answered_within(LAST_LOOK_LIMIT):
                found = await self._snapshots.read(ask.question.account)
            return None if found is None else stale_reply(request, operation, *found, error.code)
        return None

    def _check_open(self) -> None:
        if self._state is not _State.OPEN or self._home is None:
            raise MT5StateError("the client is not open; use `async with`, or call open() first")
        self._home.check()

    def __del__(self) -> None:
        if getattr(self, "_state", None) is _State.OPEN:
            warn_unclosed(self, "use `async with`, or await its aclose()")

    def __repr__(self) -> str:
        return f"<AccountClient {self._name} of terminal {self._keys.terminal} {self._state.name}>"


def checked_limit(parameter: str, limit: int) -> int:
    check_type(parameter, limit, int, "a whole number")
    if limit < 0:
        raise MT5ValidationError(f"{parameter}: {limit} is below 0; 0 means no limit")
    return limit


def _is_bridged(error: MT5Error) -> bool:
    return error.retryable and not isinstance(error, RedisUnavailableError)


def _now() -> float:
    return asyncio.get_running_loop().time()
