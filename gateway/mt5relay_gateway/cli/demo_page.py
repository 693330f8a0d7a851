"""The demonstration's HTTP gateway, where its packages are installed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from importlib.util import find_spec

from mt5relay_gateway.settings import GatewaySettings

NEEDED = ("starlette", "uvicorn", "httptools", "prometheus_client")


@contextlib.asynccontextmanager
async def demo_page(settings: GatewaySettings, key_id: str) -> AsyncGenerator[str | None]:
    """Serve the page and the API to this machine, without tokens; yields the address.

    None where the extra `http` is not installed.
    """
    if any(find_spec(package) is None for package in NEEDED):
        yield None
        return
    from mt5relay_gateway.http.app import HttpSettings, http_app  # noqa: PLC0415 - an extra
    from mt5relay_gateway.http.server import serving  # noqa: PLC0415 - an extra

    http = HttpSettings(
        redis_url=settings.redis_url,
        allow_plaintext_redis=settings.allow_plaintext_redis,
        terminal_id=settings.terminal_id,
        key_prefix=settings.key_prefix,
        sealing_key_id=key_id,
        http_host="127.0.0.1",
        http_port=0,
        http_auth="off",
    )
    async with serving(http_app(http), http) as address:
        yield address
