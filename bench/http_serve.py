"""A server process of the HTTP benchmark: `python -m bench.http_serve KIND BYTES`, until killed.

`gateway` is the HTTP gateway as it is run; `slow` is the same before a client that takes a fixed
time; `echo` is Starlette alone, answering as many bytes. Each says its address and nothing else.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping
from typing import Any

import uvicorn
from bench.world import account
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mt5relay_gateway import Answer
from mt5relay_gateway.composing import AskOptions
from mt5relay_gateway.http.app import HttpSettings, http_app
from mt5relay_gateway.http.server import GatewayServer, collect_less
from mt5relay_gateway.testing import FakeAccountClient
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation
from mt5relay_shared.settings import load_settings

SLOW_SECONDS = (0.04, 0.06)
ACCOUNTS = 20


class SlowClient(FakeAccountClient):
    """Answers each question after a time of its own, whatever else it is asked meanwhile.

    Were the times all the same, callers who once met would ask together for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(0)
        for number in range(ACCOUNTS):
            self.enrol(account(number))

    async def _ask(
        self,
        operation: Operation,
        account: AccountId | str,
        arguments: Mapping[str, Any],
        options: AskOptions,
    ) -> Answer[Any]:
        await asyncio.sleep(self._random.uniform(*SLOW_SECONDS))
        self.asked.clear()  # else it would remember everything
        return await super()._ask(operation, account, arguments, options)


def main(kind: str, size: str) -> None:
    collect_less()
    if kind == "echo":
        asyncio.run(_echo(b"x" * int(size)))
        return
    settings = load_settings(HttpSettings)
    app = http_app(settings, client=SlowClient() if kind == "slow" else None)
    GatewayServer(app, settings, _say).run()


async def _echo(body: bytes) -> None:
    async def answer(request: Request) -> Response:
        assert request.path_params["account"]  # noqa: S101 - what any handler would look at
        return Response(body, media_type="application/json", headers={"age": "0"})

    app = Starlette(routes=[Route("/v1/accounts/{account}", answer)])
    await _Telling(
        uvicorn.Config(app, port=0, http="httptools", log_level="error", access_log=False)
    ).serve()


class _Telling(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        _say("http://{}:{}".format(*self.servers[0].sockets[0].getsockname()[:2]))


def _say(address: str) -> None:
    print(address, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
