"""Plays one seed: workers under a supervisor, gateways with callers, and a troublemaker."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import time_machine
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from tests.simulation.books import Asked, Books
from tests.simulation.scenario import (
    ENROLLED,
    GOOD,
    LEASE_TTL,
    NOT_ENROLLED,
    TERMINAL_ID,
    WRONG_PASSWORD,
    Scenario,
    scenario,
    worker_settings,
)
from tests.simulation.store import Link, LinkFaults, SimulatedConnection, SimulatedServer
from tests.simulation.terminal import KNOWN_SYMBOL, Host, SimulatedTerminal, TerminalFaults
from tests.simulation.virtual_time import StuckError, VirtualLoop

from mt5relay_gateway import AccountClient
from mt5relay_gateway.composing import AskOptions
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import Request, encode
from mt5relay_shared.operator import OperatorCommand
from mt5relay_shared.redis_client import client_options
from mt5relay_shared.scripts import COMPLETE
from mt5relay_worker.lease import LeaseLostError
from mt5relay_worker.worker import Worker

EPOCH = 1_800_000_000.0  # wall-clock seconds at the start of every seed
REST_LIMIT = 60.0  # seconds after the last fault until everything has been answered
RECOVERY_LIMIT = 20.0  # seconds after the last fault until a plain look-up succeeds
LIFE_LIMIT = 150.0  # seconds for the whole of a seed
AMBUSH_LIMIT = 3.0  # seconds until a worker that answers nothing is let go
TIMEOUTS = (0.05, 0.3, 1.0, 3.0, 6.0)
AGES = (0.0, 0.0, 0.0, 0.5, 3.0)
STALE_AGES = (0.0, 0.0, 1.0, 3600.0)
OPERATIONS = ("account_info", "account_info", "positions", "orders", "tick", "deals")
HISTORY = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC))
MALFORMED = (
    {"request": b"not json"},
    {"request": b'{"v":1,"id":"malformed-1","account":7,"operation":"tick"}'},
    {"request": b'{"v":1,"id":"malformed-2","account":"nobody","operation":"tick"}'},
    {"request": b'{"v":9,"id":"malformed-3"}'},
    {"something": b"else"},
)


@dataclass
class Result:
    """What came of a seed."""

    seed: int
    digest: str
    violations: list[str]
    outcomes: dict[str, int]
    faults: dict[str, int]
    trace: list[str] = field(default_factory=list[str], repr=False)


@dataclass(frozen=True)
class _Caught:
    """A worker that has looked at its lease and is about to write."""

    link: Link
    command: tuple[Any, ...]


class _Ambush:
    """Freezes the next worker that is about to answer, before what it says has left it."""

    def __init__(self) -> None:
        self._prey: asyncio.Future[_Caught] | None = None

    @property
    def is_laid(self) -> bool:
        return self._prey is not None

    async def catch(self, limit: float) -> _Caught | None:
        """Wait for a worker; None when none has answered anything within `limit` seconds."""
        self._prey = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit):
                return await self._prey
        except TimeoutError:
            return None
        finally:
            self._prey = None

    def springs(self, link: Link, command: tuple[Any, ...]) -> bool:
        if self._prey is None or self._prey.done() or command[:2] != ("EVALSHA", COMPLETE.digest):
            return False
        link.freeze()
        self._prey.set_result(_Caught(link, command))
        return True


class _WorkerLink(Link):
    """A link on which a worker may be caught while it answers."""

    def __init__(
        self,
        server: SimulatedServer,
        name: str,
        faults: LinkFaults,
        luck: random.Random,
        ambush: _Ambush,
    ) -> None:
        super().__init__(server, name, faults, luck)
        self.ambush = ambush

    def connect(
        self, url: str, *, client_name: str, tag: str = "", allow_plaintext: bool = False
    ) -> Redis:
        pool = ConnectionPool(
            connection_class=_WorkerConnection, link=self, **client_options(client_name)
        )
        return Redis.from_pool(pool)


class _WorkerConnection(SimulatedConnection):
    async def send_command(self, *args: Any, **options: Any) -> None:
        link = self._link
        if isinstance(link, _WorkerLink) and link.ambush.springs(link, args):
            await self._or_disconnect(self._stand_still())
        await super().send_command(*args, **options)

    async def _stand_still(self) -> None:
        """What it was about to send is sent by whoever caught it."""
        await self._link.pass_through(0)
        raise RedisConnectionError("cut while the process stood still")


@dataclass
class _Life:
    """One process: it ends with its link."""

    link: Link
    task: asyncio.Task[None]
    worker: Worker | None = None
    terminal: SimulatedTerminal | None = None
    client: AccountClient | None = None

    def kill(self) -> None:
        self.link.sever()
        if self.terminal is not None:
            self.terminal.die()
        self.task.cancel()


class World:
    """Everybody of one seed."""

    def __init__(self, plan: Scenario) -> None:
        self.plan = plan
        self.keys = Keys(TERMINAL_ID)
        self.books = Books(self.keys, EPOCH)
        self.server = SimulatedServer(self.books.command_ran)
        self.host = Host(plan.luck("host"), plan.terminal)
        self._luck = plan.luck("trouble")
        self._links: list[Link] = []
        self._workers: dict[int, _Life] = {}
        self._gateways: dict[int, _Life] = {}
        self._used: list[tuple[str, AccountId, str]] = []
        self._ambush = _Ambush()
        self._finished = asyncio.Event()
        self._healed = False
        loop = asyncio.get_running_loop()
        self._clock = self.books.now = loop.time
        loop.set_exception_handler(self._unhandled)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, StuckError):
            raise error
        self.books.broken(f"unhandled: {context.get('message')}: {error!r}")

    async def live(self) -> None:
        """The whole of it: trouble, rest, recovery, the end."""
        operator = self._link("operator", LinkFaults()).connect("", client_name="operator")
        await operator.hset(self.keys.accounts, mapping={str(a): e for a, e in ENROLLED.items()})
        slots = [asyncio.create_task(self._keep_worker(n)) for n in range(self.plan.workers)]
        gateways = [asyncio.create_task(self._keep_gateway(n)) for n in range(self.plan.gateways)]
        callers = asyncio.create_task(self._call_all())
        await self._make_trouble(operator)
        await callers
        self._heal()
        await self._come_to_rest()
        await self._recover()
        self._finished.set()
        await asyncio.gather(*gateways)
        for life in self._workers.values():
            if life.worker is not None:
                life.worker.stop()
        await asyncio.gather(*slots)
        await operator.aclose()
        self.books.faults.update(self.host.seen)
        self.books.close(self.server.database)

    def _link(self, name: str, faults: LinkFaults) -> Link:
        faults = LinkFaults() if self._healed else faults
        return self._kept(Link(self.server, name, faults, self.plan.luck(f"link {name}")))

    def _worker_link(self, name: str) -> Link:
        faults = LinkFaults() if self._healed else self.plan.links
        luck = self.plan.luck(f"link {name}")
        return self._kept(_WorkerLink(self.server, name, faults, luck, self._ambush))

    def _kept(self, link: Link) -> Link:
        self._links.append(link)
        return link

    # Workers.

    async def _keep_worker(self, slot: int) -> None:
        """A supervisor: starts a new one whenever one ends."""
        luck, number = self.plan.luck(f"supervisor {slot}"), 0
        while not self._finished.is_set():
            link = self._worker_link(f"worker-{slot}.{number}")
            terminal = SimulatedTerminal(self.host)
            worker = Worker(worker_settings(), terminal, connect=link.connect)
            task = asyncio.create_task(worker.run())
            life = self._workers[slot] = _Life(link, task, worker, terminal)
            await self._ended(life)
            life.kill()
            number += 1
            await asyncio.sleep(luck.uniform(0.02, 0.3))

    async def _ended(self, life: _Life) -> None:
        """A worker may end because it must: everything else is a defect."""
        await asyncio.wait({life.task})
        try:
            life.task.result()
        except (LeaseLostError, RedisError, asyncio.CancelledError) as end:
            self.books.note(f"{life.link.name} ended: {type(end).__name__}")
        except BaseExceptionGroup as group:
            _, other = group.split((RedisError, LeaseLostError))
            self.books.note(f"{life.link.name} ended: {group!r:.80}")
            if other is not None:
                self.books.broken(f"{life.link.name} died of {_leaves(other)}")
        except Exception as error:  # whatever it is, the judge wants to know
            self.books.broken(f"{life.link.name} died of {error!r}")

    # Gateways and their callers.

    async def _keep_gateway(self, slot: int) -> None:
        number = 0
        while not self._finished.is_set():
            link = self._link(f"gw-{slot}.{number}", self.plan.links)
            task = asyncio.create_task(self._gateway(slot, link))
            life = self._gateways[slot] = _Life(link, task)
            await asyncio.wait({task})
            life.kill()
            number += 1
            await asyncio.sleep(0.1)

    async def _gateway(self, slot: int, link: Link) -> None:
        name = link.name.replace(".", "-")
        client = AccountClient(terminal=TERMINAL_ID, name=name, timeout=2.0, connect=link.connect)
        try:
            await client.open()
        except MT5Error:
            return
        self._gateways[slot].client = client
        try:
            await self._finished.wait()
        finally:
            self._gateways[slot].client = None
            await client.aclose()

    async def _call_all(self) -> None:
        luck = self.plan.luck("callers")
        async with asyncio.TaskGroup() as calls:
            for number in range(self.plan.calls):
                await asyncio.sleep(luck.expovariate(self.plan.calls / self.plan.length))
                living = [life for life in self._gateways.values() if life.client is not None]
                if living:
                    life = luck.choice(living)
                    calls.create_task(self._call(life, number, luck))

    async def _call(self, life: _Life, number: int, luck: random.Random) -> None:
        """One caller; when its gateway is killed it is not heard of again."""
        asked, options = self._question(number, luck)
        self.books.calls(asked)
        assert life.client is not None
        look_up = self._look_up(life.client, asked, options, luck)
        call = asyncio.create_task(look_up)
        await asyncio.wait({call, life.task}, return_when=asyncio.FIRST_COMPLETED)
        if not call.cancel():
            call.result()

    def _question(self, number: int, luck: random.Random) -> tuple[Asked, AskOptions]:
        request_id, is_first = f"request-{number}", True
        account = luck.choice((*GOOD, *GOOD, WRONG_PASSWORD, NOT_ENROLLED))
        operation = luck.choice(OPERATIONS)
        if self._used and luck.random() < 0.15:
            request_id, account, operation = luck.choice(self._used)
            is_first = False
        self._used.append((request_id, account, operation))
        timeout, max_age = luck.choice(TIMEOUTS), luck.choice(AGES)
        stale_if_error = luck.choice(STALE_AGES)
        asked = Asked(
            request_id, account, operation, self._clock(), timeout, max_age, stale_if_error,
            is_first,
        )  # fmt: skip
        options = AskOptions(
            timeout=timeout, max_age=max_age, stale_if_error=stale_if_error, request_id=request_id
        )
        return asked, options

    async def _look_up(
        self, client: AccountClient, asked: Asked, options: AskOptions, luck: random.Random
    ) -> None:
        try:
            answer = await self._ask(client, asked, options, luck)
        except MT5Error as error:
            self.books.refused(asked, error)
        else:
            self.books.answered(asked, answer)

    async def _ask(
        self, client: AccountClient, asked: Asked, options: AskOptions, luck: random.Random
    ) -> Any:
        match asked.operation:
            case "tick":
                symbol = KNOWN_SYMBOL if luck.random() < 0.8 else "UNKNOWN"
                return await client.tick(asked.account, symbol, **options)
            case "deals":
                return await client.deals(asked.account, *HISTORY, **options)
            case name:
                return await getattr(client, name)(asked.account, **options)

    # Trouble.

    async def _make_trouble(self, operator: Any) -> None:
        async with asyncio.TaskGroup() as under_way:
            for at, trouble in self.plan.troubles:
                await asyncio.sleep(max(0.0, at - self._clock()))
                self.books.note(f"trouble {trouble}")
                self.books.faults[trouble] += 1
                under_way.create_task(getattr(self, f"_{trouble}")(operator))

    async def _kill_worker(self, _: Any) -> None:
        self._luck.choice(list(self._workers.values())).kill()

    async def _freeze_worker(self, _: Any) -> None:
        life = self._luck.choice(list(self._workers.values()))
        life.link.freeze()
        await asyncio.sleep(self._luck.uniform(0.2, 2.5 * LEASE_TTL))
        life.link.thaw()

    async def _freeze_at_complete(self, _: Any) -> None:
        """The process stands still between its look at the lease and the write, for longer than
        the lease lives; the write arrives then, whatever became of who wrote it."""
        if self._ambush.is_laid:
            return
        caught = await self._ambush.catch(AMBUSH_LIMIT)
        if caught is None:
            return
        self.books.faults["caught_at_complete"] += 1
        await asyncio.sleep(self._luck.uniform(1.0, 2.5) * LEASE_TTL)
        late: Any = self._link(caught.link.name, LinkFaults()).connect("", client_name="late")
        with contextlib.suppress(RedisError):
            await late.execute_command(*caught.command)
        await late.aclose()
        caught.link.thaw()

    async def _stop_worker(self, _: Any) -> None:
        life = self._luck.choice(list(self._workers.values()))
        if life.worker is not None:
            life.worker.stop()

    async def _kill_gateway(self, _: Any) -> None:
        self._luck.choice(list(self._gateways.values())).kill()

    async def _flush_scripts(self, operator: Any) -> None:
        with contextlib.suppress(RedisError):
            await operator.script_flush()

    async def _outage(self, _: Any) -> None:
        self.server.is_down = True
        await asyncio.sleep(self._luck.uniform(0.05, 1.5 * LEASE_TTL))
        self.server.is_down = False

    async def _broker_outage(self, _: Any) -> None:
        self.host.is_linked_to_broker = False
        await asyncio.sleep(self._luck.uniform(0.1, 2.0))
        self.host.is_linked_to_broker = True

    async def _malformed_entry(self, operator: Any) -> None:
        await self._plain_xadd(operator, self._luck.choice(MALFORMED))

    async def _plain_request(self, operator: Any) -> None:
        """From a client in another language; sometimes with an id that is taken."""
        account, operation = self._luck.choice(GOOD), "positions"
        request_id = f"plain-{self._luck.randint(1, 3)}"
        if self._used and self._luck.random() < 0.5:
            request_id, account, operation = self._luck.choice(self._used)
        arguments: dict[str, Any] = {"symbol": KNOWN_SYMBOL} if operation == "tick" else {}
        request = Request(
            id=request_id,
            account=str(account),
            operation=operation,
            arguments=arguments,
            timeout_ms=self._luck.choice((1, 200, 3000)),
        )
        await self._plain_xadd(operator, {"request": encode(request)})

    async def _plain_xadd(self, operator: Any, fields: dict[str, bytes]) -> None:
        with contextlib.suppress(RedisError):
            await operator.xadd(self.keys.requests, fields)

    async def _command(self, operator: Any) -> None:
        command = OperatorCommand(
            "a-command", self._luck.choice(("breaker.reset", "breaker.probe"))
        )
        with contextlib.suppress(RedisError):
            await operator.xadd(self.keys.commands, {"command": msgspec.json.encode(command)})

    # The end.

    def _heal(self) -> None:
        self._healed = True
        self.host.faults = TerminalFaults()
        for link in self._links:
            link.faults = LinkFaults()
        self.books.note("healed")

    async def _come_to_rest(self) -> None:
        """Everything that was accepted is answered, and nothing is left in the stream."""
        until = self._clock() + REST_LIMIT
        while self._clock() < until:
            stream = self.server.database.get(self.keys.requests.encode())
            if stream is None or not len(stream.value):
                return
            await asyncio.sleep(0.1)
        self.books.broken("requests still wait long after the last fault")

    async def _recover(self) -> None:
        """A plain look-up works again, without anybody's help."""
        until, number = self._clock() + RECOVERY_LIMIT, 0
        while self._clock() < until:
            client = next((one.client for one in self._gateways.values() if one.client), None)
            if client is not None:
                with contextlib.suppress(MT5Error):
                    await client.account_info(GOOD[0], timeout=2.0, request_id=f"last-{number}")
                    return
            number += 1
            await asyncio.sleep(0.2)
        self.books.broken(f"no plain look-up succeeds {RECOVERY_LIMIT:g} s after the last fault")


def _leaves(group: BaseExceptionGroup[BaseException]) -> str:
    found: list[str] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found.append(_leaves(cast("BaseExceptionGroup[BaseException]", error)))
        else:
            found.append(repr(error))
    return ", ".join(found)


def play(seed: int) -> Result:
    """Play one seed in this process, whose `random` and clock belong to it meanwhile."""
    random.seed(seed)  # the jitter of what is tested
    plan = scenario(seed)
    with (
        time_machine.travel(EPOCH, tick=False) as traveller,
        asyncio.Runner(loop_factory=lambda: VirtualLoop(traveller.shift)) as runner,
    ):
        books = runner.run(_played(plan))
    return Result(
        seed, books.digest, books.violations, dict(books.outcomes), dict(books.faults), books.trace
    )


async def _played(plan: Scenario) -> Books:
    world = World(plan)
    try:
        async with asyncio.timeout(LIFE_LIMIT):
            await world.live()
    except TimeoutError:
        world.books.broken(f"somebody never ends: {_where_they_are()}")
    return world.books


def _where_they_are() -> list[str]:
    """The innermost line of each task, for a person."""
    found: list[str] = []
    for task in asyncio.all_tasks():
        stack = task.get_stack(limit=3)
        if stack and task is not asyncio.current_task():
            found.append(f"{task.get_name()} {stack[-1].f_code.co_qualname}:{stack[-1].f_lineno}")
    return sorted(found)
