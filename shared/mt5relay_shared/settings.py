"""Settings that both sides read, and the way in which all settings are read.

They come from the environment or from a file `.env` in the working directory. A value out of bounds
stops the process at start with the field, the value and the remedy; a secret is never quoted.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable
from typing import Annotated, NoReturn, Self, TypeVar

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.keys import FleetKeys, Keys, check_terminal_id
from mt5relay_shared.topology import SCHEMES
from mt5relay_shared.transport import check_transport

EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h


class RelaySettings(BaseSettings):
    """What a process must know to find its terminal's keys."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",  # which reads UTF-8 without a byte order mark, too
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


VARIABLES = frozenset({
    "MT5_ALLOW_PLAINTEXT_REDIS", "MT5_BREAKER_FAILURE_THRESHOLD", "MT5_BREAKER_LONGEST_PAUSE",
    "MT5_BREAKER_PAUSE", "MT5_CALL_LIMIT", "MT5_CONNECTION_IDLE_TIMEOUT",
    "MT5_CONNECTION_POOL_SIZE", "MT5_CONNECTION_RETRY_DELAY", "MT5_CONNECTION_RETRY_LIMIT",
    "MT5_CONNECTION_TIMEOUT", "MT5_GATEWAY_LIMIT", "MT5_HEALTH_CHECK_INTERVAL",
    "MT5_HEARTBEAT_INTERVAL", "MT5_HTTP_AUTH", "MT5_HTTP_BURST", "MT5_HTTP_HOST",
    "MT5_HTTP_PORT", "MT5_HTTP_RATE", "MT5_HTTP_STREAMS", "MT5_HYDRATION_TIMEOUT",
    "MT5_IDENTITY_TIMEOUT", "MT5_INVESTOR_ONLY", "MT5_JOURNAL", "MT5_KEY_PREFIX",
    "MT5_LEASE_TTL", "MT5_LOCKOUT_COOLDOWN", "MT5_LOCKOUT_LONGEST_COOLDOWN", "MT5_LOGIN_BURST",
    "MT5_LOGIN_RATE", "MT5_LOG_FORMAT", "MT5_LOG_LEVEL", "MT5_MAX_TIMEOUT",
    "MT5_MINIMUM_DWELL", "MT5_OLD_ENVELOPES", "MT5_POISON_LIMIT", "MT5_PRIVATE_KEY",
    "MT5_PRIVATE_KEY_FILE", "MT5_QUEUE_LIMIT", "MT5_REQUEST_TIMEOUT", "MT5_SEALING_KEY_ID",
    "MT5_SEEN_FILE", "MT5_SHUTDOWN_GRACE", "MT5_SIMULATOR_BOOK", "MT5_SIMULATOR_DATA",
    "MT5_SIMULATOR_FAULTS", "MT5_SIMULATOR_SPEED", "MT5_SNAPSHOT_TTL", "MT5_STALL_LIMIT",
    "MT5_START_LIMIT", "MT5_SYNC_TIMEOUT", "MT5_TERMINAL", "MT5_TERMINAL_ID",
    "MT5_TERMINAL_PATH", "MT5_TERMINAL_PORTABLE", "MT5_WEBHOOK_ORIGINS", "MT5_WEBHOOK_SECRET",
    "REDIS_URL",
})  # fmt: skip
"""The settings of all processes, which may share one `.env`; a test compares them."""

_told: set[str] = set()

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(kind: type[SettingsT]) -> SettingsT:
    """Read settings from the environment.

    Raises:
        MT5ValidationError: one line for each field that is wrong.
    """
    try:
        loaded = kind()
    except ValidationError as error:
        raise MT5ValidationError(_explain(kind, error)) from None
    except UnicodeDecodeError as error:
        raise MT5ValidationError(
            f"settings: .env in {os.getcwd()}: byte {error.start} is not UTF-8; save it as UTF-8"
        ) from None
    for warning in unknown_names({*os.environ, *_names_in_env_file(kind)}):
        if warning not in _told:  # a command may load several kinds of settings
            _told.add(warning)
            print(warning, file=sys.stderr)  # noqa: T201 - logging is not configured yet
    return loaded


def unknown_names(names: Iterable[str]) -> list[str]:
    """Return a warning for each name that looks like a setting but is not one of ours.

    Names of other programs are passed over: only `MT5_...`, and a misspelt `REDIS_URL`, look like
    settings of mt5relay.
    """
    warnings: list[str] = []
    for name in sorted(set(names) - VARIABLES):
        close = difflib.get_close_matches(name, sorted(VARIABLES), n=1, cutoff=0.8)
        if name.startswith("MT5_") or close == ["REDIS_URL"]:
            hint = f"did you mean {close[0]}?" if close else ".env.example lists all settings"
            warnings.append(f"warning: {name} is set, but is not a setting of mt5relay; {hint}")
    return warnings


def _names_in_env_file(kind: type[BaseSettings]) -> set[str]:
    return {name.upper() for name in DotEnvSettingsSource(kind).env_vars}


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
