"""The HTTP gateway as a Starlette application, which other applications can mount."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path
from starlette.types import Receive, Scope, Send

from mt5relay_gateway.http.docs import HEADERS, docs_page
from mt5relay_gateway.http.endpoint import Answering, ByMethod
from mt5relay_gateway.http.guard import Guard
from mt5relay_gateway.http.metrics import Measures
from mt5relay_gateway.http.openapi import openapi
from mt5relay_gateway.http.page import page_routes
from mt5relay_gateway.http.problems import problem_response, refusal_for_status
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.http.routes import ENDPOINTS
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.http.webhooks import WebhookSender
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_shared.logs import get_logger
from mt5relay_shared.settings import load_settings

__all__ = ["HttpSettings", "http_app", "running"]

logger = get_logger(__name__)


def http_app(
    settings: HttpSettings | None = None, *, client: AccountLookups | None = None
) -> Starlette:
    """Make the application. It works while `running` is entered, which its own lifespan does.

    Args:
        settings: default: from the environment.
        client: who is asked; it must be open, and stays the caller's. Default: one of its own, of
            the terminals that the settings and the registry name when it starts.

    Raises:
        MT5ValidationError: a setting is out of bounds.
    """
    settings = settings or load_settings(HttpSettings)
    relay, measures = Relay(settings, client), Measures()
    guard = Guard(relay)
    endpoints = _by_path(relay, guard, measures)
    app = GatewayApp(
        endpoints,
        routes=[
            Route("/openapi.json", _description),
            Route("/docs", _docs),
            *page_routes(),
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=running,
    )
    app.router.redirect_slashes = False
    app.state.relay = relay
    app.state.guard = guard
    app.state.measures = measures
    return app


_ACCOUNTS = b"/v1/accounts/"
_SLASH = "\ud800"  # half of a pair, which no decoded path holds


class GatewayApp(Starlette):
    """Finds the endpoint of a request before Starlette's own layers, which need not see it.

    They cost as much as all of the gateway's own, and the endpoints leave nothing for them to do.
    """

    def __init__(self, endpoints: Mapping[str, ByMethod], **options: Any) -> None:  # noqa: ANN401 - Starlette's own
        super().__init__(**options)
        self._endpoints = [(compile_path(path)[0], one) for path, one in endpoints.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = _routed_path(scope).removeprefix(scope.get("root_path", ""))
            for pattern, endpoint in self._endpoints:
                if match := pattern.match(path):
                    found = match.groupdict()
                    scope["path_params"] = {
                        name: text.replace(_SLASH, "/") for name, text in found.items()
                    }
                    await endpoint(scope, receive, send)
                    return
        await super().__call__(scope, receive, send)


def _routed_path(scope: Scope) -> str:
    """The path, with a slash that is encoded in the account as a sign that no route splits at."""
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    before, found, rest = raw.partition(_ACCOUNTS)
    account, slash, after = rest.partition(b"/")
    if not found or b"%2f" not in account.lower():
        return path
    whole = (before + found, account, slash + after)
    start, name, end = (unquote(part.decode("latin-1")) for part in whole)
    return start + name.replace("/", _SLASH) + end


def _by_path(relay: Relay, guard: Guard, measures: Measures) -> dict[str, ByMethod]:
    found: dict[str, dict[str, Answering]] = {}
    for one in ENDPOINTS:
        found.setdefault(one.path, {})[one.method] = Answering(one, relay, guard, measures)
    return {path: ByMethod(answering) for path, answering in found.items()}


@contextlib.asynccontextmanager
async def running(app: Starlette) -> AsyncGenerator[None]:
    """Open what the application needs, and close it in the end.

    A server does this by itself; an application that mounts it does it in its own lifespan, because
    those of mounted applications are not run.

    Raises:
        MT5StateError: it ran before; make a new one.
    """
    relay: Relay = app.state.relay
    if relay.settings.http_auth == "off":
        logger.critical(
            "http.AUTHENTICATION_IS_OFF",
            meaning="whoever can reach this port may read every account and change credentials",
            remedy="set MT5_HTTP_AUTH=tokens and make tokens with `mt5relay tokens add`",
        )
    async with relay.open():
        sender = None
        if relay.settings.webhook_targets:
            sender = asyncio.create_task(WebhookSender(relay).run(), name="mt5relay-webhooks")
        try:
            yield
        finally:
            if sender is not None:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)


async def _refused(_request: Request, error: Exception) -> Response:
    """What the router says: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for that
    return problem_response(refusal_for_status(error.status_code, dict(error.headers or {})))


async def _description(request: Request) -> Response:
    return Response(
        _described(request.scope.get("root_path") or "/")[0],
        headers={"cache-control": "no-cache"},
        media_type="application/json",
    )


async def _docs(request: Request) -> Response:
    page = _described(request.scope.get("root_path") or "/")[1]
    return Response(page, headers=HEADERS, media_type="text/html")


@lru_cache(maxsize=4)
def _described(server: str) -> tuple[bytes, bytes]:
    """The description and its page, for where the application is mounted."""
    described = openapi(ENDPOINTS, server)
    return msgspec.json.encode(described), docs_page(described).encode()
