"""What the simulated terminal does wrong next: every hostile row of the fault model, by chance.

Windows are scaled to a twentieth of what is known of real terminals, time-outs to a hundredth.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SCALE = 0.004  # of latencies and simulated time-outs
CALM: dict[str, Any] = {"scale": SCALE}


@dataclass(frozen=True, slots=True)
class Weather:
    """Faults, by field, that hold for `seconds`; `severe` names the one that stops everything."""

    faults: dict[str, Any]
    seconds: float
    severe: str | None = None


Draw = Callable[[random.Random], dict[str, Any]]


def _usual(rng: random.Random) -> dict[str, Any]:
    """All of what passes by itself, each with its own chance."""
    drawn: dict[str, tuple[float, Any]] = {
        "stale_login_probability": (0.7, rng.uniform(0.02, 0.1)),
        "stale_login_seconds": (0.9, rng.uniform(0.005, 0.08)),
        "account_info_none_seconds": (0.12, rng.uniform(0.0, 0.04)),
        "margin_zero_seconds": (0.12, rng.uniform(0.0, 0.04)),
        "lists_empty_seconds": (0.15, rng.uniform(0.0, 0.08)),
        "history_short_seconds": (0.3, rng.uniform(0.0, 0.15)),
        "account_changed_probability": (0.5, 0.002),
        "terminal_dies_every_switches": (0.3, rng.choice((5, 15, 40))),
        "login_timeout_probability": (0.5, rng.uniform(0.01, 0.1)),
        "login_timeout_ends_on": (1.0, rng.choice(("old", "new", "none"))),
        "initialize_timeout_probability": (0.2, 0.3),
        "initialize_too_soon_seconds": (0.2, 0.05),
        "saved_password_accepted": (0.3, True),
        "algo_off_after_switch": (0.05, True),
        "trade_api_disabled": (0.2, True),
        "market_closed": (0.1, True),
        "hold_interpreter_lock": (0.5, True),
        "journal_delay_seconds": (0.12, rng.uniform(0.0, 0.1)),
        "journal_silent": (0.04, True),
    }
    faults = {name: value for name, (chance, value) in drawn.items() if rng.random() < chance}
    if "stale_login_seconds" not in faults:
        faults["stale_login_seconds"] = None  # the old account is shown for good
    if rng.random() < 0.02:
        faults["lists_empty_seconds"] = None  # until a second login
    return faults


def _link_lost(rng: random.Random) -> dict[str, Any]:
    return {"broker_link_lost": True, "broker_link_lost_answer_seconds": rng.uniform(0.5, 5.0)}


def _update(rng: random.Random) -> dict[str, Any]:
    return {"update_outage_seconds": rng.uniform(0.1, 0.6)}


def _recompile(rng: random.Random) -> dict[str, Any]:
    return {"recompile_seconds": rng.uniform(0.1, 0.6), "terminal_dies_every_switches": 2}


def _throttle(rng: random.Random) -> dict[str, Any]:
    return {"throttle_logins_per_minute": rng.randint(1, 5), "throttle_minutes": 0.005}


def _missing(_: random.Random) -> dict[str, Any]:
    return {"terminal_missing": True, "terminal_dies_every_switches": 1}


def _call_hangs(rng: random.Random) -> dict[str, Any]:
    calls = ("login", "account_info", "positions_get", "orders_total", "history_deals_get")
    return {"calls_that_hang": [rng.choice(calls)]}


def _initialize_hangs(_: random.Random) -> dict[str, Any]:
    return {"initialize_hangs": True, "terminal_dies_every_switches": 1}


_SEVERE: dict[str, tuple[float, Draw]] = {
    "broker link lost": (0.02, _link_lost),
    "update": (0.015, _update),
    "recompile": (0.015, _recompile),
    "broker throttle": (0.02, _throttle),
    "terminal missing": (0.01, _missing),
    "call hangs": (0.0015, _call_hangs),
    "initialize hangs": (0.001, _initialize_hangs),
}


def draw(rng: random.Random) -> Weather:
    """The next weather; one in twelve stops everything, for most of a second."""
    faults = {**CALM, **_usual(rng)}
    dice = rng.random()
    for name, (chance, severe) in _SEVERE.items():
        if dice < chance:
            return Weather({**faults, **severe(rng)}, rng.uniform(0.2, 0.8), name)
        dice -= chance
    return Weather(faults, rng.uniform(0.1, 0.5))


def each_once(rng: random.Random) -> list[Weather]:
    """Every severe weather, in any order, so that the shortest run has had them all."""
    weathers = [
        Weather({**CALM, **_usual(rng), **severe(rng)}, rng.uniform(0.2, 0.8), name)
        for name, (_, severe) in _SEVERE.items()
    ]
    rng.shuffle(weathers)
    return weathers
