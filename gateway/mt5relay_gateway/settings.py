"""The gateway side's settings. Every one stands in `.env.example` with unit, default and bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from mt5relay_shared.messages import DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS
from mt5relay_shared.settings import RelaySettings


class GatewaySettings(RelaySettings):
    """What the operator's command and other gateways read."""

    sealing_key_id: Annotated[
        str | None,
        Field(
            validation_alias=AliasChoices("MT5_SEALING_KEY_ID", "sealing_key_id"),
            pattern=r"^[0-9a-f]{32}(\s*,\s*[0-9a-f]{32})*$",
            description="the key id that `mt5relay-worker keygen` printed, 32 hex digits;"
            " of several terminals, separated by commas",
        ),
    ] = None
    queue_limit: Annotated[
        int,
        Field(
            validation_alias=AliasChoices("MT5_QUEUE_LIMIT", "queue_limit"),
            ge=0,
            le=1_000_000,
            description="most requests that may wait, 0 to 1000000; 0 for no limit",
        ),
    ] = 10_000
    gateway_limit: Annotated[
        int,
        Field(
            validation_alias=AliasChoices("MT5_GATEWAY_LIMIT", "gateway_limit"),
            ge=0,
            le=1_000_000,
            description="most of one gateway's requests that may wait, 0 to 1000000; 0 for its"
            " share of the queue",
        ),
    ] = 0
    request_timeout: Annotated[
        float,
        Field(
            validation_alias=AliasChoices("MT5_REQUEST_TIMEOUT", "request_timeout"),
            ge=0.001,
            le=MAX_TIMEOUT_MS / 1000,
            description="seconds that an answer may take, 0.001 to 3600",
        ),
    ] = DEFAULT_TIMEOUT_MS / 1000
