"""Signed webhooks: the answer to a submitted request is sent to where its caller wants it.

Signed as standardwebhooks.com describes: `webhook-signature` is `v1,` and the base64 of the
HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>`. At least once: the receiver tells repeats
by `webhook-id`, which is the request's id.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.client
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from mt5relay_gateway.answers import Answer
from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.http.bodies import answer_json
from mt5relay_gateway.http.ledger import Ledger, SubmittedRequest
from mt5relay_gateway.http.problems import Problem, Refusal, problem_from
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.operating.connection import server_time_ms
from mt5relay_shared.decoding import UnreadableError, read_json
from mt5relay_shared.errors import (
    DeadlineExceededError,
    MT5Error,
    MT5StateError,
    RedisUnavailableError,
)
from mt5relay_shared.keys import FleetKeys
from mt5relay_shared.logs import get_logger

LOOK_INTERVAL = 1.0  # seconds between two looks at what is due
ROUND = 50  # webhooks looked at together
SENDERS = 8  # sent at once
SEND_LIMIT = 10.0  # seconds
CLAIM_MS = 60_000  # one gateway's time for one attempt; then another may try
PAUSES_MS = (1_000, 5_000, 25_000, 120_000, 600_000)  # before another attempt
KEPT_MS = 3_600_000  # for an answer that could not be delivered yet

logger = get_logger(__name__)


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a webhook: `answer` or `problem`."""

    request_id: str
    account: str
    operation: str
    status: str
    answer: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    problem: Problem | msgspec.UnsetType = msgspec.UNSET


class _Undelivered(msgspec.Struct, frozen=True):
    """What waits for another attempt."""

    url: str
    body: str
    attempts: int


def check_target(url: str, settings: HttpSettings) -> str:
    """Raises:
    Refusal: it is no URL, or none that the operator allows: it would be called from within.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        raise Refusal("FORBIDDEN", "webhook: it is not a URL") from None
    is_plain = url.isascii() and url.isprintable() and " " not in url
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    if not is_plain or origin not in settings.webhook_targets:
        raise Refusal("FORBIDDEN", "webhook: MT5_WEBHOOK_ORIGINS does not name its origin")
    return url


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def delivery_of(request: SubmittedRequest, outcome: Answer[object] | MT5Error) -> bytes:
    is_ok = isinstance(outcome, Answer)
    return msgspec.json.encode(
        Delivery(
            request_id=request.request_id,
            account=request.account,
            operation=request.operation,
            status="ok" if is_ok else "error",
            answer=(
                msgspec.Raw(answer_json(outcome, msgspec.json.encode(outcome.data)))
                if isinstance(outcome, Answer)
                else msgspec.UNSET
            ),
            problem=problem_from(outcome) if isinstance(outcome, MT5Error) else msgspec.UNSET,
        )
    )


@dataclass(frozen=True)
class Agenda:
    """Webhooks to come, in the order in which they are due; all gateways share it."""

    batch: CommandBatch
    keys: FleetKeys

    async def add(self, request_id: str, delay_ms: int = 0) -> None:
        due = await server_time_ms(self.batch) + delay_ms
        await self.batch.call("ZADD", self.keys.webhooks, due, request_id)

    async def due(self) -> list[str]:
        now = await server_time_ms(self.batch)
        found: list[bytes] = await self.batch.call(
            "ZRANGEBYSCORE", self.keys.webhooks, "-inf", now, "LIMIT", 0, ROUND
        )
        return [one.decode(errors="replace") for one in found]

    async def claim(self, request_id: str) -> bool:
        key = self.keys.webhook_claim(request_id)
        return bool(await self.batch.call("SET", key, "1", "NX", "PX", CLAIM_MS))

    async def release(self, request_id: str) -> None:
        await self.batch.call("DEL", self.keys.webhook_claim(request_id))

    async def strike(self, request_id: str) -> None:
        await self.batch.call("ZREM", self.keys.webhooks, request_id)
        await self.batch.call("DEL", self.keys.undelivered(request_id))

    async def undelivered(self, request_id: str) -> _Undelivered | None:
        body = await self.batch.call("GET", self.keys.undelivered(request_id))
        try:
            return None if body is None else read_json(body, _Undelivered)
        except UnreadableError:  # somebody else's; it is made anew from the stored reply
            return None

    async def keep(self, request_id: str, waiting: _Undelivered) -> None:
        key = self.keys.undelivered(request_id)
        await self.batch.call("SET", key, msgspec.json.encode(waiting), "PX", KEPT_MS)


class WebhookSender:
    """Looks once a second for webhooks that are due, and sends those whose answer is there."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._senders = asyncio.Semaphore(SENDERS)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except RedisUnavailableError as error:
                logger.debug("webhooks.redis_unavailable", error=str(error))
            except MT5StateError:  # closed
                return
            await asyncio.sleep(LOOK_INTERVAL)

    async def look(self) -> None:
        keys = self._relay.fleet_keys
        agenda = Agenda(self._relay.commands(keys), keys)
        due = await agenda.due()
        await asyncio.gather(*(self._attend(agenda, request_id) for request_id in due))

    async def _attend(self, agenda: Agenda, request_id: str) -> None:
        async with self._senders:
            if not await agenda.claim(request_id):
                return
            try:
                await self._advance(agenda, request_id)
            finally:
                with contextlib.suppress(RedisUnavailableError, MT5StateError):
                    await agenda.release(request_id)

    async def _advance(self, agenda: Agenda, request_id: str) -> None:
        waiting = await agenda.undelivered(request_id)
        if waiting is None:
            ledger = Ledger(agenda.batch, agenda.keys)
            request = await ledger.find(request_id)
            if request is None or request.webhook is None:
                await agenda.strike(request_id)
                return
            outcome = await self._outcome(request)
            if outcome is None:
                await agenda.add(request_id, round(LOOK_INTERVAL * 1000))
                return
            body = delivery_of(request, outcome).decode()
            waiting = _Undelivered(request.webhook, body, 0)
        await self._deliver(agenda, request_id, waiting)

    async def _outcome(self, request: SubmittedRequest) -> Answer[object] | MT5Error | None:
        try:
            answer = await self._relay.client.fetch_reply(request.request_id)
        except RedisUnavailableError:
            raise
        except MT5Error as error:
            return error
        if answer is None and request.is_overdue:
            return DeadlineExceededError("no answer in time", request_id=request.request_id)
        return answer

    async def _deliver(self, agenda: Agenda, request_id: str, waiting: _Undelivered) -> None:
        secret = self._relay.settings.webhook_secret
        if secret is None:
            return
        try:
            check_target(waiting.url, self._relay.settings)  # whoever writes to Redis chose it
        except Refusal as refused:
            await agenda.strike(request_id)
            logger.warning("webhook.given_up", request_id=request_id, trouble=str(refused))
            return
        body, now = waiting.body.encode(), int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": request_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(secret.get_secret_value(), request_id, now, body),
        }
        trouble = await asyncio.to_thread(post, waiting.url, body, headers)
        if trouble is None:
            await agenda.strike(request_id)
            logger.info("webhook.delivered", request_id=request_id)
        elif waiting.attempts >= len(PAUSES_MS):
            await agenda.strike(request_id)
            logger.warning("webhook.given_up", request_id=request_id, trouble=trouble)
        else:
            pause = PAUSES_MS[waiting.attempts]
            attempts = waiting.attempts + 1
            await agenda.keep(request_id, _Undelivered(waiting.url, waiting.body, attempts))
            await agenda.add(request_id, pause)
            logger.warning("webhook.failed", request_id=request_id, trouble=trouble, again_ms=pause)


def post(url: str, body: bytes, headers: dict[str, str]) -> str | None:
    """Send it, and return None or what went wrong. Follows no redirects. Blocks."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    link = kind(parts.hostname or "", parts.port, timeout=SEND_LIMIT)
    path = parts.path or "/"
    try:
        link.request("POST", f"{path}?{parts.query}" if parts.query else path, body, headers)
        status = link.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        link.close()
    return None if 200 <= status < 300 else f"status {status}"
