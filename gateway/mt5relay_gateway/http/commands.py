"""`POST /v1/commands`: what an operator may tell a running worker."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from mt5relay_gateway.http.bodies import AccountText
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.operating.commanding import obeyed
from mt5relay_gateway.operating.connection import redis_commands
from mt5relay_shared.errors import MT5StateError, MT5ValidationError
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.logs import get_logger
from mt5relay_shared.operator import CommandName, OperatorCommand

OBEYED_WITHIN = 10.0  # seconds

logger = get_logger(__name__)


class CommandBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`account` is whom `account.unlock` is about; `terminal` is needed where there are several."""

    command: CommandName
    account: AccountText | None = None
    terminal: str | None = None


class Obeyed(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker says came of it."""

    command: CommandName
    terminal: str
    message: str


async def command(call: Call) -> Response:
    """Send it, and answer once the worker says that it obeyed.

    Raises:
        Refusal: the token covers some accounts only, and the command concerns more.
        NoWorkerError: nobody would obey.
        DeadlineExceededError: nobody did in time.
        MT5StateError: the worker refused.
    """
    body: CommandBody = await call.json(CommandBody)
    account = _account(call, body)
    terminal = await _terminal(call, body.terminal)
    keys = call.relay.keys_of(terminal)
    order = OperatorCommand(new_request_id(), body.command, account)
    async with redis_commands(call.relay.settings, keys) as redis:  # it waits on the server
        outcome = await obeyed(redis, keys, order, OBEYED_WITHIN)
    message = outcome.message or outcome.result or ""
    logger.info("command.sent", command=body.command, token=call.caller.name, said=message)
    if outcome.result != "ok":
        raise MT5StateError(message)
    done = Obeyed(command=body.command, terminal=terminal, message=message)
    return Response(
        msgspec.json.encode(done),
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )


def _account(call: Call, body: CommandBody) -> str | None:
    if body.command == "account.unlock":
        if body.account is None:
            raise MT5ValidationError("account: account.unlock needs it")
        return str(call.permitted(body.account))
    if body.account is not None:
        raise MT5ValidationError(f"account: {body.command} does not take it; leave it out")
    if call.caller.accounts:
        raise Refusal("FORBIDDEN", "the token does not cover all of the terminal's accounts")
    return None


async def _terminal(call: Call, named: str | None) -> str:
    terminals = await call.relay.terminals()
    if named is None and len(terminals) == 1:
        return terminals[0]
    if named not in terminals:
        raise MT5ValidationError(f"terminal: name one of {', '.join(terminals)}")
    return named
