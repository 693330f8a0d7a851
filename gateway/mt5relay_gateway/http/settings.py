"""The HTTP gateway's settings."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import MT5ValidationError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or is spoken of by it."""
    name = host.strip("[]").lower()
    try:
        return name in LOOPBACK_NAMES or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class HttpSettings(GatewaySettings):
    """What `mt5relay gateway` reads beside the settings of every gateway."""

    http_host: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("MT5_HTTP_HOST", "http_host"),
            min_length=1,
            max_length=255,
            description="the address that is listened on, e.g. 127.0.0.1 or 0.0.0.0",
        ),
    ] = "127.0.0.1"
    http_port: Annotated[
        int,
        Field(
            validation_alias=AliasChoices("MT5_HTTP_PORT", "http_port"),
            ge=0,
            le=65_535,
            description="the port, 0 to 65535; 0 for any free one",
        ),
    ] = 8080
    http_auth: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("MT5_HTTP_AUTH", "http_auth"),
            pattern="^(tokens|off)$",
            description="tokens, or off: whoever can reach it may do everything",
        ),
    ] = "tokens"
    http_rate: Annotated[
        float,
        Field(
            validation_alias=AliasChoices("MT5_HTTP_RATE", "http_rate"),
            ge=0,
            le=1_000_000,
            description="requests a second of one token that has no rate of its own, 0 to 1000000;"
            " 0 for no limit",
        ),
    ] = 200.0
    http_burst: Annotated[
        int,
        Field(
            validation_alias=AliasChoices("MT5_HTTP_BURST", "http_burst"),
            ge=1,
            le=1_000_000,
            description="requests that a token may send at once after a pause, 1 to 1000000",
        ),
    ] = 400
    http_streams: Annotated[
        int,
        Field(
            validation_alias=AliasChoices("MT5_HTTP_STREAMS", "http_streams"),
            ge=1,
            le=10_000,
            description="most event streams open at once, 1 to 10000",
        ),
    ] = 100
    webhook_origins: Annotated[
        str | None,
        Field(
            validation_alias=AliasChoices("MT5_WEBHOOK_ORIGINS", "webhook_origins"),
            description="where webhooks may go, as https://host or https://host:port; of several,"
            " separated by commas",
        ),
    ] = None
    webhook_secret: Annotated[
        SecretStr | None,
        Field(
            validation_alias=AliasChoices("MT5_WEBHOOK_SECRET", "webhook_secret"),
            min_length=24,
            description="what webhooks are signed with, at least 24 characters",
        ),
    ] = None

    @field_validator("webhook_origins")
    @classmethod
    def _are_origins(cls, text: str | None) -> str | None:
        for origin in origins_in(text):
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "@" in rest:
                raise ValueError("each must be http:// or https://, a host, and perhaps a port")
        return text

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.http_auth == "off" and not is_loopback(self.http_host):
            raise ValueError(
                "MT5_HTTP_AUTH is off, so MT5_HTTP_HOST must be 127.0.0.1, ::1 or localhost"
            )
        if self.webhook_origins and self.webhook_secret is None:
            raise ValueError("MT5_WEBHOOK_ORIGINS is set, so MT5_WEBHOOK_SECRET must be too")
        return self

    def listening_on(self, host: str | None, port: int | None) -> Self:
        """The same at another address, checked likewise.

        Raises:
            MT5ValidationError: the address does not go with the other settings.
        """
        changed = {"http_host": host, "http_port": port}
        given = {name: getattr(self, name) for name in self.model_fields_set}
        given |= {name: value for name, value in changed.items() if value is not None}
        try:
            return type(self)(**given)
        except ValidationError as error:
            raise MT5ValidationError(
                "; ".join(one["msg"] for one in error.errors(include_input=False))
            ) from None

    @property
    def webhook_targets(self) -> frozenset[str]:
        return frozenset(origins_in(self.webhook_origins))


def origins_in(text: str | None) -> list[str]:
    return [one.strip().rstrip("/").lower() for one in (text or "").split(",") if one.strip()]
