"""`mt5relay breaker`: tell the running worker to close its breaker, or to try the terminal now."""

from __future__ import annotations

from cyclopts import App

from mt5relay_gateway.cli.commanding import command_worker

app = App(name="breaker", help="Close the worker's circuit breaker, or let it try the terminal.")


@app.command
async def reset(*, timeout: float = 10.0) -> None:
    """Close the breaker: the next request goes to the terminal.

    Args:
        timeout: Seconds to wait until the worker has obeyed.
    """
    await command_worker("breaker.reset", timeout)


@app.command
async def probe(*, timeout: float = 10.0) -> None:
    """Let the open breaker try the terminal now instead of later.

    Args:
        timeout: Seconds to wait until the worker has obeyed.
    """
    await command_worker("breaker.probe", timeout)
