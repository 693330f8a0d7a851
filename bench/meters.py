"""What processes and the server used: CPU, memory, commands, bytes."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

psutil: Any = importlib.import_module("psutil")  # ships no types

MIB = 1024 * 1024


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; by the scheduler's own count where it tells."""
    with contextlib.suppress(OSError):  # psutil counts in steps of ten milliseconds
        threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        if threads:
            return sum(int(one.read_text("ascii").split()[0]) for one in threads) / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def peak_mib(pid: int) -> float:
    """The most memory a process has been resident with; what it is now, where nobody counts."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resident_mib(pid)


def resident_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / MIB


@dataclass(frozen=True, slots=True)
class Reading:
    """All meters at one moment: CPU seconds by role, and the server's counters."""

    cpu: Mapping[str, float]
    commands: int  # a script's own included
    calls: int  # what clients sent; a script is one
    bytes_in: int
    bytes_out: int


def read_meters(pids: Mapping[str, int], redis: Any) -> Reading:
    stats = redis.info("stats")
    by_command = redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in by_command.items()}
    return Reading(
        cpu={role: cpu_seconds(pid) for role, pid in pids.items()},
        commands=sum(calls.values()),
        calls=int(stats["total_commands_processed"]),
        bytes_in=int(stats["total_net_input_bytes"]),
        bytes_out=int(stats["total_net_output_bytes"]),
    )
