"""Commands that the running worker obeys, as the operator gives them."""

from __future__ import annotations

from mt5relay_gateway.cli.exits import CommandError
from mt5relay_gateway.composing import timeout_as_ms
from mt5relay_gateway.operating.commanding import obeyed
from mt5relay_gateway.operating.connection import redis_commands
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.operator import CommandName, OperatorCommand
from mt5relay_shared.settings import load_settings


async def command_worker(name: CommandName, timeout: float, account: str | None = None) -> None:
    """Send a command, wait `timeout` seconds at most, and print what the worker says."""
    timeout_as_ms(timeout)
    settings = load_settings(GatewaySettings)
    command = OperatorCommand(new_request_id(), name, account)
    async with redis_commands(settings) as redis:
        outcome = await obeyed(redis, settings.keys, command, timeout)
    message = outcome.message or outcome.result or ""
    if outcome.result != "ok":
        raise CommandError(f"{name}: {message}")
    print(f"{name}: {message}")
