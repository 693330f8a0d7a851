"""The worker's end of the pipe, against real child processes that behave and misbehave."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import anyio
import pytest
from tests.limits import HANG_LIMIT

from mt5relay_shared.errors import MT5ConnectionError, MT5InitError, MT5TimeoutError
from mt5relay_worker.key_file import write_private_key
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.terminal.protocol import (
    MAX_FRAME_BYTES,
    Detach,
    Done,
    Failed,
    Forget,
    Hello,
    Probe,
    frame,
)

HELLO = Hello("key", "public")
OPTIONS = WorkerSettings(terminal="simulated").terminal_options

# Takes its options and says hello; then answers each command by the next of ANSWERS, and after them
# with silence.
CHILD = """
import sys
answers = [bytes.fromhex(text) for text in sys.argv[1:]]
def say(words):
    sys.stdout.buffer.write(words)
    sys.stdout.buffer.flush()
sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(4), "little"))
say(answers.pop(0))
while prefix := sys.stdin.buffer.read(4):
    sys.stdin.buffer.read(int.from_bytes(prefix, "little"))
    if answers:
        say(answers.pop(0))
        if not answers and {dies}:
            break
"""

GARBAGE = b"\x05\x00\x00\x00?????"
TOO_LONG = (MAX_FRAME_BYTES + 1).to_bytes(4, "little")


class Children(Protocol):
    def __call__(
        self, *answers: bytes, dies: bool = False, start_limit: float = HANG_LIMIT
    ) -> TerminalProcess: ...


def child(*answers: bytes, dies: bool = False) -> list[str]:
    texts = [answer.hex() for answer in answers]
    return [sys.executable, "-c", CHILD.format(dies=dies), *texts]


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    started: list[TerminalProcess] = []

    def make(
        *answers: bytes, dies: bool = False, start_limit: float = HANG_LIMIT
    ) -> TerminalProcess:
        command = child(*answers, dies=dies)
        started.append(TerminalProcess(OPTIONS, start_limit=start_limit, command=command))
        return started[-1]

    yield make
    for process in started:
        await process.stop()


async def test_its_first_words_are_handed_on(children: Children) -> None:
    process = children(frame(HELLO))
    assert not process.is_running
    assert await process.start() == HELLO
    assert process.is_running


async def test_each_command_gets_its_own_answer(children: Children) -> None:
    failure = Failed("NOT_FOUND", "unknown")
    process = children(frame(HELLO), frame(Done()), frame(failure))
    await process.start()
    assert await process.ask(Detach(), HANG_LIMIT) == Done()
    assert await process.ask(Probe(), HANG_LIMIT) == failure


async def test_an_answer_longer_than_any_buffer_is_read_whole(
    children: Children, tmp_path: Path
) -> None:
    answer = Failed("INTERNAL", "x" * 1_000_000)
    big = tmp_path / "answer"
    big.write_bytes(frame(answer))
    script = f"""
import pathlib, sys
for words in (bytes.fromhex({frame(HELLO).hex()!r}), pathlib.Path({str(big)!r}).read_bytes()):
    sys.stdout.buffer.write(words)
    sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""
    process = TerminalProcess(
        OPTIONS, start_limit=HANG_LIMIT, command=[sys.executable, "-c", script]
    )
    await process.start()
    assert await process.ask(Probe(), HANG_LIMIT) == answer
    await process.stop()


# Starting


psutil: Any = importlib.import_module("psutil")  # ships no types


class Others:
    """The children that this process has already, so that a test can tell its own from them."""

    def __init__(self) -> None:
        self._before = set(psutil.Process().children())

    def left(self) -> list[Any]:
        return [one for one in psutil.Process().children() if one not in self._before]


async def test_a_process_that_was_prepared_is_the_one_that_is_used(children: Children) -> None:
    process = children(frame(HELLO), frame(Done()))
    others = Others()
    await process.prepare()
    await process.prepare()
    assert not process.is_running
    (prepared,) = others.left()
    assert await process.start() == HELLO
    assert process.pid == prepared.pid
    assert await process.ask(Detach(), HANG_LIMIT) == Done()
    assert others.left() == [prepared]


async def test_a_prepared_process_that_died_is_replaced(children: Children) -> None:
    process = children(frame(HELLO))
    others = Others()
    await process.prepare()
    (prepared,) = others.left()
    prepared.kill()
    await asyncio.to_thread(prepared.wait, 10)
    await asyncio.sleep(0.1)  # until the event loop has been told
    assert await process.start() == HELLO
    assert process.pid != prepared.pid


async def test_a_prepared_process_that_is_not_needed_is_ended(children: Children) -> None:
    process = children(frame(HELLO))
    others = Others()
    await process.prepare()
    (prepared,) = others.left()
    await process.stop()
    assert not prepared.is_running()


async def test_a_process_that_ends_at_once_did_not_start() -> None:
    process = TerminalProcess(
        OPTIONS, start_limit=HANG_LIMIT, command=[sys.executable, "-c", "pass"]
    )
    with pytest.raises(MT5InitError):
        await process.start()
    assert not process.is_running


async def test_a_process_that_says_nothing_in_time_did_not_start(children: Children) -> None:
    process = children(b"", start_limit=0.3)
    with pytest.raises(MT5InitError):
        await process.start()
    assert not process.is_running


async def test_a_process_that_does_not_begin_with_hello_did_not_start(children: Children) -> None:
    process = children(frame(Done()))
    with pytest.raises(MT5InitError, match="Done"):
        await process.start()


async def test_a_process_that_says_why_it_does_not_start_is_quoted(children: Children) -> None:
    process = children(frame(Failed("MT5_INIT_FAILED", "private key: no file worker.key")))
    with pytest.raises(MT5InitError, match=r"no file worker\.key"):
        await process.start()


async def test_starting_anew_ends_the_earlier_process(children: Children) -> None:
    process = children(frame(HELLO))
    await process.start()
    first = process.pid
    await process.start()
    assert process.pid not in (None, first)
    assert first is not None
    assert has_ended(first)


# Dying, hanging, talking nonsense


async def test_a_process_that_dies_during_a_call_is_a_lost_connection(children: Children) -> None:
    process = children(frame(HELLO), b"", dies=True)
    await process.start()
    with pytest.raises(MT5ConnectionError):
        await process.ask(Probe(), HANG_LIMIT)
    assert not process.is_running


async def test_a_process_that_was_killed_can_be_started_again(children: Children) -> None:
    process = children(frame(HELLO), frame(Done()))
    await process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    with pytest.raises(MT5ConnectionError):
        await process.ask(Probe(), HANG_LIMIT)
    await process.start()
    assert await process.ask(Probe(), HANG_LIMIT) == Done()


async def test_a_call_past_its_limit_is_ended_with_its_process(children: Children) -> None:
    process = children(frame(HELLO))
    await process.start()
    pid = process.pid
    with anyio.fail_after(HANG_LIMIT), pytest.raises(MT5TimeoutError, match=r"0\.2 s"):
        await process.ask(Probe(), 0.2)
    assert not process.is_running
    assert pid is not None
    assert has_ended(pid)


@pytest.mark.parametrize("nonsense", [GARBAGE, TOO_LONG, frame(HELLO)[:-1]])
async def test_nonsense_is_a_lost_connection(children: Children, nonsense: bytes) -> None:
    process = children(frame(HELLO), nonsense, dies=True)
    await process.start()
    with pytest.raises(MT5ConnectionError):
        await process.ask(Probe(), HANG_LIMIT)
    assert not process.is_running


async def test_a_process_that_was_never_started_cannot_be_asked(children: Children) -> None:
    with pytest.raises(MT5ConnectionError):
        await children(frame(HELLO)).ask(Probe(), HANG_LIMIT)


async def test_an_answer_to_nobody_is_never_taken_for_the_next(children: Children) -> None:
    process = children(frame(HELLO), b"", frame(Done()))
    await process.start()
    with anyio.move_on_after(0.2):
        await process.ask(Probe(), HANG_LIMIT)
    with pytest.raises(MT5ConnectionError):
        await process.ask(Detach(), HANG_LIMIT)


async def test_a_question_that_is_not_taken_is_bounded_too() -> None:
    """The process reads nothing, and the question is larger than the pipe."""
    deaf = f"import sys, time; sys.stdout.buffer.write(bytes.fromhex({frame(HELLO).hex()!r}))"
    deaf += "; sys.stdout.buffer.flush(); time.sleep(60)"
    process = TerminalProcess(OPTIONS, start_limit=HANG_LIMIT, command=[sys.executable, "-c", deaf])
    await process.start()
    accounts = [(login, "Broker") for login in range(100_000)]
    with anyio.fail_after(HANG_LIMIT), pytest.raises(MT5TimeoutError):
        await process.ask(Forget(accounts), 0.3)


# Ending


async def test_closing_the_pipe_ends_it_gently(
    children: Children, caplog: pytest.LogCaptureFixture
) -> None:
    process = children(frame(HELLO))
    await process.start()
    pid = process.pid
    await process.stop()
    assert "terminal.process.ended" not in caplog.text  # as it says of one that it kills
    assert pid is not None
    assert has_ended(pid)


async def test_stopping_twice_is_no_error(children: Children) -> None:
    process = children(frame(HELLO))
    await process.start()
    await process.stop()
    await process.stop()


async def test_its_repr_shows_its_pid(children: Children) -> None:
    process = children(frame(HELLO))
    assert repr(process) == "<TerminalProcess pid=None>"
    await process.start()
    assert repr(process) == f"<TerminalProcess pid={process.pid}>"


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no interrupt to another process")
async def test_an_interrupt_from_the_console_leaves_the_terminal_process_alone(
    simulated: TerminalProcess,
) -> None:
    await simulated.start()
    assert simulated.pid is not None
    os.kill(simulated.pid, signal.SIGINT)
    assert await simulated.ask(Forget([]), HANG_LIMIT) == Done()


async def test_the_projects_own_process_ends_when_its_pipe_closes(
    simulated: TerminalProcess, caplog: pytest.LogCaptureFixture
) -> None:
    await simulated.start()
    await simulated.stop()
    assert "terminal.process.ended" not in caplog.text
    assert not simulated.is_running


@pytest.fixture
async def simulated(tmp_path: Path) -> AsyncIterator[TerminalProcess]:
    """The project's own terminal process, on the simulator."""
    key, book = tmp_path / "worker.key", tmp_path / "book.json"
    write_private_key(key)
    book.write_text('{"servers": [], "accounts": []}')
    settings = WorkerSettings(terminal="simulated", simulator_book=book, private_key_file=key)
    process = TerminalProcess(settings.terminal_options, start_limit=HANG_LIMIT)
    yield process
    await process.stop()


def has_ended(pid: int) -> bool:
    """Whether a process, waited for by its parent, is gone."""
    try:
        os.kill(pid, 0 if os.name == "posix" else signal.SIGTERM)
    except OSError:  # Windows says "access denied" or "invalid parameter"
        return True
    return False
