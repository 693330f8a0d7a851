"""`GET /v1/events`: what happens, as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from mt5relay_gateway.batch import answered_within
from mt5relay_gateway.http.asking import check_query, whole
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.monitor import LOOK_LIMIT, lines, look_at_all
from mt5relay_gateway.http.problems import Refusal, problem_from
from mt5relay_gateway.http.visibility import shown_account, shown_text
from mt5relay_shared.decoding import UnreadableError, read_json
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.operator import Event

LOOK_INTERVAL = 0.5  # seconds between two looks at what is new
PING_INTERVAL = 15.0  # seconds of silence after which a comment shows that the link lives
RETRY_MS = 2_000  # what a browser waits before it comes again
READ_COUNT = 500
MOST_REPLAYED = 1_000
BEGINNING = "0-0"

_CURSOR = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63}):([0-9]{1,19}-[0-9]{1,19})\Z")

Entry = tuple[bytes, Mapping[bytes, bytes]]


async def events(call: Call) -> Response:
    """A stream that ends when the caller hangs up or the gateway stops.

    Its ids are where each terminal's events have been read to: `Last-Event-ID` goes on from there.
    """
    query = call.query()
    check_query(query, ("last",))
    last = whole("last", query.get("last", "0"), MOST_REPLAYED)
    if call.measures.open_streams >= call.relay.settings.http_streams:
        raise Refusal("TOO_MANY_STREAMS", "too many event streams are open", retry_after=5.0)
    feed = EventFeed(call, parse_cursors(call.headers.get("last-event-id", "")), last)
    return StreamingResponse(
        feed.run(),
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        media_type="text/event-stream",
    )


def parse_cursors(text: str) -> dict[str, str]:
    """Read an id of this stream: terminal -> entry. What is none of it is ignored."""
    found = [_CURSOR.match(part) for part in text.split(",")[:100]]
    return {match[1]: match[2] for match in found if match}


def spelled_cursors(cursors: Mapping[str, str]) -> str:
    return ",".join(f"{terminal}:{entry}" for terminal, entry in sorted(cursors.items()))


def message(event: str, data: object, event_id: str | None = None) -> bytes:
    """One server-sent event; JSON holds no line break."""
    head = f"event: {event}\n" if event_id is None else f"event: {event}\nid: {event_id}\n"
    return head.encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"


class EventFeed:
    """One caller's stream: events as they come, health and queue whenever they change."""

    def __init__(self, call: Call, cursors: dict[str, str], last: int) -> None:
        self._call = call
        self._relay = call.relay
        self._cursors = cursors
        self._resumed = set(cursors)
        self._last = last
        self._seen: dict[tuple[str, str], bytes] = {}
        self._trouble: str | None = None

    async def run(self) -> AsyncGenerator[bytes]:
        measures, clock = self._call.measures, asyncio.get_running_loop().time
        measures.stream_opened()
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            said_at = clock()
            while not self._relay.closing.is_set():
                if news := await self._news():
                    said_at = clock()
                    yield news
                elif clock() - said_at >= PING_INTERVAL:
                    said_at = clock()
                    yield b": still here\n\n"
                await self._pause()
        finally:
            measures.stream_closed()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_INTERVAL):
                await self._relay.closing.wait()

    async def _news(self) -> bytes:
        """Everything that is new, or what stands in the way, said once."""
        try:
            found = [*await self._new_events(), *await self._new_health(), *await self._new_lines()]
        except MT5Error as error:
            if self._trouble == error.code:
                return b""
            self._trouble = error.code
            self._seen.clear()  # afterwards all is told anew
            return message("problem", problem_from(error))
        self._trouble = None
        return b"".join(found)

    async def _new_events(self) -> list[bytes]:
        found: list[bytes] = []
        async with answered_within(LOOK_LIMIT):
            for terminal in await self._relay.terminals():
                found += await self._of_terminal(terminal)
        return found

    async def _of_terminal(self, terminal: str) -> list[bytes]:
        told: list[bytes] = []
        if terminal not in self._cursors:
            entries = await self._recent(terminal)
        else:
            entries = await self._range(terminal, f"({self._cursors[terminal]}", "+")
            if terminal in self._resumed and await self._has_gap(terminal):
                told.append(message("gap", {"terminal": terminal}))
            self._resumed.discard(terminal)
        for entry, fields in entries:
            self._cursors[terminal] = entry.decode()
            if (event := _decoded(fields)) is not None:
                told.append(self._told(terminal, event))
        return told

    async def _recent(self, terminal: str) -> list[Entry]:
        """The last ones that are wished for; from then on what comes."""
        key = self._relay.keys_of(terminal).events
        batch = self._relay.commands(self._relay.keys_of(terminal))
        newest: list[Entry] = await batch.call(
            "XREVRANGE", key, "+", "-", "COUNT", max(1, self._last)
        )
        self._cursors[terminal] = newest[0][0].decode() if newest else BEGINNING
        return list(reversed(newest)) if self._last else []

    async def _range(self, terminal: str, start: str, end: str) -> list[Entry]:
        keys = self._relay.keys_of(terminal)
        found: list[Entry] = await self._relay.commands(keys).call(
            "XRANGE", keys.events, start, end, "COUNT", READ_COUNT
        )
        return found

    async def _has_gap(self, terminal: str) -> bool:
        """Whether events after the cursor have been trimmed away."""
        if self._cursors[terminal] == BEGINNING:
            return False
        keys = self._relay.keys_of(terminal)
        oldest: list[Entry] = await self._relay.commands(keys).call(
            "XRANGE", keys.events, "-", "+", "COUNT", 1
        )
        return bool(oldest) and _order(oldest[0][0].decode()) > _order(self._cursors[terminal])

    def _told(self, terminal: str, event: Event) -> bytes:
        caller = self._call.caller
        shown = msgspec.structs.replace(
            event,
            detail=shown_text(event.detail, caller),
            cause=shown_text(event.cause, caller),
            message=shown_text(event.message, caller),
        )
        data: dict[str, Any] = {"terminal": terminal, **msgspec.to_builtins(shown)}
        return message(event.kind, data, spelled_cursors(self._cursors))

    async def _new_health(self) -> list[bytes]:
        found: list[bytes] = []
        for sight in await look_at_all(self._relay):
            health = sight.health
            if health is not None:
                health = msgspec.structs.replace(
                    health,
                    current_account=shown_account(health.current_account, self._call.caller),
                    busiest_account=shown_account(health.busiest_account, self._call.caller),
                    last_error_text=shown_text(health.last_error_text, self._call.caller),
                )
            data = {"terminal": sight.terminal, "now_ms": sight.now_ms, "health": health}
            if self._is_new("health", sight.terminal, health):
                found.append(message("health", data))
        return found

    async def _new_lines(self) -> list[bytes]:
        found: list[bytes] = []
        for terminal, line in (await lines(self._relay)).items():
            shown = [
                msgspec.structs.replace(
                    one, account=shown_account(one.account, self._call.caller) or ""
                )
                for one in line
            ]
            if self._is_new("queue", terminal, shown):
                found.append(message("queue", {"terminal": terminal, "line": shown}))
        return found

    def _is_new(self, kind: str, terminal: str, data: object) -> bool:
        body = msgspec.json.encode(data)
        if self._seen.get((kind, terminal)) == body:
            return False
        self._seen[kind, terminal] = body
        return True


def _decoded(fields: Mapping[bytes, bytes]) -> Event | None:
    try:
        return read_json(fields.get(b"event", b""), Event)
    except UnreadableError:  # of a version to come
        return None


def _order(entry: str) -> tuple[int, int]:
    at, _, number = entry.partition("-")
    return int(at), int(number)
