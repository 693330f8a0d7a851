"""What can go wrong on the terminal of a demonstration, by name, and how it is switched on.

The simulated terminal reads a JSON file of faults whenever that changes. Here are the names that
`--fault` knows, each with the fields that it sets there; the simulator's README explains them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from mt5relay_gateway.cli.demo_book import DemoAccount
from mt5relay_gateway.cli.output import print_json, print_view
from mt5relay_shared.errors import MT5ValidationError


@dataclass(frozen=True)
class DemoFault:
    """One row of the fault model; `needs_wrong_password` spoils the credential of one account."""

    shows: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    needs_wrong_password: bool = False


FAULTS: dict[str, DemoFault] = {
    "slow": DemoFault("everything takes three times as long", {"scale": 3}),
    "cold-start": DemoFault("the terminal must be started first", {"cold_start": True}),
    "initialize-hangs": DemoFault("`initialize` never returns", {"initialize_hangs": True}),
    "initialize-timeout": DemoFault(
        "`initialize` ends in -10005 every other time", {"initialize_timeout_probability": 0.5}
    ),
    "terminal-missing": DemoFault("no terminal at the path: -10003", {"terminal_missing": True}),
    "recompile": DemoFault("`initialize` waits for a recompile of 10 s", {"recompile_seconds": 10}),
    "update": DemoFault("an update: an outage of 10 s", {"update_outage_seconds": 10}),
    "wrong-password": DemoFault(
        "one account's password is wrong: -6, then a lock-out", needs_wrong_password=True
    ),
    "login-timeout": DemoFault(
        "a fifth of the logins end in -10005 on the old account",
        {"login_timeout_probability": 0.2, "login_timeout_ends_on": "old"},
    ),
    "login-timeout-new": DemoFault(
        "the same, but the login has happened",
        {"login_timeout_probability": 0.2, "login_timeout_ends_on": "new"},
    ),
    "login-timeout-nobody": DemoFault(
        "the same, but nobody is logged in",
        {"login_timeout_probability": 0.2, "login_timeout_ends_on": "none"},
    ),
    "stale-login": DemoFault(
        "a third of the logins show the old account for a second",
        {"stale_login_probability": 0.33, "stale_login_seconds": 1},
    ),
    "stale-login-for-good": DemoFault(
        "a tenth of the logins stay on the old account",
        {"stale_login_probability": 0.1, "stale_login_seconds": None},
    ),
    "no-account-info": DemoFault(
        "account_info() is None after a login", {"account_info_none_seconds": 0.8}
    ),
    "margin-late": DemoFault("the margin is 0 after a login", {"margin_zero_seconds": 0.8}),
    "lists-empty": DemoFault(
        "positions and orders are empty after a login", {"lists_empty_seconds": 1.5}
    ),
    "lists-empty-for-good": DemoFault(
        "they stay empty until a second login", {"lists_empty_seconds": None}
    ),
    "history-short": DemoFault("the history comes slowly", {"history_short_seconds": 3}),
    "behind-our-back": DemoFault(
        "now and then somebody else logs in", {"account_changed_probability": 0.01}
    ),
    "hangs": DemoFault("positions_get() never returns", {"calls_that_hang": ["positions_get"]}),
    "dies": DemoFault(
        "the terminal dies at every tenth change of account", {"terminal_dies_every_switches": 10}
    ),
    "throttle": DemoFault(
        "more than 30 logins a minute to a server: -6 for a minute",
        {"throttle_logins_per_minute": 30, "throttle_minutes": 1},
    ),
    "link-lost": DemoFault("no link to the broker", {"broker_link_lost": True}),
    "market-closed": DemoFault("no price moves", {"market_closed": True}),
    "algo-off": DemoFault(
        "a change of account switches Algo Trading off", {"algo_off_after_switch": True}
    ),
    "holds-the-lock": DemoFault(
        "a call lets no other thread run, as the real package", {"hold_interpreter_lock": True}
    ),
}


class _Report(msgspec.Struct):
    profile: dict[str, Any]


def faults_named(names: Iterable[str]) -> list[DemoFault]:
    """The faults of these names.

    Raises:
        MT5ValidationError: there is none of a name.
    """
    names = list(names)
    for name in names:
        if name not in FAULTS:
            raise MT5ValidationError(
                f"--fault: there is no {name!r}; `mt5relay demo --list-faults` names them all"
            )
    return [FAULTS[name] for name in names]


def read_profile(path: Path) -> dict[str, Any]:
    """The latencies of a report of `mt5relay-worker probe`, as fields of the simulator's faults.

    Raises:
        MT5ValidationError: naming the file and what is wrong.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Report).profile
    except OSError as error:
        raise MT5ValidationError(f"--profile: {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MT5ValidationError(
            f"--profile: {path}: {error}; give a report of `mt5relay-worker probe`"
        ) from None


def fields_of(faults: Iterable[DemoFault], profile: dict[str, Any]) -> dict[str, Any]:
    """What goes into the file; of two that set one field the later one wins, over the profile."""
    fields = dict(profile)
    for fault in faults:
        fields |= fault.fields
    return fields


def write_faults(path: Path, fields: dict[str, Any]) -> None:
    """Write the file in one step: the terminal may read it at any time."""
    half = path.with_suffix(".half")
    half.write_bytes(msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n")
    os.replace(half, path)


def with_wrong_password(accounts: Sequence[DemoAccount]) -> list[DemoAccount]:
    """The accounts, the second of them (of one, that) with a password that opens nothing."""
    spoilt = list(accounts)
    index = min(1, len(spoilt) - 1)
    one = spoilt[index]
    spoilt[index] = msgspec.structs.replace(one, password=f"not-{one.password}")
    return spoilt


def list_faults(*, as_json: bool) -> None:
    """Print every name with what it shows."""
    if as_json:
        for name, fault in FAULTS.items():
            print_json({"fault": name, "shows": fault.shows, "fields": fault.fields})
        return
    table = Table("--fault", "what it shows", "fields of the faults file")
    for name, fault in FAULTS.items():
        table.add_row(name, fault.shows, msgspec.json.encode(fault.fields).decode())
    print_view(table)
