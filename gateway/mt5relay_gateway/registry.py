"""What a client knows of the registry of terminals, and when it looks again."""

from __future__ import annotations

import asyncio

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.errors import MT5DataError, MT5StateError, RedisUnavailableError
from mt5relay_shared.fleet import Fleet, decode_fleet, decode_version
from mt5relay_shared.keys import FleetKeys
from mt5relay_shared.logs import get_logger

LOOK_INTERVAL = 1.0  # seconds that an assignment may be out of date while somebody asks
LOOK_LIMIT = 0.25  # seconds; a slow registry must not hold up requests whose way is known
FOLLOWED_WITHIN = 2.0  # seconds until every client that asks goes by a change, with some to spare

logger = get_logger(__name__)


class RegistryReader:
    """Reads the registry as it stands."""

    def __init__(self, batch: CommandBatch, keys: FleetKeys) -> None:
        self._batch = batch
        self._keys = keys

    async def version(self) -> int:
        """Cheap: one small string.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses it.
            MT5DataError: it can't be read.
        """
        return decode_version(await self._batch.call("GET", self._keys.version))

    async def read(self) -> Fleet:
        """All of it. Raises as `version` does."""
        # The version first: what is read after it is at least as new, so no change is missed.
        return decode_fleet(
            *await asyncio.gather(
                self._batch.call("GET", self._keys.version),
                self._batch.call("HGETALL", self._keys.terminals),
                self._batch.call("HGETALL", self._keys.pins),
            )
        )


class RegistryView:
    """The registry from memory, compared with Redis once a second while somebody asks.

    What was read last holds while Redis can't be asked: the terminals may well be reachable where
    the registry, on another node of a Cluster, is not.
    """

    def __init__(self, reader: RegistryReader) -> None:
        self._reader = reader
        self._fleet: Fleet | None = None
        self._look_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._is_out_of_reach = False

    @property
    def fleet(self) -> Fleet:
        """What was read last.

        Raises:
            MT5StateError: it was never read, or the view is closed.
        """
        if self._fleet is None:
            raise MT5StateError("the client is not open; use `async with`, or call open() first")
        return self._fleet

    async def open(self) -> None:
        """Read it for the first time. Raises as `RegistryReader.read` does, and:

        Raises:
            MT5StateError: it was opened before.
        """
        if self._fleet is not None:
            raise MT5StateError("the client was opened before; make a new one")
        self._fleet = await self._reader.read()
        self._look_at = _now() + LOOK_INTERVAL

    async def aclose(self) -> None:
        self._fleet = None
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def current(self) -> Fleet:
        """As it was at most a second ago."""
        if _now() >= self._look_at:
            return await self.look_again()
        return self.fleet

    async def look_again(self) -> Fleet:
        """As it is now, or as it was read last where Redis does not say so within 0.25 seconds."""
        before = self.fleet
        self._look_at = _now() + LOOK_INTERVAL  # whoever comes meanwhile goes by what is known
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(before), name="mt5relay-registry")
        await asyncio.wait([self._looking], timeout=LOOK_LIMIT)
        return self.fleet

    async def _look(self, before: Fleet) -> None:
        try:
            if await self._reader.version() != before.version:
                self._replace(before, await self._reader.read())
        except (RedisUnavailableError, MT5DataError) as error:
            self._lost(error)
        else:
            self._is_out_of_reach = False

    def _replace(self, before: Fleet, after: Fleet) -> None:
        self._fleet = after
        logger.info("fleet.changed", version=after.version, was=before.version, active=after.active)

    def _lost(self, error: Exception) -> None:
        if not self._is_out_of_reach:
            logger.warning("fleet.registry_out_of_reach", error=str(error))
        self._is_out_of_reach = True

    def __repr__(self) -> str:
        known = "nothing read" if self._fleet is None else f"version {self._fleet.version}"
        return f"<RegistryView {known}{', out of reach' * self._is_out_of_reach}>"


def _now() -> float:
    return asyncio.get_running_loop().time()
