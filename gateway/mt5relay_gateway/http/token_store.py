"""Tokens in Redis, and what a gateway knows of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from mt5relay_gateway.backoff import pauses
from mt5relay_gateway.batch import CommandBatch, RedisInterruptedError, answered_within
from mt5relay_gateway.http.tokens import Token, recognised, token_id
from mt5relay_shared.decoding import UnreadableError, read_json
from mt5relay_shared.errors import NotFoundError, RedisUnavailableError
from mt5relay_shared.keys import FleetKeys
from mt5relay_shared.logs import get_logger

LOOK_INTERVAL = 1.0  # seconds that a revoked token may still be good for
REFRESH_LIMIT = (
    1.0  # seconds that a caller with a known token waits for the tokens to be read again
)

logger = get_logger(__name__)


class TokenStore:
    """The hash of tokens, which all terminals of a prefix share."""

    def __init__(self, batch: CommandBatch, keys: FleetKeys) -> None:
        self._batch = batch
        self._key = keys.tokens

    async def all(self) -> dict[str, Token]:
        """By id. What a version to come wrote is left out: its token is not known here."""
        found: Mapping[bytes, bytes] = await self._batch.call("HGETALL", self._key)
        tokens = (_decoded(body) for body in found.values())
        return {token.id: token for token in tokens if token is not None}

    async def add(self, token: Token) -> None:
        await self._batch.call("HSET", self._key, token.id, msgspec.json.encode(token))

    async def remove(self, id_or_name: str) -> list[Token]:
        """Revoke by id, or all of a name.

        Raises:
            NotFoundError: there is none.
        """
        known = (await self.all()).values()
        gone = [token for token in known if id_or_name in (token.id, token.name)]
        if not gone:
            raise NotFoundError(f"token: {id_or_name[:80]!r} is neither an id nor a name of one")
        await self._batch.call("HDEL", self._key, *(token.id for token in gone))
        return gone


def _decoded(body: bytes) -> Token | None:
    try:
        return read_json(body, Token)
    except UnreadableError:
        return None


class TokenTable:
    """The tokens from memory, compared with Redis once a second while requests come.

    While Redis is away the tokens that were read last stay valid: no look-up can succeed then
    anyway. A token that is not among them can only be judged by Redis, so its caller waits.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._known: Mapping[str, Token] | None = None
        self._look_at = 0.0
        self._looking: asyncio.Task[Mapping[str, Token]] | None = None

    async def recognise(self, text: str, within: float) -> Token | None:
        """Return the token that a caller presents, as it was at most a second ago.

        Args:
            text: the whole token.
            within: seconds that the caller still waits.

        Raises:
            RedisUnavailableError: the token is not known here, and Redis did not answer in time.
        """
        known, presented = self._known, token_id(text)
        if known is None or (presented and presented not in known):
            known = await self._read_until(_now() + within)
        elif _now() >= self._look_at:
            known = await self._refresh(known)
        return recognised(known, text)

    async def _read_until(self, deadline: float) -> Mapping[str, Token]:
        # The caller's deadline is the only limit: on a busy machine a healthy Redis may take
        # seconds to answer, and a caller who has the time must not be told that it is down.
        waits = pauses()
        while True:
            try:
                async with answered_within(max(0.0, deadline - _now())):
                    return await self._read()
            except RedisInterruptedError:
                pause = next(waits)
                if _now() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)

    async def _refresh(self, known: Mapping[str, Token]) -> Mapping[str, Token]:
        try:
            async with answered_within(REFRESH_LIMIT):
                return await self._read()
        except RedisUnavailableError as error:
            logger.warning("tokens.out_of_reach", error=str(error))
            self._look_at = _now() + LOOK_INTERVAL
            return known

    async def _read(self) -> Mapping[str, Token]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._store.all(), name="mt5relay-tokens")
        known = await asyncio.shield(self._looking)
        self._known, self._look_at = known, _now() + LOOK_INTERVAL
        return known

    async def aclose(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<TokenTable {'never read' if self._known is None else len(self._known)}>"


def _now() -> float:
    return asyncio.get_running_loop().time()
