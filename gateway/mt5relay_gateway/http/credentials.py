"""`PUT` and `DELETE` of an account's credential: sealed at once, wherever the account may go."""

from __future__ import annotations

from starlette.responses import Response

from mt5relay_gateway.http.bodies import CredentialBody
from mt5relay_gateway.http.call import Call
from mt5relay_gateway.operating.enrolment import Enrolment, check_credentials, check_pin, split_pins
from mt5relay_shared.errors import AccountUnknownError, MT5StateError, MT5ValidationError
from mt5relay_shared.logs import get_logger

logger = get_logger(__name__)


async def enrol(call: Call) -> Response:
    account = call.account()
    body: CredentialBody = await call.json(CredentialBody)
    check_credentials(account, body.password)
    enrolments = await _enrolments(call)
    pins = split_pins(call.relay.settings.sealing_key_id)
    if not pins:
        raise MT5StateError(
            "no sealing key is pinned here: set MT5_SEALING_KEY_ID to what `mt5relay-worker"
            " keygen` printed"
        )
    keys = {terminal: await one.published_key() for terminal, one in enrolments.items()}
    for terminal, key in keys.items():
        try:
            check_pin(terminal, key, pins)
        except MT5ValidationError as error:  # not the caller's fault
            raise MT5StateError(error.message) from None
    for terminal, one in enrolments.items():
        await one.add(account, body.password, keys[terminal])
    logger.info("credential.enrolled", account=str(account), token=call.caller.name)
    return Response(status_code=204)


async def remove(call: Call) -> Response:
    account = call.account()
    removed = [await one.remove(account) for one in (await _enrolments(call)).values()]
    if not any(removed):
        raise AccountUnknownError(f"{account}: no credential is enrolled")
    logger.info("credential.removed", account=str(account), token=call.caller.name)
    return Response(status_code=204)


async def _enrolments(call: Call) -> dict[str, Enrolment]:
    relay = call.relay
    return {
        terminal: Enrolment(relay.commands(relay.keys_of(terminal)), relay.keys_of(terminal))
        for terminal in await relay.terminals()
    }
