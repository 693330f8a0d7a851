"""`mt5relay tokens`: who may ask the HTTP gateway."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.http.token_store import TokenStore
from mt5relay_gateway.http.tokens import Scope, Token, new_token
from mt5relay_gateway.operating.connection import redis_commands, server_time_ms
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.settings import load_settings

app = App(name="tokens", help="Make, list and revoke the tokens of the HTTP gateway.")


@app.command
async def add(
    name: str,
    /,
    *,
    scope: Annotated[list[Scope], Parameter(name_transform=str.lower)] | None = None,
    account: list[str] | None = None,
    rate: float | None = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it. It is shown this once; only its hash is kept.

    Args:
        name: Whom it is for, to know it again.
        scope: read (the default), enroll or operate; may be given several times.
        account: A pattern such as *@MetaQuotes-Demo; may be given several times. Default: all.
        rate: Requests a second, 0 for no limit. Default: MT5_HTTP_RATE of the gateway.
    """
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings, settings.fleet_keys) as redis:
        token, secret = new_token(
            name,
            scope or [Scope.READ],
            await server_time_ms(redis),
            accounts=account or (),
            rate=rate,
        )
        await TokenStore(redis, settings.fleet_keys).add(token)
    if as_json:
        print_json({**_fields(token), "token": secret.reveal()})
    else:
        print(secret.reveal())


@app.command(name="list")
async def list_tokens(*, as_json: AsJson = False) -> None:
    """List the tokens; their secrets can't be shown."""
    async with _store() as store:
        tokens = sorted((await store.all()).values(), key=lambda one: one.created_at_ms)
    if as_json:
        for token in tokens:
            print_json(_fields(token))
    elif tokens:
        print_view(_table(tokens))
    else:
        print("there are no tokens; make one with `mt5relay tokens add NAME`")


@app.command
async def remove(token: str, /) -> None:
    """Revoke a token; gateways refuse it within a second.

    Args:
        token: Its id, or the name of all that are to go.
    """
    async with _store() as store:
        gone = await store.remove(token)
    for one in gone:
        print(f"removed {one.id} {one.name}")


@contextlib.asynccontextmanager
async def _store() -> AsyncGenerator[TokenStore]:
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings, settings.fleet_keys) as redis:
        yield TokenStore(redis, settings.fleet_keys)


def _fields(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "accounts": list(token.accounts),
        "rate": token.rate,
        "created_at": utc_text(token.created_at_ms),
    }


def _table(tokens: list[Token]) -> Table:
    table = Table("id", "name", "scopes", "accounts", "rate", "created at")
    for token in tokens:
        table.add_row(
            token.id,
            printable(token.name),
            " ".join(token.scopes),
            printable(" ".join(token.accounts) or "all"),
            "default" if token.rate is None else f"{token.rate:g}",
            utc_text(token.created_at_ms),
        )
    return table
