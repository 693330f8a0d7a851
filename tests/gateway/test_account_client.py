from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT

from mt5relay_gateway import (
    AccountClient,
    AccountId,
    AccountUnknownError,
    MT5CircuitBreakerOpen,
    MT5ConnectionError,
    MT5DataError,
    MT5Error,
    MT5StateError,
    MT5ValidationError,
    NoWorkerError,
    QueueFullError,
    RedisUnavailableError,
    testing,
)
from mt5relay_gateway.cli.store import StoreServer
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import OkReply, Request

ACCOUNT = "25115284@MetaQuotes-Demo"
OTHER = "7@MetaQuotes-Demo"
FROM, TO = datetime(2026, 1, 1), datetime(2026, 2, 1, tzinfo=UTC)  # noqa: DTZ001 - the broker's clock
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def test_each_operation_answers_with_its_own_records(
    client: AccountClient, worker: Any
) -> None:
    assert (await client.account_info(ACCOUNT)).data.login == 25115284
    assert (await client.positions(ACCOUNT)).data[0].ticket == 25115284
    assert (await client.orders(ACCOUNT)).data == [testing.an_order()]
    assert (await client.deals(ACCOUNT, FROM, TO)).data[0].time_msc == 1767225600_000
    assert (await client.history_orders(ACCOUNT, FROM, TO)).data[0].time_done_msc == 1769904000_000
    assert (await client.symbol(ACCOUNT, "GBPUSD")).data.name == "GBPUSD"
    assert (await client.tick(ACCOUNT, "GBPUSD")).data.bid == 1.1
    assert len((await client.rates(ACCOUNT, "GBPUSD", "M5", 3)).data) == 3


async def test_an_answer_says_whose_it_is_and_how_old(client: AccountClient, worker: Any) -> None:
    worker.answer_changed(age_ms=1500, as_of_ms=1_767_225_600_000)
    answer = await client.positions(AccountId.parse(ACCOUNT), request_id="mine")
    assert (answer.account, answer.operation, answer.request_id) == (
        AccountId.parse(ACCOUNT),
        "positions",
        "mine",
    )
    assert (answer.age, answer.as_of) == (1.5, datetime(2026, 1, 1, tzinfo=UTC))
    assert (answer.source, answer.stale, answer.synchronized) == ("terminal", False, "confirmed")


async def test_times_inside_an_answer_can_be_told_in_utc(
    client: AccountClient, worker: Any
) -> None:

    def with_offset(request: Request) -> OkReply:
        reply: OkReply = worker.ok(request)
        return msgspec.structs.replace(reply, server_utc_offset=10_800)

    worker.answer = with_offset
    answer = await client.account_info(ACCOUNT)
    assert answer.utc(10_800.5) == datetime(1970, 1, 1, 0, 0, 0, 500_000, UTC)
    worker.answer = worker.ok
    assert (await client.account_info(ACCOUNT)).utc(10_800) is None


async def test_thousands_in_flight_share_two_connections(
    client: AccountClient, worker: Any, redis: Any
) -> None:
    logins = range(1, 2001)
    answers = await asyncio.gather(
        *(client.account_info(f"{login}@Contoso-Live", timeout=HANG_LIMIT) for login in logins)
    )
    assert [answer.data.login for answer in answers] == list(logins)
    name = repr(client).split()[1]
    listed = [c for c in await redis.client_list() if name in str(c)]
    assert len(listed) == 2


async def test_the_same_id_with_the_same_question_is_worked_on_once(
    client: AccountClient, worker: Any
) -> None:
    both = await asyncio.gather(*(client.positions(ACCOUNT, request_id="twin") for _ in range(2)))
    later = await client.positions(ACCOUNT, request_id="twin")
    assert both[0].data == both[1].data == later.data
    assert len(worker.requests) == 1


async def test_the_same_id_with_another_question_is_refused(
    client: AccountClient, worker: Any
) -> None:
    worker.stay_silent()
    await client.submit("positions", ACCOUNT, request_id="taken")
    with pytest.raises(MT5ValidationError, match="request_id: 'taken'"):
        await client.positions(OTHER, request_id="taken")


@pytest.mark.parametrize("wrong", [{"account": OTHER}, {"operation": "orders"}])
async def test_a_reply_to_another_question_is_discarded(
    client: AccountClient, worker: Any, wrong: dict[str, str]
) -> None:
    worker.answer_changed(**wrong)
    with pytest.raises(MT5DataError, match="discarded"):
        await client.positions(ACCOUNT)


async def test_data_of_another_account_is_discarded(client: AccountClient, worker: Any) -> None:
    other = msgspec.Raw(msgspec.json.encode(testing.an_account_info(login=7)))
    worker.answer_changed(data=other)
    with pytest.raises(MT5DataError, match=r"of 7@MetaQuotes-Demo, asked was 25115284"):
        await client.account_info(ACCOUNT)


async def test_unreadable_data_is_an_error_never_an_empty_answer(
    client: AccountClient, worker: Any
) -> None:
    worker.answer_changed(data=msgspec.Raw(b"null"))
    with pytest.raises(MT5DataError, match="unreadable"):
        await client.positions(ACCOUNT)


async def test_an_error_reply_raises_its_exception_with_all_it_carries(
    client: AccountClient, worker: Any
) -> None:
    worker.answer_with(
        MT5ConnectionError(
            "broker link down",
            code="BROKER_UNAVAILABLE",
            retry_after=4.0,
            mt5_error=(-10005, "IPC timeout"),
        )
    )
    with pytest.raises(MT5ConnectionError) as caught:
        await client.positions(ACCOUNT, request_id="failing")
    error = caught.value
    assert (error.code, error.retry_after, error.mt5_error) == (
        "BROKER_UNAVAILABLE",
        4.0,
        (-10005, "IPC timeout"),
    )
    assert error.request_id == "failing"


async def test_without_a_worker_a_request_is_refused(client: AccountClient) -> None:
    with pytest.raises(NoWorkerError) as caught:
        await client.positions(ACCOUNT)
    assert caught.value.retry_after is None


async def test_while_the_breaker_is_open_the_refusal_says_when_to_come_back(
    client: AccountClient, worker: Any
) -> None:
    await worker.say_health(breaker="OPEN", breaker_retry_at_ms=str(2**42))
    with pytest.raises(MT5CircuitBreakerOpen) as caught:
        await client.positions(ACCOUNT)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 60


async def test_a_full_queue_refuses(server: StoreServer, keys: Keys, redis: Redis) -> None:
    await redis.set(keys.lease, "somebody:n:1")
    async with AccountClient(
        server.url, terminal=keys.terminal, queue_limit=1, timeout=HANG_LIMIT
    ) as client:
        await client.submit("positions", ACCOUNT)
        with pytest.raises(QueueFullError):
            await client.submit("positions", ACCOUNT)


async def test_a_fresh_enough_snapshot_answers_without_the_worker(
    client: AccountClient, worker: Any
) -> None:
    await worker.store_snapshot(ACCOUNT, age=3)
    answer = await client.account_info(ACCOUNT, max_age=60)
    assert (answer.data.balance, answer.source, answer.stale) == (77.0, "snapshot", False)
    assert 3 <= answer.age < 60
    assert worker.requests == []


async def test_a_snapshot_that_is_too_old_is_not_used(client: AccountClient, worker: Any) -> None:
    await worker.store_snapshot(ACCOUNT, age=3)
    assert (await client.account_info(ACCOUNT, max_age=1)).source == "terminal"


async def test_max_age_does_not_touch_what_no_snapshot_holds(
    client: AccountClient, worker: Any
) -> None:
    await worker.store_snapshot(ACCOUNT, age=3)
    assert (await client.tick(ACCOUNT, "EURUSD", max_age=60)).source == "terminal"


async def test_an_unreadable_snapshot_counts_as_none(client: AccountClient, worker: Any) -> None:
    await worker.write_snapshot(ACCOUNT, data="{", as_of=1, synchronized="assumed")
    assert (await client.positions(ACCOUNT, max_age=600_000)).source == "terminal"
    assert await client.snapshot(ACCOUNT) is None


async def test_a_refused_request_gets_an_old_snapshot_where_the_caller_allows(
    client: AccountClient, worker: Any
) -> None:
    await worker.store_snapshot(ACCOUNT, age=100)
    await worker.release()
    answer = await client.positions(ACCOUNT, stale_if_error=3600)
    assert (answer.stale, answer.reason, answer.source) == (True, "NO_WORKER", "snapshot")
    assert answer.age >= 100


@pytest.mark.parametrize("stale_if_error", [0, 50])
async def test_a_snapshot_older_than_allowed_never_hides_an_error(
    client: AccountClient, worker: Any, stale_if_error: float
) -> None:
    await worker.store_snapshot(ACCOUNT, age=100)
    await worker.release()
    with pytest.raises(NoWorkerError):
        await client.positions(ACCOUNT, stale_if_error=stale_if_error)


async def test_an_error_that_will_not_pass_is_never_hidden_by_a_snapshot(
    client: AccountClient, worker: Any
) -> None:
    await worker.store_snapshot(ACCOUNT, age=1)
    worker.answer_with(AccountUnknownError("not enrolled"))
    with pytest.raises(AccountUnknownError):
        await client.positions(ACCOUNT, stale_if_error=3600)


async def test_without_a_snapshot_the_error_stays(client: AccountClient) -> None:
    with pytest.raises(NoWorkerError):
        await client.positions(ACCOUNT, stale_if_error=3600)


async def test_a_submitted_request_is_collected_later(client: AccountClient, worker: Any) -> None:
    request_id = await client.submit(
        "rates", ACCOUNT, {"symbol": "X", "timeframe": "H1", "count": 2}
    )
    answer = await client.fetch_reply(request_id, wait=HANG_LIMIT)
    assert answer is not None
    assert (answer.operation, len(answer.data)) == ("rates", 2)


async def test_what_is_not_answered_yet_is_none(client: AccountClient, worker: Any) -> None:
    worker.stay_silent()
    request_id = await client.submit("positions", ACCOUNT)
    assert await client.fetch_reply(request_id) is None
    assert await client.fetch_reply(request_id, wait=0.05) is None


async def test_collecting_an_error_reply_raises_it(client: AccountClient, worker: Any) -> None:
    worker.answer_with(AccountUnknownError("not enrolled"))
    request_id = await client.submit("positions", ACCOUNT)
    with pytest.raises(AccountUnknownError):
        await client.fetch_reply(request_id, wait=HANG_LIMIT)


async def test_collecting_a_reply_that_names_no_question_is_an_error(
    client: AccountClient, worker: Any
) -> None:
    worker.answer_changed(account="nobody")
    request_id = await client.submit("positions", ACCOUNT)
    with pytest.raises(MT5DataError, match="names no question"):
        await client.fetch_reply(request_id, wait=HANG_LIMIT)


async def test_a_reply_of_an_unknown_form_is_an_error(
    client: AccountClient, keys: Keys, redis: Redis
) -> None:
    await redis.set(keys.reply("odd"), "[]")
    with pytest.raises(MT5Error, match="unreadable reply"):
        await client.fetch_reply("odd")


async def test_the_snapshot_is_read_without_the_worker(client: AccountClient, worker: Any) -> None:
    assert await client.snapshot(ACCOUNT) is None
    await worker.store_snapshot(ACCOUNT, age=100)
    snapshot = await client.snapshot(ACCOUNT)
    assert snapshot is not None
    assert (snapshot.account_info.balance, len(snapshot.positions), snapshot.orders) == (
        77.0,
        1,
        [],
    )
    assert snapshot.age >= 100


async def test_a_snapshot_of_another_account_is_never_returned(
    client: AccountClient, worker: Any
) -> None:
    await worker.store_snapshot(ACCOUNT, age=1, owner=OTHER)
    assert await client.snapshot(ACCOUNT) is None


async def test_a_snapshot_with_odd_records_is_an_error(client: AccountClient, worker: Any) -> None:
    data = b'{"account_info":{"login":7,"server":"MetaQuotes-Demo"},"positions":[],"orders":[]}'
    await worker.write_snapshot(OTHER, data=data, as_of=1, synchronized="assumed")
    with pytest.raises(MT5DataError, match="snapshot of 7@MetaQuotes-Demo"):
        await client.snapshot(OTHER)


async def test_health_is_none_without_a_worker(client: AccountClient) -> None:
    assert await client.health() is None


async def test_health_is_read_without_the_worker(client: AccountClient, worker: Any) -> None:
    health = testing.a_health()
    fields = {name: getattr(health, name) for name in health.__struct_fields__}
    await worker.say_health(**{k: str(v) for k, v in fields.items() if v is not None})
    assert await client.health() == health


async def test_an_unreadable_health_is_an_error(client: AccountClient, worker: Any) -> None:
    await worker.say_health(status="splendid")
    with pytest.raises(MT5DataError, match="health"):
        await client.health()


async def test_a_cancelled_look_up_leaves_the_others_alone(
    client: AccountClient, worker: Any
) -> None:
    tasks = [asyncio.create_task(client.positions(f"{n}@S")) for n in range(1, 21)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(x).__name__ for x in done].count("CancelledError") == 1
    assert [type(x).__name__ for x in done].count("Answer") == 19


async def test_a_cancelled_look_up_is_withdrawn(
    client: AccountClient, worker: Any, keys: Keys, redis: Redis
) -> None:
    worker.answer = never_answers
    task = asyncio.create_task(client.positions("1@S", request_id="mine"))
    await until_marked(redis, keys.request("mine"), waits=True)
    task.cancel()
    await until_marked(redis, keys.request("mine"), waits=False)


async def test_a_look_up_that_two_callers_share_is_withdrawn_by_the_last(
    client: AccountClient, worker: Any, keys: Keys, redis: Redis
) -> None:
    worker.answer = never_answers
    tasks = [asyncio.create_task(client.positions("1@S", request_id="ours")) for _ in range(2)]
    await until_marked(redis, keys.request("ours"), waits=True)
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    await client.health()  # whatever was posted has been sent by now
    assert await _waits(redis, keys.request("ours"))
    tasks[1].cancel()
    await until_marked(redis, keys.request("ours"), waits=False)


def never_answers(_: Request) -> None:
    """Keeps a request waiting."""


async def _waits(redis: Any, marker: str) -> bool:
    return any(field.startswith(b"to:") for field in await redis.hkeys(marker))


async def until_marked(redis: Any, marker: str, *, waits: bool) -> None:
    async with asyncio.timeout(HANG_LIMIT):
        while await _waits(redis, marker) is not waits:  # noqa: ASYNC110 - Redis must say it
            await asyncio.sleep(0.01)


async def test_closing_fails_who_still_waits_and_removes_the_reply_stream(
    server: StoreServer, keys: Keys, worker: Any, redis: Redis, eventually: Eventually
) -> None:
    worker.stay_silent()
    client = AccountClient(server.url, terminal=keys.terminal, name="gw-brief")
    await client.open()
    asking = asyncio.create_task(client.positions(ACCOUNT))

    async def arrived() -> bool:
        return bool(worker.requests)

    await eventually(arrived)
    assert 0 < await redis.pttl(keys.replies("gw-brief")) <= 60_000
    await client.aclose()
    await client.aclose()  # closing twice is harmless
    with pytest.raises(MT5StateError, match="closed"):
        await asking
    assert await redis.exists(keys.replies("gw-brief")) == 0


async def test_a_client_that_is_not_open_says_so(server: StoreServer) -> None:
    client = AccountClient(server.url)
    with pytest.raises(MT5StateError, match="not open"):
        await client.positions(ACCOUNT)
    await client.open()
    with pytest.raises(MT5StateError, match="opened before"):
        await client.open()
    await client.aclose()
    with pytest.raises(MT5StateError, match="not open"):
        await client.health()


async def test_opening_without_a_server_says_that_redis_is_unavailable() -> None:
    client = AccountClient("redis://127.0.0.1:1/0")
    with pytest.raises(RedisUnavailableError):
        await client.open()
    with pytest.raises(MT5StateError):
        await client.positions(ACCOUNT)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"timeout": 0}, "timeout: 0 s"),
        ({"timeout": 3601}, "timeout: 3601 s"),
        ({"timeout": float("nan")}, "timeout: nan s"),
        ({"queue_limit": -1}, "queue_limit: -1"),
        ({"name": "a b"}, "name: 'a b'"),
        ({"terminal": "{x}"}, "terminal: "),
        ({"redis_url": "http://:hunter2@host"}, "REDIS_URL: "),
        ({"redis_url": "redis://:hunt/er2@host:x/0"}, "REDIS_URL: "),
    ],
)
def test_a_wrong_parameter_is_named_and_no_secret_is_quoted(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(MT5ValidationError) as caught:
        AccountClient(**parameters)
    assert str(caught.value).startswith(message)
    assert "hunt" not in str(caught.value)


def test_the_repr_shows_the_state_and_no_secret() -> None:
    shown = repr(AccountClient("redis://:hunter2@127.0.0.1/0", terminal="t1", name="gw"))
    assert shown == "<AccountClient gw of terminal t1 NEW>"
