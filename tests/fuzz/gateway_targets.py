"""What the gateway's other readers meet: events, dead letters, the line, tokens, notes, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from random import Random
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr
from starlette.types import Message
from tests.fuzz.mutating import hostile_bytes, hostile_json, hostile_text
from tests.fuzz.target import ALICE, NOW_MS, Target, check_said
from tests.fuzz.wire_targets import REQUESTS

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.cli.output import utc_text
from mt5relay_gateway.http.bodies import BATCH_TYPE, SUBMIT_TYPE, CredentialBody
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.guard import NOBODY
from mt5relay_gateway.http.ledger import Ledger
from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.http.token_store import TokenStore
from mt5relay_gateway.http.tokens import Scope, Token, recognised
from mt5relay_gateway.http.webhooks import check_target
from mt5relay_gateway.operating.dead_letters import DeadLetter, fresh_copy
from mt5relay_gateway.operating.event_stream import EventStream
from mt5relay_gateway.operating.line import read_line, requests_in_line
from mt5relay_shared.errors import MT5DataError, MT5ValidationError
from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.operator import Event, Turn

ENTRY = b"1795000000000-0"


class Standing:
    """Answers every command with what stands there."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def call(self, command: str, *_: Any) -> Any:
        return 1_000 if command == "PTTL" else self._answer


def standing(answer: Any) -> CommandBatch:
    return cast(CommandBatch, Standing(answer))


def run(reading: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(reading)


# What Redis holds for the gateway

EVENTS = (
    msgspec.json.encode(Event(NOW_MS, "state", "CONNECTED", "ERROR", cause="x")),
    msgspec.json.encode(Event(NOW_MS, "command", id="c1", command="breaker.reset", result="ok")),
)


def check_event(body: bytes) -> None:
    """What can't be read is passed over, and the next is there."""
    entries: list[tuple[bytes, dict[bytes, bytes]]] = [
        (ENTRY, {b"event": EVENTS[0]}),
        (ENTRY, {b"event": body}),
        (ENTRY, {}),
    ]
    page = run(EventStream(standing(entries), Keys("main")).last(5))
    assert page.events[-1].kind == "state"
    for event in page.events:
        assert utc_text(event.at_ms)


LETTERS = (b'{"code":"VALIDATION_FAILED","message":"request: no"}',)


def make_letter(random: Random) -> DeadLetter:
    request = hostile_json(random, REQUESTS)
    return DeadLetter(ENTRY.decode(), request, hostile_json(random, LETTERS), 1)


def check_letter(letter: DeadLetter) -> None:
    """Why it was given up can be shown, and it is asked again only where that makes sense."""
    assert isinstance(letter.cause.message, str)
    try:
        again = fresh_copy(letter)
    except MT5ValidationError as error:
        check_said(error)
    else:
        assert again.reply_to is None
        assert again.question()


TURNS = (msgspec.json.encode(Turn(3, NOW_MS, NOW_MS + 5_000)),)


def make_line(random: Random) -> Mapping[bytes, bytes]:
    account = hostile_text(random, (str(ALICE),)).encode()
    return {account: hostile_json(random, TURNS), str(ALICE).encode(): TURNS[0]}


def check_line(fields: Mapping[bytes, bytes]) -> None:
    """Who waits, with times that can be shown, or an error."""
    try:
        line = run(read_line(standing(fields), Keys("main")))
    except MT5DataError as error:
        check_said(error, "queue of main: unreadable: ")
        return
    for one in line:
        assert utc_text(one.since_ms)
        assert utc_text(one.by_ms)


def make_entry(random: Random) -> tuple[bytes, bytes]:
    entry = random.choice((ENTRY, b"1-1", b"18446744073709551615-1", b"99999999999999-0"))
    return entry, hostile_json(random, REQUESTS)


def check_entry(entry: tuple[bytes, bytes]) -> None:
    """Whatever the id of an entry, its times can be shown."""
    for one in requests_in_line([(entry[0], {b"request": entry[1]})], []):
        assert utc_text(one.since_ms)
        assert utc_text(one.deadline_ms)


TOKENS = (
    msgspec.json.encode(Token("a" * 16, "app", "d" * 64, (Scope.READ,), NOW_MS, ("*@Demo",))),
    msgspec.json.encode(Token("b" * 16, "ops", "e" * 64, tuple(Scope), NOW_MS)),
)
PRESENTED = f"mt5relay_{'a' * 16}_{'x' * 43}"


def check_token(body: bytes) -> None:
    """Nobody is recognised by a token that was not made for them, whatever stands there."""
    known = run(TokenStore(standing({b"one": body, b"two": TOKENS[1]}), FleetKeys()).all())
    assert "b" * 16 in known
    assert recognised(known, PRESENTED) is None


NOTES = (
    b'{"account":"25115284@MetaQuotes-Demo","operation":"orders","webhook":"https://a.test/x"}',
)


def check_note(body: bytes) -> None:
    """A note of a request, or none."""
    found = run(Ledger(standing(body), FleetKeys()).find("my-1"))
    assert found is None or found.request_id == "my-1"


# HTTP

BODIES = (
    b'{"account":"25115284@MetaQuotes-Demo","operation":"positions","timeout_ms":5000}',
    b'{"account":"25115284@MetaQuotes-Demo","operation":"deals","arguments":{"from_ms":1,'
    b'"to_ms":2},"webhook":{"url":"https://allowed.test/hook"}}',
    b'{"accounts":["25115284@MetaQuotes-Demo"],"operation":"orders"}',
    b'{"password":"Planted-Fuzz-Secret"}',
)


def check_body(body: bytes) -> None:
    """A body is what was asked for, or refused in a few words that never hold the password."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    anything = cast(Any, None)
    headers = {"content-type": "application/json"}
    call = Call(anything, anything, {}, receive, headers, NOBODY, give_up_at=0.0)
    for kind in (SUBMIT_TYPE, BATCH_TYPE, CredentialBody):
        try:
            run(call.json(kind))
        except (Refusal, MT5ValidationError) as error:
            _check_refusal(error, of_credential=kind is CredentialBody)


def _check_refusal(error: Exception, *, of_credential: bool) -> None:
    check_said(error)
    assert not of_credential or "Planted-Fuzz-Secret" not in str(error)


SETTINGS = HttpSettings(
    webhook_origins="https://allowed.test,http://127.0.0.1:8081",
    webhook_secret=SecretStr("x" * 24),
)
URLS = (
    "https://allowed.test/hook?a=1",
    "http://127.0.0.1:8081/hook",
    "https://allowed.test@evil.test/",
    "https://evil.test\\@allowed.test/",
    "https://allowed.test.evil.test/",
    "https://allowed.test:444/",
    "https://allowed.test#@evil.test/",
    "https:allowed.test/",
    "//allowed.test/",
    "https://ALLOWED.test/",
    "https://allowed.test\t.evil.test/",
    "https://[::1]/",
)


def check_webhook(url: str) -> None:
    """Nothing is sent but to an origin that the operator named."""
    try:
        allowed = urlsplit(check_target(url, SETTINGS))
    except Refusal as error:
        check_said(error, "webhook: ")
        return
    assert (allowed.scheme, allowed.hostname, allowed.port) in (
        ("https", "allowed.test", None),
        ("http", "127.0.0.1", 8081),
    )
    assert allowed.username is None


def make_url(random: Random) -> str:
    url = random.choice(URLS)
    if random.randrange(4) == 0:
        return url
    return hostile_bytes(random, url.encode()).decode(errors="replace")


TARGETS = (
    Target("webhook", make_url, check_webhook),
    Target("event", lambda random: hostile_json(random, EVENTS), check_event),
    Target("dead-letter", make_letter, check_letter),
    Target("line", make_line, check_line),
    Target("entry", make_entry, check_entry),
    Target("token", lambda random: hostile_json(random, TOKENS), check_token),
    Target("note", lambda random: hostile_json(random, NOTES), check_note),
    Target("body", lambda random: hostile_json(random, BODIES), check_body),
)
