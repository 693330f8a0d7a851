"""What callers see when a worker is replaced by one that stood by: nothing."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.limits import HANG_LIMIT
from tests.system.rolling import HAND_OVER_LIMIT, LASTING, hand_over, steady_load

if TYPE_CHECKING:
    from tests.system.conftest import System

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
]


async def test_two_workers_take_turns_and_no_caller_sees_an_error(system: System) -> None:
    """On one host and with one terminal program, whose lock the second can't have before it is the
    first one's no more."""
    shared = {**LASTING, "MT5_TERMINAL_PATH": str(system.directory / "terminal64.exe")}
    worker = await system.start(**shared)
    async with system.client(timeout=HANG_LIMIT) as client, steady_load(client, system) as load:
        for _ in range(3):
            worker, measured = await hand_over(
                system, worker, load, partial(system.start_worker, **shared)
            )
            sys.stdout.write(f"{measured}\n")
            assert load.errors == []
            assert worker.events("lease.acquired")[-1]["charged"] == ""  # to stop is no crash
            assert measured.total < HAND_OVER_LIMIT
            assert measured.without_answer < HAND_OVER_LIMIT
