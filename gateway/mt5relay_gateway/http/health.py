"""How things are, for load balancers and monitors: from Redis keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from starlette.responses import Response

from mt5relay_gateway.answers import utc_from_ms
from mt5relay_gateway.http.asking import check_query
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.monitor import Sight, look_at_all
from mt5relay_gateway.http.problems import problem_response
from mt5relay_gateway.http.tokens import Token
from mt5relay_gateway.http.visibility import shown_text
from mt5relay_shared import __version__
from mt5relay_shared.errors import MT5DataError, MT5StateError, RedisUnavailableError
from mt5relay_shared.health import Health, Status

WEDGED_DETAIL = "wedged"


class Situation(StrEnum):
    """What a person would say, best first."""

    IDLE = "idle"
    BUSY = "busy"
    CATCHING_UP = "catching_up"
    RECONNECTING = "reconnecting"
    DOWN = "down"
    WEDGED = "wedged"
    NO_WORKER = "no_worker"
    REDIS_DOWN = "redis_down"


_SEVERITY = {situation: rank for rank, situation in enumerate(Situation)}
UNFIT = frozenset({Situation.DOWN, Situation.WEDGED, Situation.NO_WORKER, Situation.REDIS_DOWN})


def situation_of(health: Health | None, waiting: int, patience_ms: float) -> Situation:
    """Judge a terminal by what Redis shows of it.

    Args:
        health: what its worker last said; None: no worker lives.
        waiting: requests in its stream.
        patience_ms: what a usual request may take; where the line is longer the worker is catching
            up.
    """
    if health is None:
        return Situation.NO_WORKER
    if health.detail == WEDGED_DETAIL:
        return Situation.WEDGED
    if health.status is not Status.OK:
        return Situation.DOWN if health.status is Status.DOWN else Situation.RECONNECTING
    if not waiting and not health.queue_depth:
        return Situation.IDLE
    is_behind = max(health.estimated_wait_ms, health.oldest_request_age_ms) > patience_ms
    return Situation.CATCHING_UP if is_behind else Situation.BUSY


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    text: str | None
    at: str | None
    age_ms: int | None


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits: requests in the stream, and what the worker knows of them."""

    waiting: int
    depth: int
    accounts: int
    oldest_age_ms: int
    estimated_wait_ms: int


class TerminalHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One terminal. Ages in ms; what is not known is left out."""

    terminal: str
    situation: Situation
    state: str | None = None
    detail: str | None = None
    state_age_ms: int | None = None
    breaker: str | None = None
    breaker_retry_in_ms: int | None = None
    last_error: LastError | None = None
    heartbeat_age_ms: int | None = None
    last_success_age_ms: int | None = None
    queue: QueueView | None = None
    worker_version: str | None = None


class HealthBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All terminals; `situation` is the worst of them."""

    status: Status
    situation: Situation
    version: str
    trouble: str | None = None
    terminals: list[TerminalHealth] = []


class LiveBody(msgspec.Struct, frozen=True, kw_only=True):
    """This process answers."""

    status: str
    version: str


def terminal_health(sight: Sight, patience_ms: float, caller: Token) -> TerminalHealth:
    health = sight.health
    situation = situation_of(health, sight.waiting, patience_ms)
    if health is None:
        return TerminalHealth(terminal=sight.terminal, situation=situation)

    def age(at_ms: int | None) -> int | None:
        return None if at_ms is None else max(0, sight.now_ms - at_ms)

    retry_at = health.breaker_retry_at_ms
    return TerminalHealth(
        terminal=sight.terminal,
        situation=situation,
        state=health.state,
        detail=health.detail,
        state_age_ms=age(health.state_since_ms),
        breaker=health.breaker,
        breaker_retry_in_ms=None if retry_at is None else max(0, retry_at - sight.now_ms),
        last_error=_last_error(health, age(health.last_error_at_ms), caller),
        heartbeat_age_ms=age(health.heartbeat_at_ms),
        last_success_age_ms=age(health.last_success_at_ms),
        queue=QueueView(
            waiting=sight.waiting,
            depth=health.queue_depth,
            accounts=health.waiting_accounts,
            oldest_age_ms=health.oldest_request_age_ms,
            estimated_wait_ms=health.estimated_wait_ms,
        ),
        worker_version=health.version,
    )


def _last_error(health: Health, age_ms: int | None, caller: Token) -> LastError | None:
    if health.last_error_code is None:
        return None
    at_ms = health.last_error_at_ms
    return LastError(
        code=health.last_error_code,
        text=shown_text(health.last_error_text, caller),
        at=None if at_ms is None else utc_from_ms(at_ms).isoformat(),
        age_ms=age_ms,
    )


def overall(terminals: Sequence[TerminalHealth]) -> HealthBody:
    worst = max((one.situation for one in terminals), key=_SEVERITY.__getitem__)
    return HealthBody(
        status=_status(worst), situation=worst, version=__version__, terminals=list(terminals)
    )


def _status(situation: Situation) -> Status:
    if situation in UNFIT:
        return Status.DOWN
    return Status.DEGRADED if situation is Situation.RECONNECTING else Status.OK


async def _seen(call: Call) -> HealthBody:
    try:
        sights = await look_at_all(call.relay)
    except (RedisUnavailableError, MT5StateError) as error:
        return HealthBody(
            status=Status.DOWN,
            situation=Situation.REDIS_DOWN,
            version=__version__,
            trouble=error.message,
        )
    except MT5DataError as error:
        return HealthBody(
            status=Status.DOWN,
            situation=Situation.DOWN,
            version=__version__,
            trouble=error.message,
        )
    patience_ms = call.relay.settings.request_timeout * 1000
    return overall([terminal_health(sight, patience_ms, call.caller) for sight in sights])


def _response(body: msgspec.Struct, is_fit: bool) -> Response:
    return Response(
        msgspec.json.encode(body),
        200 if is_fit else 503,
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )


async def health(call: Call) -> Response:
    """200 while the terminals work, however slowly; else 503. The body says which of eight."""
    check_query(call.query(), ())
    body = await _seen(call)
    return _response(body, body.situation not in UNFIT)


async def ready(call: Call) -> Response:
    """200 where this gateway can take requests: it reaches Redis.

    Without a worker it is ready still: it answers from snapshots, and says at once what is wrong.
    """
    check_query(call.query(), ())
    body = await _seen(call)
    if body.situation is not Situation.REDIS_DOWN:
        try:
            call.relay.client  # noqa: B018 - raises while there is none
        except RedisUnavailableError as error:
            return problem_response(error)
    return _response(body, body.situation is not Situation.REDIS_DOWN)


async def live(call: Call) -> Response:
    check_query(call.query(), ())
    return _response(LiveBody(status="ok", version=__version__), True)
