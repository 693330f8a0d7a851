"""What of the page is answered at which path."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from mt5relay_gateway.http.asking import check_query
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.endpoint import Answering, ByMethod, Endpoint
from mt5relay_gateway.http.page.files import PageFiles, index
from mt5relay_gateway.http.page.overview import overview_of
from mt5relay_gateway.http.page.recorder import Recorder
from mt5relay_gateway.http.tokens import Scope as TokenScope


def page_routes() -> list[BaseRoute]:
    """The page of one application, with a memory of its own."""
    figures = PageFigures(Recorder())
    return [
        Route("/", index),
        *(Route(one.path, Guarded(one)) for one in figures.endpoints()),
        Mount("/page", PageFiles()),
    ]


class PageFigures:
    """Answers in JSON what no other endpoint gives."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                method="GET",
                path="/page/overview",
                name="page_overview",
                handler=self.overview,
                scope=TokenScope.READ,
                summary="How fresh each account is, and the dead letters",
            ),
            Endpoint(
                method="GET",
                path="/page/history",
                name="page_history",
                handler=self.history,
                scope=TokenScope.READ,
                summary="The last 15 minutes, as far as this gateway saw them",
            ),
        ]

    async def overview(self, call: Call) -> Response:
        check_query(call.query(), ())
        return _json(await overview_of(call.relay, call.caller))

    async def history(self, call: Call) -> Response:
        check_query(call.query(), ())
        self._recorder.ensure_running(call.relay)
        return _json(self._recorder.kept())


class Guarded:
    """An endpoint behind the gateway's guard, made when the application that has it is known."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._answering: ByMethod | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._answering is None:
            app: Starlette = scope["app"]
            relay, guard, measures = app.state.relay, app.state.guard, app.state.measures
            answering = Answering(self._endpoint, relay, guard, measures)
            self._answering = ByMethod({self._endpoint.method: answering})
        await self._answering(scope, receive, send)


def _json(body: object) -> Response:
    return Response(
        msgspec.json.encode(body),
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )
