"""The fake for applications behaves as the real client does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mt5relay_gateway import (
    AccountLookups,
    AccountUnknownError,
    MT5DataError,
    MT5TimeoutError,
    MT5ValidationError,
    NotFoundError,
)
from mt5relay_gateway.testing import (
    FakeAccountClient,
    a_deal,
    a_position,
    a_rate,
    a_symbol,
    a_tick,
    an_account_info,
    an_order,
)

ACCOUNT = "25115284@MetaQuotes-Demo"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> FakeAccountClient:
    client = FakeAccountClient(clock=clock)
    client.enrol(
        ACCOUNT,
        positions=[a_position()],
        orders=[an_order()],
        deals=[a_deal(time_msc=1_767_225_600_000), a_deal(time_msc=1)],
        history_orders=[an_order(time_done_msc=1_767_225_600_000)],
        symbols=[a_symbol()],
        ticks={"EURUSD": a_tick()},
        rates={"EURUSD": [a_rate(time=1), a_rate(time=2), a_rate(time=3)]},
    )
    return client


async def test_it_answers_every_operation_from_its_book(fake: FakeAccountClient) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    async with fake as client:
        assert (await client.account_info(ACCOUNT)).data == an_account_info()
        assert (await client.positions(ACCOUNT)).data == [a_position()]
        assert (await client.orders(ACCOUNT)).data == [an_order()]
        assert len((await client.deals(ACCOUNT, start, end)).data) == 1
        assert len((await client.history_orders(ACCOUNT, start, end)).data) == 1
        assert (await client.symbol(ACCOUNT, "EURUSD")).data == a_symbol()
        assert (await client.tick(ACCOUNT, "EURUSD")).data == a_tick()
        assert [r.time for r in (await client.rates(ACCOUNT, "EURUSD", "M1", 2)).data] == [2, 3]
    assert isinstance(fake, AccountLookups)


async def test_it_records_what_was_asked(fake: FakeAccountClient) -> None:
    await fake.tick(ACCOUNT, "EURUSD", request_id="r1")
    (asked,) = fake.asked
    assert (str(asked.account), asked.operation, asked.request_id) == (ACCOUNT, "tick", "r1")
    assert asked.arguments == {"symbol": "EURUSD"}
    assert repr(fake) == "<FakeAccountClient 1 accounts, 1 asked>"


async def test_it_checks_parameters_like_the_real_one(fake: FakeAccountClient) -> None:
    with pytest.raises(MT5ValidationError, match="timeout"):
        await fake.positions(ACCOUNT, timeout=-1)
    assert fake.asked == []


async def test_unknown_accounts_and_symbols_fail(fake: FakeAccountClient) -> None:
    with pytest.raises(AccountUnknownError):
        await fake.positions("7@MetaQuotes-Demo")
    with pytest.raises(AccountUnknownError):
        await fake.positions("7@MetaQuotes-Demo", max_age=5, request_id="x")
    with pytest.raises(NotFoundError):
        await fake.tick(ACCOUNT, "XAUUSD")


async def test_another_accounts_data_is_discarded(fake: FakeAccountClient) -> None:
    fake.enrol(ACCOUNT, account_info=an_account_info(login=7))
    with pytest.raises(MT5DataError):
        await fake.account_info(ACCOUNT)


async def test_an_account_fails_until_it_recovers(fake: FakeAccountClient) -> None:
    fake.fail_with(ACCOUNT, MT5TimeoutError("frozen"))
    with pytest.raises(MT5TimeoutError):
        await fake.positions(ACCOUNT)
    fake.recover(ACCOUNT)
    assert (await fake.positions(ACCOUNT)).source == "terminal"


async def test_a_stale_snapshot_bridges_an_error_as_long_as_allowed(
    fake: FakeAccountClient, clock: Clock
) -> None:
    fake.fail_with(ACCOUNT, MT5TimeoutError("frozen"))
    clock.advance(100)
    answer = await fake.positions(ACCOUNT, stale_if_error=100)
    assert (answer.stale, answer.reason, answer.age) == (True, "MT5_TIMEOUT", 100)
    with pytest.raises(MT5TimeoutError):
        await fake.positions(ACCOUNT, stale_if_error=99)
    with pytest.raises(MT5TimeoutError):
        await fake.tick(ACCOUNT, "EURUSD", stale_if_error=3600)


async def test_max_age_answers_from_the_snapshot(fake: FakeAccountClient, clock: Clock) -> None:
    clock.advance(10)
    assert (await fake.positions(ACCOUNT, max_age=10)).source == "snapshot"
    assert (await fake.positions(ACCOUNT, max_age=9)).source == "terminal"
    assert (await fake.positions(ACCOUNT, max_age=1)).source == "snapshot"  # that read was one


async def test_a_request_id_is_idempotent(fake: FakeAccountClient) -> None:
    first = await fake.positions(ACCOUNT, request_id="r1")
    assert await fake.positions(ACCOUNT, request_id="r1") == first
    assert len(fake.asked) == 1
    with pytest.raises(MT5ValidationError, match="request_id"):
        await fake.orders(ACCOUNT, request_id="r1")


async def test_submitted_requests_are_collected(fake: FakeAccountClient) -> None:
    request_id = await fake.submit("positions", ACCOUNT)
    answer = await fake.fetch_reply(request_id)
    assert answer is not None
    assert answer.data == [a_position()]
    assert await fake.fetch_reply("never-asked") is None


async def test_it_has_snapshots_and_health(fake: FakeAccountClient) -> None:
    snapshot = await fake.snapshot(ACCOUNT)
    assert snapshot is not None
    assert snapshot.positions == [a_position()]
    assert await fake.snapshot("7@S") is None
    assert await fake.health() is not None
    fake.worker_health = None
    assert await fake.health() is None
