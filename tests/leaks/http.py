"""What HTTP callers are told: statuses, headers, bodies and streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.leaks.witness import WITNESS

PLACE = "told over HTTP"


def heard(app: ASGIApp) -> ASGIApp:
    """The same application; what it sends is heard."""

    async def hearing(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_hear(message: Message) -> None:
            for name, value in message.get("headers", ()):
                WITNESS.hear(PLACE, name + b": " + value)
            WITNESS.hear_more(PLACE, message.get("body", b""))
            await send(message)

        await app(scope, receive, send_and_hear)

    return hearing


class HearingClient(httpx.AsyncClient):
    """A caller of another process's gateway; what it is told is heard."""

    def __init__(self, **options: Any) -> None:
        super().__init__(transport=_HearingTransport(), **options)


class _HearingTransport(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        for name, value in response.headers.raw:
            WITNESS.hear(PLACE, name + b": " + value)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _HeardStream(response.stream)
        return response


class _HeardStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            WITNESS.hear_more(PLACE, chunk)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
