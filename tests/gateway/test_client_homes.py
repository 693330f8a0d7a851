"""Where a client may be used, and what becomes of one that is left open: in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from tests.limits import HANG_LIMIT
from tests.servers import AclServer

pytestmark = pytest.mark.integration

PROLOGUE = """
import asyncio, os, sys, threading, time, warnings
from mt5relay_gateway import AccountClient, BlockingAccountClient, FleetClient, MT5StateError
url, terminal = os.environ["SERVER"], "main"
A = "1@S"

def told(call, *words, **more):
    began = time.monotonic()
    try:
        call(*words, **more)
    except MT5StateError as error:
        print("told:", error)
    print("slow" if time.monotonic() - began > 20 else "at once")
"""


def run(server: AclServer, program: str, *options: str) -> Any:
    """Run a script as its user would; a script that does not end fails the test."""
    return subprocess.run(
        [sys.executable, *options, "-c", PROLOGUE + program],
        env={**os.environ, "SERVER": server.url},
        capture_output=True,
        text=True,
        timeout=HANG_LIMIT,
        check=False,
    )


def test_a_script_that_forgets_to_close_its_client_ends(server: AclServer) -> None:
    ended = run(
        server,
        """
async def main():
    client = AccountClient(url, terminal=terminal)
    await client.open()
    print(await client.health())

asyncio.run(main())
""",
        "-Wdefault",
    )
    assert (ended.returncode, ended.stdout) == (0, "None\n")
    assert "ResourceWarning: unclosed <AccountClient" in ended.stderr


def test_a_script_that_raises_with_an_open_client_shows_its_own_exception(
    server: AclServer,
) -> None:
    ended = run(
        server,
        """
async def main():
    client = AccountClient(url, terminal=terminal)
    await client.open()
    await client.health()
    raise ZeroDivisionError("the script's own")

asyncio.run(main())
""",
    )
    assert ended.returncode == 1
    assert "ZeroDivisionError: the script's own" in ended.stderr


@pytest.mark.parametrize("end", ["", "raise ZeroDivisionError('own')"])
def test_a_blocking_client_left_open_keeps_no_process(server: AclServer, end: str) -> None:
    program = f"""
client = BlockingAccountClient(url, terminal=terminal)
client.open()
print(client.health())
{end}
"""
    ended = run(server, program)
    assert (ended.returncode, ended.stdout) == (1 if end else 0, "None\n")
    assert ("ZeroDivisionError: own" in ended.stderr) is bool(end)


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_a_client_opened_before_a_fork_says_so_in_the_child(server: AclServer) -> None:
    """As with gunicorn --preload, uWSGI without lazy-apps, or Celery's prefork pool."""
    ended = run(
        server,
        """
client = BlockingAccountClient(url, terminal=terminal)
client.open()
child = os.fork()
if child == 0:
    told(client.health)
    client.close()
    with BlockingAccountClient(url, terminal=terminal) as own:
        print("own:", own.health())
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print("parent:", client.health())
client.close()
""",
    )
    assert "told: the client was opened before this process was forked" in ended.stdout
    assert "slow" not in ended.stdout
    assert "own: None" in ended.stdout
    assert "parent: None" in ended.stdout
    assert ended.returncode == 0, ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_an_asyncio_client_opened_before_a_fork_says_so_in_the_child(server: AclServer) -> None:
    ended = run(
        server,
        """
async def child(client):
    try:
        await client.positions(A)
    except MT5StateError as error:
        print("told:", error)
    await client.aclose()

async def main():
    client = AccountClient(url, terminal=terminal)
    await client.open()
    return client

loop = asyncio.new_event_loop()
client = loop.run_until_complete(main())
if (pid := os.fork()) == 0:
    asyncio.run(child(client))
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
loop.run_until_complete(client.aclose())
""",
    )
    assert "told: the client was opened before this process was forked" in ended.stdout
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("kind", ["AccountClient(url, terminal=terminal)", "FleetClient(url)"])
def test_a_client_of_another_event_loop_says_so_at_once(server: AclServer, kind: str) -> None:
    ended = run(
        server,
        f"""
async def main():
    client = {kind}
    await client.open()
    def other():
        told(asyncio.run, client.positions(A))
    thread = threading.Thread(target=other)
    thread.start()
    await asyncio.to_thread(thread.join)
    await client.aclose()
    return client

client = asyncio.run(main())
told(asyncio.run, client.positions(A))
""",
    )
    assert "told: the client was opened on another event loop" in ended.stdout
    assert "slow" not in ended.stdout
    assert ended.returncode == 0, ended.stderr


def test_asyncio_may_be_run_twice_with_a_client_each(server: AclServer) -> None:
    ended = run(
        server,
        """
async def main():
    async with AccountClient(url, terminal=terminal) as client:
        print(await client.health())

asyncio.run(main())
asyncio.run(main())
""",
    )
    assert (ended.returncode, ended.stdout) == (0, "None\nNone\n")


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist there")
def test_uvloop_may_run_it(server: AclServer) -> None:
    ended = run(
        server,
        """
import uvloop
async def main():
    async with AccountClient(url, terminal=terminal) as client:
        print(await client.health())
uvloop.run(main())
""",
    )
    assert (ended.returncode, ended.stdout) == (0, "None\n")


def test_without_asyncio_it_is_refused_clearly(server: AclServer) -> None:
    """As under trio: a coroutine that another library drives."""
    ended = run(
        server,
        """
told(AccountClient(url, terminal=terminal).open().send, None)
""",
    )
    assert "told: no asyncio event loop runs here" in ended.stdout


def test_a_blocking_client_is_shared_by_threads_and_works_in_a_running_loop(
    server: AclServer,
) -> None:
    """As in a notebook, whose cells run inside an event loop."""
    ended = run(
        server,
        """
from concurrent.futures import ThreadPoolExecutor

async def cell():
    with BlockingAccountClient(url, terminal=terminal) as client:
        with ThreadPoolExecutor(8) as pool:
            print([one.result() for one in [pool.submit(client.health) for _ in range(8)]])

asyncio.run(cell())
""",
    )
    assert (ended.returncode, ended.stdout) == (0, f"{[None] * 8}\n")
