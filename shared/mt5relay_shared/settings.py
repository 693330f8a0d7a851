"""Settings that both sides read, and the way in which all settings are read.

They come from the environment or from a file `.env` in the working directory. A value out of bounds
stops the process at start with the field, the value and the remedy; a secret is never quoted.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn, Self, TypeVar

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.keys import FleetKeys, Keys, check_terminal_id
from mt5relay_shared.topology import SCHEMES
from mt5relay_shared.transport import check_transport

EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h


class RelaySettings(BaseSettings):
    """What a process must know to find its terminal's keys."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        frozen=True,
        populate_by_name=True,
    )

    redis_url: Annotated[
        SecretStr,
        Field(description="redis://[user:password@]host:port/db, or rediss:// for TLS"),
    ] = SecretStr("redis://127.0.0.1:6379/0")
    allow_plaintext_redis: Annotated[
        bool,
        Field(
            validation_alias=AliasChoices("MT5_ALLOW_PLAINTEXT_REDIS", "allow_plaintext_redis"),
            description="true where Redis on another machine may be reached without TLS",
        ),
    ] = False
    terminal_id: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("MT5_TERMINAL_ID", "terminal_id"),
            description="which terminal's keys: letters, digits, dots, dashes, underscores",
        ),
    ] = "main"
    key_prefix: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("MT5_KEY_PREFIX", "key_prefix"),
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
            description="first part of every key",
        ),
    ] = "mt5"
    log_format: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("MT5_LOG_FORMAT", "log_format"),
            pattern="^(auto|json|console)$",
            description="json, console, or auto: console on a terminal, json elsewhere",
        ),
    ] = "auto"
    log_level: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("MT5_LOG_LEVEL", "log_level"),
            pattern="^(debug|info|warning|error)$",
            description="debug, info, warning or error",
        ),
    ] = "info"

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(SCHEMES):
            raise ValueError(f"it must start with one of {', '.join(SCHEMES)}")
        return url

    @field_validator("terminal_id")
    @classmethod
    def _fits_a_key(cls, terminal: str) -> str:
        return check_terminal_id(terminal)

    @model_validator(mode="after")
    def _nothing_in_the_clear(self) -> Self:
        url = self.redis_url.get_secret_value()
        check_transport(url, allow_plaintext=self.allow_plaintext_redis)
        return self

    @property
    def keys(self) -> Keys:
        return Keys(self.terminal_id, self.key_prefix)

    @property
    def fleet_keys(self) -> FleetKeys:
        return FleetKeys(self.key_prefix)


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(kind: type[SettingsT]) -> SettingsT:
    """Read settings from the environment.

    Raises:
        MT5ValidationError: one line for each field that is wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        raise MT5ValidationError(_explain(kind, error)) from None


def load_settings_or_exit(kind: type[SettingsT]) -> SettingsT:
    """As `load_settings`, but end the process with status 78 and the explanation."""
    try:
        return load_settings(kind)
    except MT5ValidationError as error:
        stop(str(error))


def stop(explanation: str) -> NoReturn:
    print(explanation, file=sys.stderr)  # noqa: T201 - logging is not configured yet
    raise SystemExit(EXIT_SETTINGS)


def _explain(kind: type[BaseSettings], error: ValidationError) -> str:
    return "\n".join(
        _explain_one(kind, item["loc"], item["msg"].removeprefix("Value error, "))
        for item in error.errors(include_input=False, include_url=False)
    )


def _explain_one(kind: type[BaseSettings], location: tuple[int | str, ...], complaint: str) -> str:
    if not location:  # two settings that do not agree: the complaint names them
        return f"settings: {complaint}"
    name = _field_name(kind, str(location[0]))
    field = kind.model_fields.get(name)
    remedy = (field.description if field else None) or "see .env.example"
    return f"setting {variable_of(kind, name)}: {complaint}; it should be: {remedy}"


def _field_name(kind: type[BaseSettings], location: str) -> str:
    for name in kind.model_fields:
        if location in (name, variable_of(kind, name)):
            return name
    return location


def variable_of(kind: type[BaseSettings], name: str) -> str:
    """The environment variable that a field is read from."""
    field = kind.model_fields.get(name)
    if field is not None and isinstance(field.validation_alias, AliasChoices):
        return str(field.validation_alias.choices[0])
    return name.upper()
