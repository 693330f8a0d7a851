"""What the gateway holds while it runs: the client, connections for plain commands, the tokens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from mt5relay_gateway.backoff import pauses
from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.http.token_store import TokenStore, TokenTable
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_gateway.operating.connection import lookup_client
from mt5relay_gateway.registry import RegistryReader
from mt5relay_shared.errors import MT5DataError, MT5StateError, RedisUnavailableError
from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.redis_client import connect

OPEN_LIMIT = 2.0  # seconds that the start waits for Redis; afterwards it is tried in the background

logger = get_logger(__name__)


class Relay:
    """Opened by `running`. It starts without Redis too, and says so until there is one.

    A client that was given stays its owner's: it is neither opened nor closed here.
    """

    def __init__(self, settings: HttpSettings, client: AccountLookups | None) -> None:
        self.settings = settings
        self.fleet_keys = settings.fleet_keys
        self._given = client
        self._client: AccountLookups | None = None
        self._batches: dict[str, CommandBatch] = {}
        self._opening: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()  # of streams
        self._is_open = False
        self._tokens: TokenTable | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Connect, as far as it can be done at once.

        Raises:
            MT5StateError: it was opened before.
            MT5ValidationError: a setting that only now turns out to be wrong.
        """
        if self._opening is not None:
            raise MT5StateError("the gateway was opened before; make a new one")
        self._is_open = True
        self._opening = asyncio.create_task(self._open_client(), name="mt5relay-opening")
        try:
            await asyncio.wait([self._opening], timeout=OPEN_LIMIT)
            if self._opening.done():
                self._opening.result()
            yield
        finally:
            await self._aclose()

    async def _open_client(self) -> None:
        if self._given is not None:
            self._client = self._given
            return
        for pause in pauses():
            try:
                self._client = await _opened(await lookup_client(self.settings))
            except (RedisUnavailableError, MT5DataError) as error:
                logger.warning("gateway.redis_unavailable", error=str(error))
            else:
                logger.info("gateway.open", client=repr(self._client))
                return
            await asyncio.sleep(pause)

    async def _aclose(self) -> None:
        self.stop_streams()
        self._is_open = False
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._client is not None and self._client is not self._given:
            await self._client.aclose()
        self._client = None
        if self._tokens is not None:
            await self._tokens.aclose()
        for batch in self._batches.values():
            await batch.aclose()
        self._batches.clear()

    def stop_streams(self) -> None:
        """Let those who follow events go; a server that stops would wait for them."""
        self._closing.set()

    @property
    def closing(self) -> asyncio.Event:
        return self._closing

    async def client_within(self, seconds: float) -> AccountLookups:
        """Return the client as soon as it has reached Redis.

        Raises:
            RedisUnavailableError: it has not within `seconds`.
        """
        if self._client is None and self._opening is not None:
            await asyncio.wait([self._opening], timeout=seconds)
        return self.client

    @property
    def client(self) -> AccountLookups:
        """The client that look-ups go through.

        Raises:
            RedisUnavailableError: it has not reached Redis yet.
        """
        if self._client is None:
            raise RedisUnavailableError("the gateway has not reached Redis yet")
        return self._client

    @property
    def tokens(self) -> TokenTable:
        if self._tokens is None:
            self._tokens = TokenTable(TokenStore(self.commands(self.fleet_keys), self.fleet_keys))
        return self._tokens

    def commands(self, keys: Keys | FleetKeys) -> CommandBatch:
        """A connection for plain commands on these keys; its calls raise RedisUnavailableError.

        Raises:
            MT5StateError: the gateway is closed, or was never opened.
        """
        if not self._is_open:
            raise MT5StateError("the gateway is not running; see `running`")
        batch = self._batches.get(keys.tag)
        if batch is None:
            redis = connect(
                self.settings.redis_url.get_secret_value(),
                client_name="mt5relay-http",
                tag=keys.tag,
                allow_plaintext=self.settings.allow_plaintext_redis,
            )
            batch = self._batches[keys.tag] = CommandBatch(redis)
        return batch

    def keys_of(self, terminal: str) -> Keys:
        return Keys(terminal, self.settings.key_prefix)

    async def terminals(self) -> list[str]:
        """The registered ones, or the one of the settings where it is named or none is registered.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses it.
            MT5DataError: the registry can't be read.
        """
        if "terminal_id" in self.settings.model_fields_set:
            return [self.settings.terminal_id]
        reader = RegistryReader(self.commands(self.fleet_keys), self.fleet_keys)
        return sorted((await reader.read()).terminals) or [self.settings.terminal_id]

    def __repr__(self) -> str:
        state = "closed" if not self._is_open else "open" if self._client else "waiting"
        return f"<Relay {state} {self._client!r}>"


async def _opened(client: AccountLookups) -> AccountLookups:
    try:
        await client.open()
    except asyncio.CancelledError:  # the gateway stops while Redis is slow
        await client.aclose()
        raise
    return client
