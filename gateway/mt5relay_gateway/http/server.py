"""The gateway as a server of its own: uvicorn, with limits that it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mt5relay_gateway.http.guard import MAX_HEADERS, MAX_PATH
from mt5relay_gateway.http.problems import MEDIA_TYPE, Refusal, problem_body
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_shared.errors import MT5StateError

HEAD_LIMIT = 10.0  # seconds until the head of a request must have arrived
MAX_HEAD = MAX_HEADERS + 2 * MAX_PATH  # bytes; what is below is refused in kind by the guard
LINGER = 1.0  # seconds in which what a refused caller still sends is thrown away
STOP_LIMIT = 10  # seconds for what is under way


def collect_less() -> None:
    """Let the garbage collector rest, in a process that is nothing but a gateway.

    What stands at the start stays; looking through it for every few hundred answers costs an eighth
    of all computing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class LimitedProtocol(HttpToolsProtocol):
    """Bounds the head of a request in size and time; httptools itself collects without end."""

    _head_bytes = 0
    _is_in_head = True
    _is_refused = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's own
        super().connection_made(transport)
        self._expect_head()

    def _expect_head(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_LIMIT, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._is_in_head and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        if self._is_in_head:
            self._head_bytes += min(len(data), self._head_part(data))
            if self._head_bytes > MAX_HEAD:
                self._refuse_head()
                return
        super().data_received(data)

    def _head_part(self, data: bytes) -> int:
        """How much of it can belong to the head; a body may follow in the same packet."""
        end = data.find(b"\r\n\r\n")
        return len(data) if end < 0 else end

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._is_in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._is_in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def _refuse_head(self) -> None:
        self._answer_and_close(
            431, problem_body(Refusal("HEADERS_TOO_LARGE", f"the head has over {MAX_HEAD} bytes"))
        )

    def send_400_response(self, msg: str) -> None:
        self._answer_and_close(400, problem_body(Refusal("MALFORMED", msg)))

    def _answer_and_close(self, status: int, body: bytes) -> None:
        phrase = {400: "Bad Request", 431: "Request Header Fields Too Large"}[status]
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        cycle = cast(RequestResponseCycle | None, self.cycle)  # none before the first request
        if cycle is not None and not cycle.response_complete:  # what was answered is cut short
            cycle.disconnected = True
            cycle.message_event.set()
        # Closed with bytes unread, the connection would be reset and the answer lost.
        self._is_refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)


class GatewayServer(uvicorn.Server):
    """Says where it listens, and lets event streams end before it waits for connections."""

    def __init__(
        self, app: Starlette, settings: HttpSettings, on_start: Callable[[str], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.http_host,
                port=settings.http_port,
                http=LimitedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=STOP_LIMIT,
            )
        )
        self._relay: Relay = app.state.relay
        self._on_start = on_start

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401 - uvicorn's own
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_start(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: Any = None) -> None:  # noqa: ANN401 - uvicorn's own
        self._relay.stop_streams()
        await super().shutdown(sockets)


class _Beside(GatewayServer):
    """One whose process has other work: signals, and when to exit, are that work's."""

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401 - uvicorn's own
        try:
            await super().startup(sockets)
        except SystemExit:  # e.g. the port is taken
            self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Starlette, settings: HttpSettings) -> AsyncGenerator[str]:
    """Serve beside other work of this event loop; yields the address.

    Raises:
        MT5StateError: it did not start; the log says why.
    """
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = _Beside(app, settings, address.set_result)
    task = asyncio.create_task(server.serve(), name="mt5relay-http")
    try:
        waited: list[asyncio.Future[Any]] = [address, task]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not address.done():
            raise MT5StateError("the HTTP server did not start; the log says why")
        yield address.result()
    finally:
        server.should_exit = True
        await task
