"""systemd's unit files, as much of them as the units of `deploy/systemd` say."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0}
_CLEAN_SIGNALS = frozenset({Signals.SIGHUP, Signals.SIGINT, Signals.SIGTERM, Signals.SIGPIPE})


class UnitError(Exception):
    """A unit asks for what is not known here; the message names unit and setting."""


@dataclass(frozen=True)
class Unit:
    """What a supervisor must know of a service."""

    name: str
    kind: str  # exec or notify
    command: list[str]
    environment: dict[str, str]
    environment_files: list[str]  # a leading - : may be missing
    working_directory: str | None
    runtime_directory: str | None
    state_directory: str | None
    restart: str
    restart_seconds: float
    final_statuses: frozenset[int]
    kill_mode: str
    kill_signal: Signals
    stop_seconds: float

    def is_restarted_after(self, status: int) -> bool:
        """Whether another is started after one ended so; negative: by that signal."""
        if status in self.final_statuses or self.restart == "no":
            return False
        clean = status == 0 or (status < 0 and Signals(-status) in _CLEAN_SIGNALS)
        return self.restart == "always" or (self.restart == "on-failure" and not clean)


def read_unit(directory: Path, name: str) -> Unit:
    """The unit `NAME.service`, or of a template `NAME@INSTANCE.service`.

    Raises:
        UnitError: there is none, or it can't be understood.
    """
    name = name.removesuffix(".service")
    stem, at, instance = name.partition("@")
    file = directory / f"{stem}{at}.service"
    if not file.is_file():
        raise UnitError(f"{name}: there is no {file}")
    return parse_unit(file.read_text("utf-8"), name, instance)


def parse_unit(text: str, name: str, instance: str = "") -> Unit:
    """Read a unit's text for one instance of it."""
    settings = _settings(text, "Service", {"%i": instance, "%n": f"{name}.service", "%%": "%"})

    def one(setting: str, default: str) -> str:
        return settings.get(setting, [default])[-1]

    def first(setting: str) -> str | None:
        return settings[setting][-1] if setting in settings else None

    kind = one("Type", "simple")
    if kind not in ("exec", "notify", "simple"):
        raise UnitError(f"{name}: Type={kind} can't be rehearsed")
    if one("KillMode", "control-group") not in ("control-group", "mixed"):
        raise UnitError(f"{name}: KillMode={one('KillMode', '')} can't be rehearsed")
    pairs = [pair for line in settings.get("Environment", []) for pair in shlex.split(line)]
    return Unit(
        name=name,
        kind=kind,
        command=shlex.split(one("ExecStart", "")),
        environment=dict(pair.split("=", 1) for pair in pairs),
        environment_files=settings.get("EnvironmentFile", []),
        working_directory=first("WorkingDirectory"),
        runtime_directory=first("RuntimeDirectory"),
        state_directory=first("StateDirectory"),
        restart=one("Restart", "no"),
        restart_seconds=_seconds(one("RestartSec", "100ms")),
        final_statuses=frozenset(map(int, one("RestartPreventExitStatus", "").split())),
        kill_mode=one("KillMode", "control-group"),
        kill_signal=Signals[one("KillSignal", "SIGTERM")],
        stop_seconds=_seconds(one("TimeoutStopSec", "90")),
    )


def _settings(text: str, section: str, specifiers: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    here = ""
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901 - as systemd reads it
        if line.startswith("["):
            here = line.strip("[]")
        elif here == section and line and line[0] not in "#;":
            setting, _, value = line.partition("=")
            value = re.sub(r"%.", lambda match: specifiers.get(match[0], match[0]), value)
            found.setdefault(setting.strip(), []).append(value.strip())
    return found


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)\s*(s|ms|min|)", text)
    if match is None:
        raise UnitError(f"{text!r} is no time that can be rehearsed")
    return float(match[1]) * _SECONDS[match[2]]


def parse_environment_file(text: str) -> dict[str, str]:
    """As systemd reads one: no shell, quotes are taken away, and backslashes outside of ''."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901 - as systemd reads it
        if not line or line[0] in "#;" or "=" not in line:
            continue
        name, _, value = line.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == "'":
            value = value[1:-1]
        else:
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1]
            value = re.sub(r"\\(.)", r"\1", value)
        found[name.strip()] = value
    return found
