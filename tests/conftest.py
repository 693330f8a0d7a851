"""What all tests share: event loops in real and virtual time, a real server, fresh keys."""

from __future__ import annotations

import asyncio
import itertools
import os
import selectors
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
import stamina.instrumentation
import structlog
from redis.asyncio import Redis
from tests.leaks.files import hear_files_in
from tests.leaks.processes import watch_arguments
from tests.leaks.witness import WITNESS
from tests.servers import TESTER, AclServer, as_user, everybody_tells, running_server

from mt5relay_gateway.cli.store import NoStoreError
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

_terminals = itertools.count(1)
stamina.instrumentation.set_on_retry_hooks([])  # as the worker's command does
watch_arguments()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start background jobs with SIGINT ignored, and children inherit that: programs under
    # test would then never hear the Ctrl-C that a test sends.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _InstantSelector:
    """Never waits: where nothing is ready, the loop's clock jumps to its next timer."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            return self._real.select(5) or pytest.fail("nothing will ever happen in this loop")
        self.now += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose sleeps take no time and whose clock is exact."""

    def __init__(self) -> None:
        self._virtual = _InstantSelector()
        super().__init__(self._virtual)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._virtual.now


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No secret is in anything that a test said, stored or left, nor in the report of its failure.

    `tests/leaks` tells what is listened to, and what may hold a secret.
    """
    report: pytest.TestReport = yield
    if report.longrepr is not None:
        WITNESS.hear("the report of a failure", report.longreprtext)
    if call.when == "teardown":
        for title, text in report.sections:
            WITNESS.hear(title, text)
        if finds := WITNESS.finds():
            found = "secrets where they must not be:\n" + "\n".join(map(str, finds))
            report.longrepr = f"{report.longreprtext}\n{found}".strip()
            report.outcome = "failed"
    return report


@pytest.fixture(autouse=True)
def expected_refusals(request: pytest.FixtureRequest) -> Iterator[set[tuple[str, str]]]:
    """Nobody is refused anything by `deploy/redis/users.acl`.

    A test that has a user try what it may not adds here the user and what ACL LOG names it.
    """
    expected: set[tuple[str, str]] = set()
    yield expected
    refused = [one for one in everybody_tells() if (one.user, one.what) not in expected]
    if "tmp_path" in request.node.funcargs:
        hear_files_in(request.node.funcargs["tmp_path"])
    assert not refused, "refused by users.acl:\n" + "\n".join(map(str, refused))


@pytest.fixture(autouse=True)
def logs_that_caplog_sees() -> Iterator[None]:
    """A command run in this process configures structlog; the next test must not inherit that."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Real time. A module in virtual time overrides this with `virtual_time_backend`."""
    return ("asyncio", {})


def virtual_time_backend() -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"loop_factory": VirtualTimeLoop})


@pytest.fixture(scope="session")
def server() -> Iterator[AclServer]:
    """A real server. Where there is none the test is skipped, but never in CI."""
    try:
        with running_server() as started:
            yield started
    except NoStoreError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
async def redis(server: AclServer) -> AsyncIterator[Redis]:
    """The tests' own connection, which may do everything."""
    client = connect(as_user(server.url, TESTER), client_name="test")
    yield client
    await client.aclose()


@pytest.fixture
def keys() -> Keys:
    """Keys of a terminal that no other test uses."""
    return Keys(f"test-{os.getpid()}-{next(_terminals)}")
