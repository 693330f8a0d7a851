"""`mt5relay ask`: one look-up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from mt5relay_gateway.cli.answer_views import answer_fields, answer_view
from mt5relay_gateway.cli.looking_up import Details, check_details, look_up
from mt5relay_gateway.cli.output import AsJson, print_json, print_view
from mt5relay_gateway.operating.connection import lookup_client
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.operations import Operation, Timeframe
from mt5relay_shared.settings import load_settings


async def ask(
    operation: Annotated[Operation, Parameter(name_transform=str.lower)],
    account: str,
    /,
    *,
    symbol: str | None = None,
    timeframe: Annotated[Timeframe | None, Parameter(show_choices=True)] = None,
    count: int | None = None,
    from_: Annotated[datetime | None, Parameter(name="--from")] = None,
    to: datetime | None = None,
    timeout: float | None = None,
    max_age: float = 0.0,
    stale_if_error: float = 0.0,
    as_json: AsJson = False,
) -> None:
    """Look something up about an account.

    Args:
        operation: What is asked.
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        symbol: For symbol, tick and rates.
        timeframe: For rates: the length of a bar.
        count: For rates: how many bars, at most 10000.
        from_: For deals and history_orders, in the broker's clock. Default: 30 days ago.
        to: The end of that range. Default: now.
        timeout: Seconds that the answer may take. Default: MT5_REQUEST_TIMEOUT.
        max_age: Seconds; a stored read up to this old answers without the terminal.
        stale_if_error: Seconds; a stored read up to this old answers instead of an error.
        as_json: Print one JSON object, with the data in the package's field order.
    """
    details = Details(symbol=symbol, timeframe=timeframe, count=count, from_=from_, to=to)
    check_details(operation, details)
    identity = AccountId.parse(account)
    async with await lookup_client(load_settings(GatewaySettings)) as client:
        answer = await look_up(
            client,
            operation,
            identity,
            details,
            timeout=timeout,
            max_age=max_age,
            stale_if_error=stale_if_error,
        )
    if as_json:
        print_json(answer_fields(answer))
    else:
        print_view(answer_view(answer))
