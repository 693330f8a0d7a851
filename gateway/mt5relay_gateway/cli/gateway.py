"""`mt5relay gateway`: the HTTP gateway."""

from __future__ import annotations

from mt5relay_gateway.cli.exits import CommandError
from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.settings import load_settings

MISSING = "the HTTP gateway needs more packages: pip install 'mt5relay[http]'"


def gateway(*, host: str | None = None, port: int | None = None) -> None:
    """Answer over HTTP until Ctrl-C. Several may run side by side; they share nothing but Redis.

    Args:
        host: The address to listen on. Default: MT5_HTTP_HOST.
        port: The port, 0 for any free one. Default: MT5_HTTP_PORT.
    """
    try:
        from mt5relay_gateway.http.app import HttpSettings, http_app  # noqa: PLC0415 - an extra
        from mt5relay_gateway.http.server import GatewayServer, collect_less  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mt5relay"):
            raise
        raise CommandError(MISSING) from None
    settings = load_settings(HttpSettings)
    if host is not None or port is not None:
        settings = settings.listening_on(host, port)
    configure_logs(settings.log_format, settings.log_level)
    app = http_app(settings)
    collect_less()
    GatewayServer(app, settings, _say_where).run()


def _say_where(address: str) -> None:
    print(f"listening on {address}, a page at /, described at /docs", flush=True)
