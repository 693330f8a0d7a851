"""The worker at the other end, as far as the version of the wire contract goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from mt5relay_gateway.batch import CommandBatch
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.keys import Keys
from mt5relay_shared.wire_versions import FIELDS, READS, speak_with

LOOK_INTERVAL = 1.0  # seconds for which what was seen is believed


class Peer:
    """Knows in which version to ask, by a look at the health hash once a second while one asks.

    Only the first look is waited for; later ones travel beside what is submitted. A worker that was
    replaced meanwhile by one that does not read that version answers so itself.
    """

    def __init__(self, batch: CommandBatch, keys: Keys, *, speaks: Collection[int] = READS) -> None:
        self._batch = batch
        self._keys = keys
        self._speaks = speaks
        self._version: int | None = None
        self._look_again_at = 0.0

    async def version(self) -> int:
        """The version in which to ask now.

        Raises:
            MT5StateError: the worker reads none that this client speaks.
            RedisUnavailableError: it can't be looked up.
        """
        if self._version is None:  # a refusal is not remembered: the worker may be upgraded next
            return self._agree(await self._look())
        if _now() >= self._look_again_at:
            self._look_again_at = _now() + LOOK_INTERVAL
            self._look().add_done_callback(self._agree_later)
        return self._version

    def _look(self) -> asyncio.Future[Sequence[bytes | None]]:
        return self._batch.begin("HMGET", self._keys.health, *FIELDS)

    def _agree(self, values: Sequence[bytes | None]) -> int:
        found = {
            name: None if value is None else value.decode("ascii", "replace")
            for name, value in zip(FIELDS, values, strict=True)
        }
        self._version = None
        self._version = speak_with(found, self._speaks)
        self._look_again_at = _now() + LOOK_INTERVAL
        return self._version

    def _agree_later(self, look: asyncio.Future[Sequence[bytes | None]]) -> None:
        if look.cancelled():
            return
        with contextlib.suppress(MT5Error):  # the next to ask looks again and is told
            self._agree(look.result())

    def __repr__(self) -> str:
        return f"<Peer of terminal {self._keys.terminal}, version {self._version}>"


def _now() -> float:
    return asyncio.get_running_loop().time()
