from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis import exceptions as foreign
from redis.asyncio import Redis
from tests.servers import TESTER, AclServer, as_user

from mt5relay_gateway import MT5StateError, RedisUnavailableError
from mt5relay_gateway.batch import (
    MAX_PIPELINE,
    CommandBatch,
    RedisInterruptedError,
    answered_within,
    translated,
)
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect
from mt5relay_shared.scripts import SUBMIT, Script


class CountingRedis:
    """A real client that notes how many commands each pipeline carried."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.sizes: list[int] = []

    def pipeline(self, *, transaction: bool) -> Any:
        pipeline: Any = self.redis.pipeline(transaction=transaction)
        execute = pipeline.execute

        async def counted(**options: Any) -> Any:
            self.sizes.append(len(pipeline.command_stack))
            return await execute(**options)

        pipeline.execute = counted
        return pipeline

    async def aclose(self) -> None:
        await self.redis.aclose()


@pytest.fixture
def counting(server: AclServer) -> CountingRedis:
    return CountingRedis(connect(as_user(server.url, TESTER), client_name="batch"))


@pytest.fixture
async def batch(counting: CountingRedis) -> AsyncIterator[CommandBatch]:
    opened = CommandBatch(cast(Redis, counting))
    yield opened
    await opened.aclose()


async def test_commands_of_one_tick_travel_together(
    batch: CommandBatch, counting: CountingRedis
) -> None:
    answers = await asyncio.gather(*(batch.call("ECHO", str(n)) for n in range(50)))
    assert answers == [str(n).encode() for n in range(50)]
    assert counting.sizes == [50]


async def test_a_pipeline_is_bounded(batch: CommandBatch, counting: CountingRedis) -> None:
    await asyncio.gather(*(batch.call("ECHO", "x") for _ in range(MAX_PIPELINE + 1)))
    assert counting.sizes == [MAX_PIPELINE, 1]


async def test_an_error_reaches_only_the_command_that_caused_it(batch: CommandBatch) -> None:
    answers: Any = await asyncio.gather(
        batch.call("NONSENSE"), batch.call("ECHO", "x"), return_exceptions=True
    )
    bad, good = answers
    assert isinstance(bad, RedisUnavailableError)
    assert not isinstance(bad, RedisInterruptedError)
    assert good == b"x"


async def test_a_cancelled_command_is_not_sent(
    batch: CommandBatch, counting: CountingRedis
) -> None:
    tasks = [asyncio.create_task(batch.call("ECHO", "x")) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(counting.sizes) in (2, 3)
    assert [task.cancelled() for task in tasks] == [True, False, False]


async def test_what_nobody_wants_when_its_turn_comes_is_not_sent(
    batch: CommandBatch, counting: CountingRedis
) -> None:
    assert await batch.run_late(SUBMIT, lambda: None) is None
    assert await batch.call("ECHO", "x") == b"x"
    assert counting.sizes == [1]


async def test_a_script_the_server_does_not_know_is_sent_as_source(
    batch: CommandBatch, keys: Keys
) -> None:
    script = Script("new", f"return '{keys.terminal}'", "0" * 40)
    assert await batch.run(script, [], []) == keys.terminal.encode()


async def test_a_script_that_fails_is_not_sent_twice(batch: CommandBatch) -> None:
    with pytest.raises(RedisUnavailableError, match="refused"):
        await batch.run(SUBMIT, [], [])


async def test_a_dead_server_fails_each_command_as_interrupted() -> None:
    batch = CommandBatch(connect("redis://127.0.0.1:1/0", client_name="nowhere"))
    errors = await asyncio.gather(batch.call("PING"), batch.call("PING"), return_exceptions=True)
    assert [type(error) for error in errors] == [RedisInterruptedError] * 2
    assert errors[0] is not errors[1]
    await batch.aclose()


async def test_closing_fails_what_was_not_sent_and_refuses_more(server: AclServer) -> None:
    batch = CommandBatch(connect(server.url, client_name="closing"))
    waiting = asyncio.create_task(batch.call("ECHO", "x"))
    await asyncio.sleep(0)
    assert repr(batch) == "<CommandBatch sending, 1 waiting>"
    await batch.aclose()
    with pytest.raises(MT5StateError):
        await waiting
    with pytest.raises(MT5StateError):
        await batch.call("PING")
    assert repr(batch) == "<CommandBatch closed, 0 waiting>"


async def test_waiting_for_redis_can_be_bounded() -> None:
    with pytest.raises(RedisInterruptedError, match=r"within 0\.01 s"):
        async with answered_within(0.01):
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (foreign.ConnectionError("gone"), True),
        (foreign.BusyLoadingError("loading"), True),
        (foreign.ReadOnlyError("replica"), True),
        (foreign.NoPermissionError("no"), False),
        (foreign.OutOfMemoryError("full"), False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(
    error: foreign.RedisError, passes: bool
) -> None:
    assert isinstance(translated(error), RedisInterruptedError) is passes
