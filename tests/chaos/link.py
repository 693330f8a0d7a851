"""A TCP link that can be cut, refused and slowed down while others talk over it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl


class Link:
    """Forwards a loopback port to another."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.delay = 0.0  # seconds for each piece of data, in each direction
        self.is_refusing = False
        self._upstream_port = upstream_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        """Start listening; with `tls`, speak TLS to whoever connects."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Drop every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def close(self) -> None:
        self.is_refusing = True
        self.cut()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if not self.is_refusing:
                await self._forward(reader, writer)
        except OSError:
            pass  # the server is down
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        self._writers.add(upstream)
        ways = [
            asyncio.create_task(self._pump(reader, upstream)),
            asyncio.create_task(self._pump(back, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self._writers.discard(upstream)
            upstream.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                target.write(data)
                await target.drain()
