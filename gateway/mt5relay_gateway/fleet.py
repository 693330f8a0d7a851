"""The client of several terminals: each request goes to the terminal that serves its account."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeVar, Unpack

from mt5relay_gateway.answers import AccountSnapshot, Answer
from mt5relay_gateway.batch import CommandBatch, answered_within
from mt5relay_gateway.client import AccountClient, checked_limit
from mt5relay_gateway.composing import (
    AskOptions,
    check_connection,
    check_gateway_name,
    check_request_id,
    parsed_account,
    timeout_as_ms,
)
from mt5relay_gateway.home import Home, warn_unclosed
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_gateway.registry import RegistryReader, RegistryView
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import (
    AccountUnknownError,
    DeadlineExceededError,
    MT5DataError,
    MT5StateError,
    NoWorkerError,
    RedisUnavailableError,
)
from mt5relay_shared.fleet import Fleet
from mt5relay_shared.health import Health, Status
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.keys import FleetKeys
from mt5relay_shared.logs import get_logger
from mt5relay_shared.messages import DEFAULT_TIMEOUT_MS
from mt5relay_shared.operations import Operation
from mt5relay_shared.redis_client import Connect, connect

KEPT_IDS = 10_000  # submitted requests whose terminal is remembered; for older ones all are asked
_SEVERITY = {Status.OK: 0, Status.DEGRADED: 1, Status.DOWN: 2}

T = TypeVar("T")
Call = Callable[[AccountLookups, AskOptions], Awaitable[T]]

logger = get_logger(__name__)


class FleetClient(AccountLookups):
    """Asks the workers of all registered terminals, over one `AccountClient` for each.

    The registry is looked at once a second while somebody asks, and at once when a terminal has no
    worker or does not know the account; where the account has moved, it is asked at its new
    terminal. A terminal that is merely down keeps its accounts: only an operator moves them.

    A request id means one request at one terminal: asked again after its account has moved, it is
    a new request.
    """

    def __init__(
        self,
        redis_url: str = "redis://127.0.0.1:6379/0",
        *,
        key_prefix: str = "mt5",
        name: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_MS / 1000,
        queue_limit: int = 10_000,
        gateway_limit: int = 0,
        allow_plaintext: bool = False,
        connect: Connect = connect,
    ) -> None:
        """Prepare a client; `open()` connects. Parameters as of `AccountClient`.

        Args:
            redis_url: where the registry and all terminals' keys are.
            key_prefix: the first part of every key, as the workers have it.
            name: the gateway's name in Redis, unique among living clients; default: made up.
            timeout: seconds for look-ups that name none.
            queue_limit: refuse when so many requests wait at the account's terminal; 0: no limit.
            gateway_limit: refuse when so many of this gateway's wait there; 0: only its share.
            allow_plaintext: whether a Redis on another machine may be reached without TLS.
            connect: makes the Redis clients; for simulations.

        Raises:
            MT5ValidationError: naming the parameter and what it should be.
        """
        timeout_as_ms(timeout)
        check_connection("redis_url", redis_url, allow_plaintext)
        checked_limit("queue_limit", queue_limit)
        checked_limit("gateway_limit", gateway_limit)
        self._timeout = timeout
        self._name = check_gateway_name(name or f"gw-{new_request_id()[-12:].lower()}")

        def client_of(terminal: str) -> AccountClient:
            return AccountClient(
                redis_url,
                terminal=terminal,
                key_prefix=key_prefix,
                name=self._name,
                timeout=timeout,
                queue_limit=queue_limit,
                gateway_limit=gateway_limit,
                allow_plaintext=allow_plaintext,
                connect=connect,
            )

        self._clients = _Clients(client_of)
        keys = FleetKeys(key_prefix)
        self._batch = CommandBatch(
            connect(
                redis_url,
                client_name=f"mt5relay-{self._name}-registry",
                tag=keys.tag,
                allow_plaintext=allow_plaintext,
            )
        )
        self._registry = RegistryView(RegistryReader(self._batch, keys))
        self._submitted: OrderedDict[str, str] = OrderedDict()  # request id -> terminal
        self._home: Home | None = None

    async def open(self) -> None:
        """Read the registry; the terminals' clients are opened when they are first needed.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses the client.
            MT5DataError: the registry can't be read.
            MT5StateError: it was opened before.
        """
        home = Home()
        try:
            await self._registry.open()
        except (RedisUnavailableError, MT5DataError):
            await self.aclose()
            raise
        self._home = home

    async def aclose(self) -> None:
        """Fail who still waits with `MT5StateError`, and disconnect from all terminals."""
        home, self._home = self._home, None
        if home is not None:
            if not home.is_this_process:
                return  # the connections are the parent's
            home.check()
        await self._registry.aclose()
        await self._clients.aclose()
        await self._batch.aclose()

    async def _ask(
        self,
        operation: Operation,
        account: AccountId | str,
        arguments: Mapping[str, Any],
        options: AskOptions,
    ) -> Answer[Any]:
        async def ask(client: AccountLookups, left: AskOptions) -> Answer[Any]:
            return await client._ask(operation, account, arguments, left)

        _, answer = await self._routed(account, options, ask)
        return answer

    async def submit(
        self,
        operation: Operation | str,
        account: AccountId | str,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[AskOptions],
    ) -> str:
        async def submit(client: AccountLookups, left: AskOptions) -> str:
            return await client.submit(operation, account, arguments, **left)

        terminal, request_id = await self._routed(account, options, submit)
        self._remember(request_id, terminal)
        return request_id

    async def _routed(
        self, account: AccountId | str, options: AskOptions, call: Call[T]
    ) -> tuple[str, T]:
        """Call the account's terminal, and once more where the account turns out to have moved."""
        identity = parsed_account(account)
        give_up_at = self._give_up_at(options)
        terminal = (await self._current()).terminal_of(identity)
        try:
            return terminal, await self._call(terminal, options, give_up_at, call)
        except (NoWorkerError, AccountUnknownError) as error:
            moved_to = (await self._registry.look_again()).terminal_of(identity)
            if moved_to == terminal:
                raise
            logger.info(
                "request.rerouted", account=str(identity), target=moved_to, cause=error.code
            )
        return moved_to, await self._call(moved_to, options, give_up_at, call)

    async def _current(self) -> Fleet:
        if self._home is not None:
            self._home.check()
        return await self._registry.current()

    def __del__(self) -> None:
        if getattr(self, "_home", None) is not None:
            warn_unclosed(self, "use `async with`, or await its aclose()")

    def _give_up_at(self, options: AskOptions) -> float:
        timeout = options.get("timeout")
        return _now() + timeout_as_ms(self._timeout if timeout is None else timeout) / 1000

    async def _call(
        self, terminal: str, options: AskOptions, give_up_at: float, call: Call[T]
    ) -> T:
        async with answered_within(_left(give_up_at, terminal)):
            client = await self._clients.get(terminal)
        return await call(client, {**options, "timeout": _left(give_up_at, terminal)})

    def _remember(self, request_id: str, terminal: str) -> None:
        self._submitted[request_id] = terminal
        self._submitted.move_to_end(request_id)
        if len(self._submitted) > KEPT_IDS:
            self._submitted.popitem(last=False)

    async def fetch_reply(self, request_id: str, *, wait: float = 0.0) -> Answer[Any] | None:
        terminals = (await self._current()).terminals
        terminal = self._submitted.get(check_request_id(request_id))
        asked = terminals if terminal is None else [terminal]
        clients = await self._clients.get_all(asked)
        return await _first_answer(
            [client.fetch_reply(request_id, wait=wait) for client in clients]
        )

    async def snapshot(self, account: AccountId | str) -> AccountSnapshot | None:
        """The account's last good full read, however old, by whichever terminal read it."""
        identity = parsed_account(account)
        clients = await self._clients.get_all((await self._current()).terminals)
        found = await asyncio.gather(*(client.snapshot(identity) for client in clients))
        snapshots = [snapshot for snapshot in found if snapshot is not None]
        return max(snapshots, key=lambda snapshot: snapshot.as_of, default=None)

    async def health(self) -> Health | None:
        """The worst health among the active terminals; None: one has no worker, or none is active.

        Raises as `healths` does.
        """
        active = (await self._current()).active
        healths = (await self._healths(active)).values()
        alive = [health for health in healths if health is not None]
        if len(alive) < len(active):
            return None
        return max(alive, key=lambda health: _SEVERITY[health.status], default=None)

    async def healths(self) -> dict[str, Health | None]:
        """What each registered terminal's worker last said about itself; None: no worker lives.

        Raises:
            RedisUnavailableError: Redis can't be reached or refuses it.
            MT5DataError: a worker of another version wrote what can't be read here.
        """
        return await self._healths((await self._current()).terminals)

    async def _healths(self, terminals: Collection[str]) -> dict[str, Health | None]:
        clients = await self._clients.get_all(terminals)
        found = await asyncio.gather(*(client.health() for client in clients))
        return dict(zip(terminals, found, strict=True))

    async def terminal_of(self, account: AccountId | str) -> str:
        """The terminal that serves the account now.

        Raises:
            NoWorkerError: no terminal is active.
        """
        return (await self._current()).terminal_of(parsed_account(account))

    def __repr__(self) -> str:
        return f"<FleetClient {self._name} {self._registry!r} {self._clients!r}>"


class _Clients:
    """One open client for each terminal that was ever needed."""

    def __init__(self, make: Callable[[str], AccountClient]) -> None:
        self._make = make
        self._opening: dict[str, asyncio.Task[AccountLookups]] = {}
        self._is_closed = False

    async def get(self, terminal: str) -> AccountLookups:
        """The terminal's client, which all who come while it is being opened share.

        Raises:
            RedisUnavailableError: its keys can't be reached; the next call tries again.
            MT5StateError: all is closed.
        """
        if self._is_closed:
            raise MT5StateError("the client is closed; open a new one")
        opening = self._opening.get(terminal)
        if opening is None or _has_failed(opening):
            opening = asyncio.create_task(_opened(self._make(terminal)), name="mt5relay-terminal")
            self._opening[terminal] = opening
        return await asyncio.shield(opening)

    async def get_all(self, terminals: Collection[str]) -> list[AccountLookups]:
        """As `get`, in the order given."""
        return await asyncio.gather(*(self.get(terminal) for terminal in terminals))

    async def aclose(self) -> None:
        self._is_closed = True
        opened = await asyncio.gather(*self._opening.values(), return_exceptions=True)
        clients = [client for client in opened if isinstance(client, AccountLookups)]
        await asyncio.gather(*(client.aclose() for client in clients))

    def __repr__(self) -> str:
        return f"<terminals {', '.join(self._opening) or 'none yet'}>"


async def _opened(client: AccountLookups) -> AccountLookups:
    await client.open()
    return client


def _has_failed(opening: asyncio.Task[AccountLookups]) -> bool:
    return opening.done() and opening.exception() is not None


async def _first_answer(asked: Collection[Awaitable[T | None]]) -> T | None:
    """The first that is not None; failing that, the trouble with those that could not be asked."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    unreachable: RedisUnavailableError | None = None
    try:
        for done in asyncio.as_completed(tasks):
            try:
                if (answer := await done) is not None:
                    return answer
            except RedisUnavailableError as error:
                unreachable = error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if unreachable is not None:
        raise unreachable
    return None


def _left(give_up_at: float, terminal: str) -> float:
    seconds = give_up_at - _now()
    if seconds <= 0:
        raise DeadlineExceededError(f"no answer in time; terminal {terminal} was not asked")
    return seconds


def _now() -> float:
    return asyncio.get_running_loop().time()
