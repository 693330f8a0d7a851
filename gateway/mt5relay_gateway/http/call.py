"""One HTTP request as a handler sees it: who asks, with what, and how long they are still there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from mt5relay_gateway.http.bodies import secret_from
from mt5relay_gateway.http.freshness import requested_patience
from mt5relay_gateway.http.metrics import Measures
from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.http.tokens import Token
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.decoding import UNREADABLE, complaint
from mt5relay_shared.errors import MT5ValidationError

MAX_BODY = 131_072  # bytes; a thousand accounts take less than half
BODY_LIMIT = 10.0  # seconds until a body must have arrived
MAX_EXACT = 2**53  # floats below it are the numbers that they are spelled as
MAX_PARAMETERS = 20
REVERSED_RANGE = "`from_ms` is after"  # what the arguments' own check says
LEAST_WAIT = 0.001  # seconds
NOTICED_AFTER = 0.1  # seconds; most answers are quicker, and watching the caller costs


class CallerGoneError(Exception):
    """Whoever asked has hung up."""


@dataclass(slots=True)
class Call:
    """What a handler is given. `headers` by lower-case name; of a repeated one, joined.

    `give_up_at`, by the event loop's clock, is when the caller stops waiting. A handler may set
    `outcome`, a word for the metrics; problems set their own.
    """

    relay: Relay
    measures: Measures
    scope: Scope
    receive: Receive
    headers: Mapping[str, str]
    caller: Token
    give_up_at: float
    traceparent: str | None = None
    outcome: str = "ok"

    @property
    def path(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.scope["path_params"]
        return found

    @property
    def wants_integers_as_text(self) -> bool:
        return requested_patience(self.headers.get("prefer")).integers_as_text

    def seconds_left(self) -> float:
        """How long the caller still waits; a little even past the deadline, for the error."""
        return max(LEAST_WAIT, self.give_up_at - asyncio.get_running_loop().time())

    async def client(self) -> AccountLookups:
        """Return the client of the gateway.

        Raises:
            RedisUnavailableError: it has not reached Redis while the caller waited.
        """
        return await self.relay.client_within(self.seconds_left())

    def query(self) -> dict[str, str]:
        """Raises:
        Refusal: it can't be read, or names a parameter twice.
        """
        raw: bytes = self.scope["query_string"]
        if not raw:
            return {}
        try:
            pairs = parse_qsl(
                raw.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_PARAMETERS,
            )
        except ValueError:
            raise Refusal("MALFORMED", "query: it can't be read") from None
        if len(pairs) != len(found := dict(pairs)):
            raise Refusal("MALFORMED", "query: a parameter stands there twice")
        return found

    def account(self) -> AccountId:
        """The account of the path, which the caller may see.

        Raises:
            MT5ValidationError: it is not LOGIN@SERVER.
            Refusal: the caller may not see it.
        """
        return self.permitted(self.path["account"])

    def permitted(self, text: str) -> AccountId:
        """As `account`, of an account from elsewhere."""
        account = AccountId.parse(text)
        if not self.caller.may_see(account):
            raise Refusal("FORBIDDEN", f"the token does not cover {account}")
        return account

    async def json(self, kind: Any) -> Any:  # noqa: ANN401 - of the type that is asked for
        """Read the body.

        Raises:
            Refusal: it is too large, too slow, not JSON, or not of that type; the field is named.
        """
        body = await self._body()
        try:
            return _decoded(body, kind)
        except UNREADABLE as error:
            if REVERSED_RANGE in str(error):  # well formed, but it makes no sense
                raise MT5ValidationError(f"body: {complaint(error)}") from None
            raise Refusal("MALFORMED", f"body: {complaint(error)}") from None

    async def _body(self) -> bytes:
        content_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise Refusal("UNSUPPORTED_MEDIA_TYPE", "content-type: it must be application/json")
        length = self.headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > MAX_BODY:
            raise _too_large()
        try:
            async with asyncio.timeout(BODY_LIMIT):
                return await self._received()
        except TimeoutError:
            raise Refusal("BODY_TIMEOUT", f"the body took longer than {BODY_LIMIT:g} s") from None

    async def _received(self) -> bytes:
        body = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise CallerGoneError
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise _too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def while_present(self) -> Presence:
        """`with` this, what is within is cancelled as soon as the caller hangs up.

        The body must have been read. Raises `CallerGoneError` then.
        """
        return Presence(self.receive)

    def location(self, path: str) -> str:
        """A path of this gateway as the caller must spell it, wherever it is mounted."""
        return f"{self.scope.get('root_path', '')}{path}"


def _decoded(body: bytes, kind: Any) -> Any:  # noqa: ANN401 - of the type that is asked for
    """For JSON 1.0 is as whole a number as 1; for msgspec it is not."""
    try:
        return msgspec.json.decode(body, type=kind, dec_hook=secret_from)
    except msgspec.ValidationError as error:
        if "Expected `int" not in str(error) or "got `float`" not in str(error):
            raise
    return msgspec.convert(_whole_numbers(msgspec.json.decode(body)), kind, dec_hook=secret_from)


def _whole_numbers(node: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        fields = cast(dict[str, Any], node)
        return {name: _whole_numbers(value) for name, value in fields.items()}
    if isinstance(node, float) and node.is_integer() and abs(node) < MAX_EXACT:
        return int(node)
    return node


class Presence:
    """Cancels the current task when the caller disconnects; begins to look a moment later."""

    __slots__ = ("_has_fired", "_receive", "_task", "_timer", "_watching")

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task = task
        self._has_fired = False
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(NOTICED_AFTER, self._begin)

    def _begin(self) -> None:
        self._watching = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_fired = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._has_fired and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            raise CallerGoneError from None


def _too_large() -> Refusal:
    return Refusal("BODY_TOO_LARGE", f"the body is larger than {MAX_BODY} bytes")


def joined_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; a list that was sent in several lines is one list."""
    found: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
