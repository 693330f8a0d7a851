"""`mt5relay demo`: a store, a worker with a simulated terminal, and backends that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import signal
import sys
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, Protocol

from cyclopts import Parameter
from rich.live import Live

from mt5relay_gateway.batch import RedisInterruptedError
from mt5relay_gateway.cli.answer_views import answer_view
from mt5relay_gateway.cli.demo_book import DemoAccount, read_book, write_book
from mt5relay_gateway.cli.demo_faults import (
    faults_named,
    fields_of,
    read_profile,
    with_wrong_password,
    write_faults,
)
from mt5relay_gateway.cli.demo_faults import list_faults as print_faults
from mt5relay_gateway.cli.demo_page import demo_page
from mt5relay_gateway.cli.demo_store import DemoStore, Owner, demo_store
from mt5relay_gateway.cli.demo_traffic import Backends, Look, ask_everything
from mt5relay_gateway.cli.demo_worker import DemoWorker, WorkerFiles, make_key, running_worker
from mt5relay_gateway.cli.exits import FAILURE, OK, CommandError
from mt5relay_gateway.cli.live import Board, board_view, utc_now
from mt5relay_gateway.cli.output import AsJson, console, print_json, print_view
from mt5relay_gateway.operating.connection import account_client, redis_commands
from mt5relay_gateway.operating.enrolment import Enrolment, check_pin
from mt5relay_gateway.operating.health import read_health
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import MT5Error, MT5ValidationError, RedisUnavailableError
from mt5relay_shared.health import Health
from mt5relay_shared.settings import load_settings

START_LIMIT = 60.0  # seconds until the worker must have spoken
POLL = 0.05  # seconds
REFRESH = 0.25  # seconds
SHOWN_ONCE = 3  # accounts


def demo(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    accounts: Path | None = None,
    count: int = 25,
    speed: float = 5.0,
    fault: list[str] | None = None,
    profile: Path | None = None,
    list_faults: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Show everything at work without a terminal or a broker, until Ctrl-C.

    The store is REDIS_URL where it is set, else one that is started for the demonstration. Nothing
    that was started is left afterwards. With the extra `http` it has a page.

    Args:
        once: Ask everything once for three accounts, print the answers, and end.
        accounts: A JSON file of accounts, as deploy/accounts.sample.json.
        count: How many accounts to make up where no file is given.
        speed: Divides the simulated terminal's latencies; 1 is as slow as a real one, 0 has none.
        fault: What goes wrong on the terminal; may be given several times.
        profile: A report of `mt5relay-worker probe`; its latencies take the place of the assumed.
        list_faults: Name everything that --fault knows, and end.
        as_json: Print JSON, one answer a line.
    """
    if not 0 <= speed <= 1_000_000:
        raise MT5ValidationError(f"--speed: {speed} is not between 0 and 1000000")
    if list_faults:
        print_faults(as_json=as_json)
        return OK
    trouble = Trouble(fault or (), {} if profile is None else read_profile(profile))
    reporter: Reporter = JsonReporter() if as_json else TextReporter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        scene = _set_up(stack, accounts, count, speed, trouble=trouble, reporter=reporter)
        return asyncio.run(_play_once(scene, reporter) if once else _play(scene, reporter))


class Trouble:
    """What is to go wrong on the terminal, and how slow it is."""

    def __init__(self, names: Sequence[str], profile: dict[str, Any]) -> None:
        self._names = names
        self._faults = faults_named(names)
        self._fields = fields_of(self._faults, profile)

    def prepare(self, file: Path, reporter: Reporter) -> None:
        """Write the terminal's file of faults; one that is not there has none."""
        if self._fields:
            write_faults(file, self._fields)
        if self._fields or self._names:
            reporter.started("faults", file=str(file), names=" ".join(self._names) or "none")

    def enrolled(self, accounts: Sequence[DemoAccount]) -> Sequence[DemoAccount]:
        """The accounts with the passwords that are enrolled."""
        is_wrong = any(fault.needs_wrong_password for fault in self._faults)
        return with_wrong_password(accounts) if is_wrong else accounts


@dataclass(frozen=True)
class Scene:
    """Everything that was started."""

    store: DemoStore
    settings: GatewaySettings
    accounts: Sequence[DemoAccount]
    key_id: str
    worker: DemoWorker


class Reporter(Protocol):
    """How a demonstration speaks: in lines and tables, or in JSON."""

    def started(self, event: str, **details: str | int) -> None: ...

    def once(self, looks: Sequence[Look]) -> None: ...

    @contextlib.contextmanager
    def running(self, scene: Scene) -> Generator[Screen]: ...


class Screen(Protocol):
    """What a running demonstration keeps up to date."""

    def show(self, looks: Sequence[Look], health: Health | None) -> None: ...


class JsonReporter:
    """One JSON object a line."""

    def started(self, event: str, **details: str | int) -> None:
        print_json({"event": event, **details})

    def once(self, looks: Sequence[Look]) -> None:
        for look in looks:
            print_json(look.fields())

    @contextlib.contextmanager
    def running(self, scene: Scene) -> Generator[Screen]:
        yield self

    def show(self, looks: Sequence[Look], health: Health | None) -> None:
        self.once(looks)


class TextReporter:
    """Lines and tables."""

    def started(self, event: str, **details: str | int) -> None:
        described = (f"{name.replace('_', ' ')} {detail}" for name, detail in details.items())
        print(f"{event}: {', '.join(described)}", flush=True)

    def once(self, looks: Sequence[Look]) -> None:
        for look in looks:
            if isinstance(look.result, MT5Error):
                print(f"{look.operation} of {look.account}: {look.result.code}: {look.result}")
            else:
                print_view(answer_view(look.result))

    @contextlib.contextmanager
    def running(self, scene: Scene) -> Generator[Screen]:
        board = Board(one.account for one in scene.accounts)
        with Live(console=console(), auto_refresh=False) as live:
            yield LiveScreen(board, live)


class LiveScreen:
    """A table that is drawn anew in place."""

    def __init__(self, board: Board, live: Live) -> None:
        self._board = board
        self._live = live

    def show(self, looks: Sequence[Look], health: Health | None) -> None:
        for look in looks:
            self._board.saw(look)
        self._live.update(board_view(self._board, health, utc_now()), refresh=True)


def _set_up(
    stack: contextlib.ExitStack,
    book: Path | None,
    count: int,
    speed: float,
    *,
    trouble: Trouble,
    reporter: Reporter,
) -> Scene:
    """Start store and worker. They end in the opposite order, whatever happens."""
    given = load_settings(GatewaySettings)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mt5relay-demo-")))
    files = WorkerFiles(directory, book or _made_up(directory, count))
    accounts = trouble.enrolled(read_book(files.book))
    store = stack.enter_context(demo_store(given))
    settings = _settings_for(store, given)
    reporter.started("store", origin=store.origin, terminal=settings.terminal_id)
    if store.owner is Owner.USER:
        asyncio.run(_check_that_keys_can_be_found(settings))
        stack.callback(lambda: asyncio.run(_clear_keys(settings)))
    key_id = make_key(files)
    reporter.started("key", key_id=key_id)
    trouble.prepare(files.faults, reporter)
    worker = stack.enter_context(running_worker(files, settings, speed))
    reporter.started("worker", pid=worker.pid, log=str(worker.log))
    return Scene(store, settings, accounts, key_id, worker)


def _made_up(directory: Path, count: int) -> Path:
    path = directory / "accounts.json"
    write_book(path, count)
    return path


def _settings_for(store: DemoStore, given: GatewaySettings) -> GatewaySettings:
    """A terminal of its own, so that a demonstration on a Redis in use disturbs nobody."""
    terminal = f"demo-{secrets.token_hex(4)}" if store.owner is Owner.USER else "demo"
    return given.model_copy(update={"redis_url": store.url, "terminal_id": terminal})


async def _check_that_keys_can_be_found(settings: GatewaySettings) -> None:
    """What can't be found can't be cleared away in the end.

    Raises:
        CommandError: this user of Redis may not look for keys.
        RedisUnavailableError: Redis can't be reached.
    """
    try:
        async with redis_commands(settings) as redis:
            await redis.call("SCAN", 0, "MATCH", f"{settings.keys.tag}:*")
    except RedisInterruptedError:
        raise
    except RedisUnavailableError as error:
        raise CommandError(
            f"{error}; the demonstration clears its keys away in the end and must find them: leave"
            " REDIS_URL unset for a Redis of its own, or name a user in it that may do everything"
        ) from None


async def _clear_keys(settings: GatewaySettings) -> None:
    async with redis_commands(settings) as redis:
        cursor = None
        while cursor != 0:
            cursor, found = await redis.call("SCAN", cursor or 0, "MATCH", f"{settings.keys.tag}:*")
            for key in found:
                await redis.call("UNLINK", key)


async def _play_once(scene: Scene, reporter: Reporter) -> int:
    await _enrol_everybody(scene, reporter)
    async with account_client(scene.settings) as client:
        looks = await ask_everything(client, [one.account for one in scene.accounts[:SHOWN_ONCE]])
    reporter.once(looks)
    return FAILURE if any(isinstance(look.result, MT5Error) for look in looks) else OK


async def _play(scene: Scene, reporter: Reporter) -> NoReturn:
    await _enrol_everybody(scene, reporter)
    accounts = [one.account for one in scene.accounts]
    async with (
        demo_page(scene.settings, scene.key_id) as page,
        account_client(scene.settings) as client,
    ):
        if page is not None:
            curl = f"curl -H 'Cache-Control: max-age=60' {page}/v1/accounts/{accounts[0]}"
            reporter.started("page", address=f"{page}/", ask=curl)
        backends = Backends(client, accounts, random.Random())
        backends.start()
        try:
            with reporter.running(scene) as screen:
                while True:
                    scene.worker.check()
                    screen.show(backends.take(), await client.health())
                    await asyncio.sleep(REFRESH)
        finally:
            await backends.stop()


async def _enrol_everybody(scene: Scene, reporter: Reporter) -> None:
    async with redis_commands(scene.settings) as redis:
        enrolment = Enrolment(redis, scene.settings.keys)
        try:
            async with asyncio.timeout(START_LIMIT):
                key = await _published_key(scene, enrolment)
                while await read_health(redis, scene.settings.keys) is None:
                    await _pause(scene)
        except TimeoutError:
            raise CommandError(f"the worker was not up within {START_LIMIT:g} s") from None
        check_pin(scene.settings.terminal_id, key, [scene.key_id])
        for one in scene.accounts:
            await enrolment.add(one.account, one.secret, key)
    reporter.started("accounts", enrolled=len(scene.accounts))


async def _published_key(scene: Scene, enrolment: Enrolment) -> SealingKey:
    while (key := await enrolment.find_key()) is None:
        await _pause(scene)
    return key


async def _pause(scene: Scene) -> None:
    scene.worker.check()
    await asyncio.sleep(POLL)


@contextlib.contextmanager
def _ended_by_signals() -> Generator[None]:
    """Clean up also when asked to end otherwise than by Ctrl-C, and in the same way."""
    names = ("SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ended_by: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        ended_by.append(number)
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, end) for number in numbers}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        if not ended_by:
            raise
        sys.exit(128 + ended_by[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
