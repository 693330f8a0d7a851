"""What a simulated terminal does wrong, and how long it takes to do right.

Latencies are on by default; everything hostile is off. No latency distribution of the real terminal
is published: the defaults are assumptions within the bounds that production reports allow. What a
probe measured on a terminal of your own takes their place: `Faults.from_profile`.
"""

from __future__ import annotations

import logging
import math
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mt5relay_worker.simulator.book import explain
from mt5relay_worker.simulator.profile import quantile

Seconds = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
SecondsBetween = tuple[Seconds, Seconds]

_Z95 = 1.6449  # standard deviations from the median to the 95th percentile

log = logging.getLogger(__name__)


class FaultsError(ValueError):
    """A file of faults can't be used; the message names the field and the remedy."""


class LogNormal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A log-normal latency, given by its median and 95th percentile in seconds.

    A measured one comes with its `quantiles`, from the lowest to the highest in even steps of
    probability; where there are any they decide, and the other two only describe it.
    """

    median: Annotated[float, Meta(gt=0)]
    p95: Annotated[float, Meta(gt=0)]
    quantiles: Annotated[tuple[Seconds, ...], Meta(max_length=1_001)] = ()

    def sample(self, rng: random.Random) -> float:
        if self.quantiles:
            return quantile(self.quantiles, rng.random())
        return self.median * math.exp(rng.gauss(0, 1) * math.log(self.p95 / self.median) / _Z95)


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fault model. Durations are seconds; None (null in JSON) is said where it means for good.

    `scale` multiplies latencies and the waits that end in a time-out, never the windows of the
    other faults; 0 makes every call instant.
    """

    scale: Annotated[float, Meta(ge=0)] = 1.0
    initialize_running_seconds: SecondsBetween = (0.05, 0.5)
    initialize_cold_seconds: SecondsBetween = (8.0, 40.0)
    login_same_account_seconds: SecondsBetween = (0.05, 0.5)
    login_same_server: LogNormal = LogNormal(1.2, 4.0)
    login_other_server: LogNormal = LogNormal(2.5, 8.0)
    wrong_password_seconds: SecondsBetween = (0.3, 3.0)

    cold_start: bool = False
    """The terminal does not run yet when `initialize` is first called."""
    terminal_missing: bool = False
    """`initialize`: -10003."""
    initialize_hangs: bool = False
    """`initialize` never returns, as behind a modal dialog."""
    initialize_timeout_probability: Probability = 0.0
    """`initialize`: -10005 after its timeout."""
    initialize_too_soon_seconds: Seconds = 0.0
    """`initialize` so soon after `shutdown`: -6."""
    recompile_seconds: Seconds = 0.0
    """From when this is set, `initialize` waits for so long, or ends in -10005."""
    update_outage_seconds: Seconds = 0.0
    """When this is set the terminal closes for so long, then has a higher build."""

    login_timeout_probability: Probability = 0.0
    """`login`: -10005 after its timeout, ..."""
    login_timeout_ends_on: Literal["old", "new", "none"] = "old"
    """... which leaves the terminal on the old, the new or no account."""
    saved_password_accepted: bool = False
    """A wrong password gets in to an account that was logged in to before."""
    stale_login_probability: Probability = 0.0
    """`login`: True, but the old account is shown ..."""
    stale_login_seconds: Seconds | None = 1.0
    """... for so long; None: for good."""
    account_info_none_seconds: Seconds = 0.0
    """After a login `account_info()` is None for so long."""
    margin_zero_seconds: Seconds = 0.0
    """After a login `margin`, `margin_free` and `margin_level` are 0 for so long."""
    lists_empty_seconds: Seconds | None = 0.0
    """After a login positions and orders are empty for so long; None: until a second login."""
    history_short_seconds: Seconds = 0.0
    """After a login the history grows to its full length over so long."""

    journal_delay_seconds: Seconds = 0.0
    """Lines of the journal reach its file so late."""
    journal_silent: bool = False
    """Lines of the journal are lost: the file can't be written."""

    market_closed: bool = False
    """From when this is set no symbol ticks; the link to the broker is there."""
    account_changed_probability: Probability = 0.0
    """At any call but `initialize` and `login`: somebody else was logged in behind our back."""
    terminal_dies_every_switches: Count = 0
    """Every N changes of account the terminal dies: -10004 until `initialize`. 0: never."""
    throttle_logins_per_minute: Count = 0
    """More logins to one server within a minute: -6 ... 0: no limit."""
    throttle_minutes: Annotated[float, Meta(ge=0)] = 5.0
    """... for so long."""
    broker_link_lost: bool = False
    """`connected` is False and logins end in -10005; what was loaded is still served."""
    broker_link_lost_answer_seconds: Seconds = 1.0
    """How long such a login takes."""
    algo_off_after_switch: bool = False
    """After a change of account Algo Trading is off, and the next `initialize` answers -10005."""
    trade_api_disabled: bool = False
    """Trade calls: -8."""
    calls_that_hang: tuple[str, ...] = ()
    """Functions, by name, that never return."""
    second_thread: Literal["raise", "stall"] = "raise"
    """A call from a second thread raises RuntimeError, or stalls before it goes on, ..."""
    second_thread_stall_seconds: Seconds = 60.0
    """... for so long."""
    hold_interpreter_lock: bool = False
    """Hold the interpreter lock while waiting, as the real package does throughout a call."""

    @classmethod
    def from_profile(cls, report: Mapping[str, object]) -> Faults:
        """What `mt5relay-worker probe` measured on a terminal, in place of the assumptions.

        `report` is the report as its JSON decodes. What it measured too seldom keeps its default.

        Raises:
            FaultsError: it has no profile, or one that can't be used.
        """
        try:
            return msgspec.convert(report["profile"], cls)
        except KeyError:
            raise FaultsError("report: it has no `profile`; give a report of `probe`") from None
        except msgspec.ValidationError as error:
            raise FaultsError(f"report: profile: {_explained(error)}") from None


class _Report(msgspec.Struct):
    """As much of a probe's report as is looked at here."""

    profile: Faults | None = None


def load_faults(path: Path | str) -> Faults:
    """Read faults from a JSON file: an object of faults, or the report of a probe.

    Raises:
        FaultsError: it can't be read, or a field is unknown or has an impossible value.
    """
    try:
        text = Path(path).read_bytes()
        profile = msgspec.json.decode(text, type=_Report).profile
        return msgspec.json.decode(text, type=Faults) if profile is None else profile
    except OSError as error:
        raise FaultsError(f"faults {path}: {error.strerror}; name a readable file") from error
    except UnicodeDecodeError as error:
        raise FaultsError(
            f"faults {path}: byte {error.start} of a text is not UTF-8; save the file as UTF-8"
        ) from None
    except msgspec.DecodeError as error:
        raise FaultsError(f"faults {path}: {_explained(error)}") from None


def _explained(error: msgspec.DecodeError) -> str:
    return explain(error, (*Faults.__struct_fields__, *LogNormal.__struct_fields__))


_UNREAD = (-1, -1)  # the time and size of no file


class FaultsFile:
    """Faults that another process may change at any time by writing a file.

    While there is no file the first faults apply. A file that can't be used is logged and changes
    nothing: it may be half written. One that can't be read, as while Windows replaces it, is tried
    again at the next look.
    """

    def __init__(self, path: Path | None, first: Faults) -> None:
        self._path = path
        self._first = first
        self._stamp: tuple[int, int] | None = None
        self._current = first

    def current(self) -> Faults:
        """The faults of now; reads the file only if its time or size has changed."""
        if self._path is None:
            return self._first
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            self._current = self._first if stamp is None else self._read(self._path)
        return self._current

    def _read(self, path: Path) -> Faults:
        try:
            return load_faults(path)
        except FaultsError as error:
            if isinstance(error.__cause__, OSError):
                self._stamp = _UNREAD
            else:
                log.warning("simulator.faults_refused", extra={"reason": str(error)})
            return self._current


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)
