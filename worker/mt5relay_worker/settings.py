"""The worker's settings. Every one stands in `.env.example` with unit, default and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator

from mt5relay_shared.settings import RelaySettings
from mt5relay_worker.terminal.options import TerminalOptions


def _setting(
    variable: str, description: str, *, ge: float | None = None, le: float | None = None
) -> Any:  # noqa: ANN401 - pydantic's own type
    name = variable.removeprefix("MT5_").lower()
    return Field(
        validation_alias=AliasChoices(variable, name), description=description, ge=ge, le=le
    )


Seconds = float


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


class WorkerSettings(RelaySettings):
    """What `mt5relay-worker` reads. Times are seconds."""

    terminal: Annotated[
        Literal["simulated", "metatrader5"],
        _setting("MT5_TERMINAL", "metatrader5 (Windows) or simulated"),
    ] = "metatrader5"
    terminal_path: Annotated[
        Path | None,
        _setting("MT5_TERMINAL_PATH", "absolute path of terminal64.exe; required for metatrader5"),
    ] = None
    terminal_portable: Annotated[
        bool,
        _setting("MT5_TERMINAL_PORTABLE", "true for a terminal that runs in portable mode"),
    ] = False
    journal: Annotated[
        Literal["auto", "off"],
        _setting("MT5_JOURNAL", "auto, or off to leave the terminal's journal unread"),
    ] = "auto"
    private_key_file: Annotated[
        Path,
        _setting("MT5_PRIVATE_KEY_FILE", "the file that `mt5relay-worker keygen` wrote"),
    ] = Path("mt5relay.key")
    private_key: Annotated[
        SecretStr | None,
        _setting("MT5_PRIVATE_KEY", "the private key itself, as PEM, instead of the file"),
    ] = None
    seen_file: Annotated[
        Path | None,
        _setting(
            "MT5_SEEN_FILE",
            "the file that tells old credentials from new ones; without it, beside the private key",
        ),
    ] = None
    old_envelopes: Annotated[
        Literal["accept", "refuse"],
        _setting("MT5_OLD_ENVELOPES", "accept, or refuse credentials of version 1"),
    ] = "accept"
    investor_only: Annotated[
        bool,
        _setting("MT5_INVESTOR_ONLY", "true to refuse accounts that have trading rights"),
    ] = False

    connection_pool_size: Annotated[
        int, _setting("MT5_CONNECTION_POOL_SIZE", "logical sessions, 1 to 1000", ge=1, le=1000)
    ] = 20
    connection_idle_timeout: Annotated[
        Seconds,
        _setting("MT5_CONNECTION_IDLE_TIMEOUT", "seconds, 1 to 86400", ge=1, le=86_400),
    ] = 300.0
    connection_retry_limit: Annotated[
        int,
        _setting("MT5_CONNECTION_RETRY_LIMIT", "tries after the first, 0 to 10", ge=0, le=10),
    ] = 3
    connection_retry_delay: Annotated[
        Seconds,
        _setting(
            "MT5_CONNECTION_RETRY_DELAY",
            "seconds before the first retry, doubled each time, 0.01 to 60",
            ge=0.01,
            le=60,
        ),
    ] = 1.0
    connection_timeout: Annotated[
        Seconds,
        _setting("MT5_CONNECTION_TIMEOUT", "seconds for a login, 1 to 600", ge=1, le=600),
    ] = 60.0
    call_limit: Annotated[
        Seconds,
        _setting(
            "MT5_CALL_LIMIT",
            "seconds after which a visit's terminal process is killed, 1 to 1200",
            ge=1,
            le=1200,
        ),
    ] = 90.0
    start_limit: Annotated[
        Seconds,
        _setting(
            "MT5_START_LIMIT",
            "seconds after which a starting terminal process is killed, 1 to 1200",
            ge=1,
            le=1200,
        ),
    ] = 180.0
    identity_timeout: Annotated[
        Seconds,
        _setting("MT5_IDENTITY_TIMEOUT", "seconds to show the new account, 0 to 60", ge=0, le=60),
    ] = 2.5
    hydration_timeout: Annotated[
        Seconds,
        _setting("MT5_HYDRATION_TIMEOUT", "seconds to compute the margin, 0 to 60", ge=0, le=60),
    ] = 1.0
    sync_timeout: Annotated[
        Seconds,
        _setting("MT5_SYNC_TIMEOUT", "seconds for lists to settle, 0 to 120", ge=0, le=120),
    ] = 5.0

    health_check_interval: Annotated[
        Seconds,
        _setting("MT5_HEALTH_CHECK_INTERVAL", "seconds, 1 to 3600", ge=1, le=3600),
    ] = 30.0
    heartbeat_interval: Annotated[
        Seconds,
        _setting("MT5_HEARTBEAT_INTERVAL", "seconds, 0.1 to 60", ge=0.1, le=60),
    ] = 2.0
    lease_ttl: Annotated[
        Seconds,
        _setting(
            "MT5_LEASE_TTL",
            "seconds without a heartbeat until another worker may take over, 1 to 300;"
            " at least three heartbeats",
            ge=1,
            le=300,
        ),
    ] = 10.0
    stall_limit: Annotated[
        Seconds,
        _setting(
            "MT5_STALL_LIMIT",
            "seconds until a worker that stands still is ended, 1 to 3600; at least MT5_LEASE_TTL",
            ge=1,
            le=3600,
        ),
    ] = 60.0
    shutdown_grace: Annotated[
        Seconds,
        _setting("MT5_SHUTDOWN_GRACE", "seconds to finish a visit, 0 to 600", ge=0, le=600),
    ] = 30.0

    breaker_failure_threshold: Annotated[
        int,
        _setting(
            "MT5_BREAKER_FAILURE_THRESHOLD", "failures until it opens, 1 to 100", ge=1, le=100
        ),
    ] = 1
    breaker_pause: Annotated[
        Seconds, _setting("MT5_BREAKER_PAUSE", "seconds, 0.1 to 3600", ge=0.1, le=3600)
    ] = 30.0
    breaker_longest_pause: Annotated[
        Seconds,
        _setting(
            "MT5_BREAKER_LONGEST_PAUSE",
            "seconds, 0.1 to 86400, not below MT5_BREAKER_PAUSE",
            ge=0.1,
            le=86_400,
        ),
    ] = 600.0
    lockout_cooldown: Annotated[
        Seconds, _setting("MT5_LOCKOUT_COOLDOWN", "seconds, 1 to 86400", ge=1, le=86_400)
    ] = 60.0
    lockout_longest_cooldown: Annotated[
        Seconds,
        _setting(
            "MT5_LOCKOUT_LONGEST_COOLDOWN",
            "seconds, 1 to 604800, not below MT5_LOCKOUT_COOLDOWN",
            ge=1,
            le=604_800,
        ),
    ] = 3600.0

    login_rate: Annotated[
        float,
        _setting(
            "MT5_LOGIN_RATE",
            "most logins a minute at each server in the long run, 0 to 6000; 0 for no limit",
            ge=0,
            le=6000,
        ),
    ] = 0.0
    login_burst: Annotated[
        int,
        _setting("MT5_LOGIN_BURST", "logins at once after a quiet time, 1 to 1000", ge=1, le=1000),
    ] = 20
    minimum_dwell: Annotated[
        Seconds,
        _setting(
            "MT5_MINIMUM_DWELL", "seconds on an account before it is left, 0 to 600", ge=0, le=600
        ),
    ] = 0.0

    max_timeout: Annotated[
        Seconds,
        _setting("MT5_MAX_TIMEOUT", "longest a request may wait, 1 to 3600", ge=1, le=3600),
    ] = 300.0
    snapshot_ttl: Annotated[
        Seconds,
        _setting(
            "MT5_SNAPSHOT_TTL", "seconds a snapshot is kept, 1 to 2592000", ge=1, le=2_592_000
        ),
    ] = 86_400.0
    poison_limit: Annotated[
        int,
        _setting("MT5_POISON_LIMIT", "crashes until a request is buried, 1 to 20", ge=1, le=20),
    ] = 3

    simulator_book: Annotated[
        Path | None,
        _setting("MT5_SIMULATOR_BOOK", "JSON file of simulated accounts"),
    ] = None
    simulator_faults: Annotated[
        Path | None,
        _setting("MT5_SIMULATOR_FAULTS", "JSON file of faults, read again when it changes"),
    ] = None
    simulator_data: Annotated[
        Path | None,
        _setting("MT5_SIMULATOR_DATA", "folder in which the simulated terminal keeps its journal"),
    ] = None
    simulator_speed: Annotated[
        float,
        _setting(
            "MT5_SIMULATOR_SPEED",
            "divides simulated latencies, 0.01 to 1000000; 0 for none",
            ge=0,
            le=1_000_000,
        ),
    ] = 1.0

    @field_validator("terminal_path")
    @classmethod
    def _is_an_executable(cls, path: Path | None) -> Path | None:
        if path is not None and not (path.is_absolute() and path.suffix.lower() == ".exe"):
            raise ValueError(f"{path} is not an absolute path of terminal64.exe")
        return path

    @property
    def terminal_options(self) -> TerminalOptions:
        key = self.private_key
        return TerminalOptions(
            terminal=self.terminal,
            terminal_path=_text(self.terminal_path),
            terminal_portable=self.terminal_portable,
            journal=self.journal,
            private_key_file=str(self.private_key_file),
            private_key=None if key is None else key.get_secret_value(),
            seen_file=str(self.seen_file or f"{self.private_key_file}.{self.terminal_id}.seen"),
            old_envelopes=self.old_envelopes,
            investor_only=self.investor_only,
            identity_timeout=self.identity_timeout,
            hydration_timeout=self.hydration_timeout,
            sync_timeout=self.sync_timeout,
            simulator_book=_text(self.simulator_book),
            simulator_faults=_text(self.simulator_faults),
            simulator_data=_text(self.simulator_data),
            simulator_speed=self.simulator_speed,
        )

    @model_validator(mode="after")
    def _agree(self) -> WorkerSettings:
        if self.terminal == "metatrader5" and self.terminal_path is None:
            raise ValueError(
                "MT5_TERMINAL_PATH is missing: without it the package attaches to any terminal it"
                " finds; set it, or set MT5_TERMINAL=simulated"
            )
        if self.lease_ttl < 3 * self.heartbeat_interval:
            raise ValueError("MT5_LEASE_TTL must be at least three times MT5_HEARTBEAT_INTERVAL")
        if self.stall_limit < self.lease_ttl:
            raise ValueError("MT5_STALL_LIMIT must not be below MT5_LEASE_TTL")
        if self.breaker_longest_pause < self.breaker_pause:
            raise ValueError("MT5_BREAKER_LONGEST_PAUSE must not be below MT5_BREAKER_PAUSE")
        if self.lockout_longest_cooldown < self.lockout_cooldown:
            raise ValueError("MT5_LOCKOUT_LONGEST_COOLDOWN must not be below MT5_LOCKOUT_COOLDOWN")
        if self.call_limit <= self.connection_timeout:
            raise ValueError("MT5_CALL_LIMIT must be above MT5_CONNECTION_TIMEOUT")
        return self
