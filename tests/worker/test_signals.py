"""How a process is asked to stop: by a signal, or by the end of its standard input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.limits import HANG_LIMIT

CHILD = """
import asyncio
from mt5relay_worker.signals import stop_on_end_of_input, stop_on_signals

async def main():
    stopped = asyncio.Event()
    if {ends_with_input}:
        stop_on_end_of_input(stopped.set)
    with stop_on_signals(stopped.set):
        print("ready", flush=True)
        await stopped.wait()
    print("graceful", flush=True)

asyncio.run(main())
"""

posix_only = pytest.mark.skipif(
    os.name != "posix", reason="on Windows no signal reaches just one other process"
)

Child = subprocess.Popen[str]


@pytest.fixture
def start() -> Iterator[Callable[[bool], Child]]:
    started: list[Child] = []

    def start_one(ends_with_input: bool) -> Child:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(ends_with_input=ends_with_input)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    yield start_one
    for child in started:
        child.kill()
        child.wait(HANG_LIMIT)
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()


@posix_only
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_asks_for_a_graceful_stop(start: Callable[[bool], Child], name: str) -> None:
    child = start(False)
    child.send_signal(getattr(signal, name))
    assert child.wait(HANG_LIMIT) == 0
    assert child.stdout is not None
    assert child.stdout.read() == "graceful\n"


def test_the_end_of_standard_input_asks_for_a_graceful_stop(
    start: Callable[[bool], Child],
) -> None:
    child = start(True)
    assert child.stdin is not None
    child.stdin.write("what is written is not read\n")
    child.stdin.flush()
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(HANG_LIMIT) == 0


def test_who_did_not_ask_for_it_outlives_its_standard_input(start: Callable[[bool], Child]) -> None:
    child = start(False)
    assert child.stdin is not None
    child.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
