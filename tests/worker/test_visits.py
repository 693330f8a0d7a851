"""What becomes of requests once they wait: who shares a visit, who is spared, who is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from tests.limits import HANG_LIMIT

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import Outcome
from mt5relay_shared.messages import OkReply
from mt5relay_shared.records import AccountInfo
from mt5relay_worker.governor import GovernorPolicy
from mt5relay_worker.lease import LeaseLostError
from mt5relay_worker.terminal.protocol import Failed, Probe, ReadResult, Visit

if TYPE_CHECKING:
    from tests.worker.conftest import FakeTerminal, Gate, Parts, Until

DAY = {"from_ms": 0, "to_ms": 86_400_000}
NOT_READY = ReadResult("not_ready", 1.0, code="MT5_DATA_INVALID", message="no answer yet")


@pytest.fixture
async def alice(parts: Parts) -> AccountId:
    return await parts.enrol(AccountId(1_001, "Broker"))


@pytest.fixture
async def bob(parts: Parts) -> AccountId:
    return await parts.enrol(AccountId(1_002, "Broker"))


@pytest.fixture
async def carol(parts: Parts) -> AccountId:
    return await parts.enrol(AccountId(1_003, "Broker"))


def owner_of(reply: OkReply) -> AccountId:
    info = msgspec.json.decode(reply.data, type=AccountInfo)
    return AccountId(info.login, info.server)


def reads_of(visit: object) -> list[str]:
    assert isinstance(visit, Visit)
    return [read.operation for read in visit.reads]


# Sharing


async def test_everybody_who_waits_for_an_account_is_answered_by_one_visit(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    ids = [await parts.ask(alice) for _ in range(20)]
    async with parts.visiting():
        replies = [await parts.answer(one) for one in ids]
    assert [reply.id for reply in replies] == ids
    assert {owner_of(reply) for reply in replies} == {alice}
    assert terminal.visits == [alice]


async def test_different_operations_share_a_visit_and_equal_questions_a_read(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    ids = [await parts.ask(alice, name) for name in ("account_info", "positions", "orders")]
    ids += [await parts.ask(alice, "deals", arguments=DAY) for _ in range(3)]
    async with parts.visiting():
        for one in ids:
            await parts.answer(one)
    assert reads_of(terminal.commands[-1]) == ["account_info", "positions", "orders", "deals"]


async def test_accounts_are_served_in_the_order_of_their_oldest_request(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId, carol: AccountId
) -> None:
    ids = [await parts.ask(account) for account in (bob, alice, bob, carol)]
    async with parts.visiting():
        for one in ids:
            await parts.answer(one)
    assert terminal.visits == [bob, alice, carol]


async def test_who_arrives_during_the_login_rides_along(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, gate: Callable[[], Gate]
) -> None:
    terminal.at_switch = gate()
    first = await parts.ask(alice)
    async with parts.visiting():
        await terminal.at_switch.reached.wait()
        riders = [await parts.ask(alice, name) for name in ("account_info", "positions")]
        await anyio.sleep(0.01)  # the clock of arrivals tells milliseconds apart
        terminal.at_switch.opened.set()
        for one in (first, *riders):
            await parts.answer(one)
    assert terminal.visits == [alice]


async def test_who_arrives_after_the_read_began_is_not_answered_by_it(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, gate: Callable[[], Gate]
) -> None:
    terminal.at_read = gate()
    first = await parts.ask(alice)
    async with parts.visiting():
        await terminal.at_read.reached.wait()
        await anyio.sleep(0.01)  # the clock of arrivals tells milliseconds apart
        late = await parts.ask(alice)
        terminal.at_read.opened.set()
        first_reply, late_reply = await parts.answer(first), await parts.answer(late)
    assert terminal.visits == [alice, alice]
    assert late_reply.as_of_ms > first_reply.as_of_ms


async def test_a_question_that_was_not_planned_waits_for_the_next_visit_without_a_login(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, gate: Callable[[], Gate]
) -> None:
    terminal.at_switch = gate()
    first = await parts.ask(alice)
    async with parts.visiting():
        await terminal.at_switch.reached.wait()
        other = await parts.ask(alice, "deals", arguments=DAY)
        terminal.at_switch.opened.set()
        await parts.answer(first)
        await parts.answer(other)
    assert [reads_of(one) for one in terminal.commands[-2:]] == [
        ["account_info", "positions", "orders"],
        ["deals"],
    ]
    assert (await parts.manager.metrics()).logins == 1


async def test_when_nobody_waits_the_terminal_follows_the_newest_arrival(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId, until: Until
) -> None:
    ids = [await parts.ask(account) for account in (alice, bob, alice)]

    async def is_on_alice() -> bool:
        return terminal.logged_in == alice

    async with parts.visiting():
        for one in ids:
            await parts.answer(one)
        await until(is_on_alice)
    assert terminal.visits == [alice, bob, alice]
    assert reads_of(terminal.commands[-1]) == []


async def test_an_account_that_just_failed_is_not_followed(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    terminal.fails_at(Visit, "MT5_DATA_INVALID", times=2)
    async with parts.visiting():
        await parts.error(await parts.ask(alice))
        await parts.answer(await parts.ask(bob))
    assert terminal.visits == [alice, alice, bob]


# Answers


async def test_an_answer_says_when_the_data_was_read_and_where_it_is_from(
    parts: Parts, alice: AccountId
) -> None:
    before = parts.clock.now_ms()
    asked = await parts.ask(alice)
    async with parts.visiting():
        reply = await parts.answer(asked)
    assert before <= reply.as_of_ms <= parts.clock.now_ms()
    assert (reply.source, reply.stale, reply.synchronized) == ("terminal", False, "assumed")
    assert (reply.account, reply.operation) == (str(alice), "account_info")


async def test_a_full_read_is_kept_as_the_accounts_snapshot(parts: Parts, alice: AccountId) -> None:
    asked = await parts.ask(alice, "positions")
    async with parts.visiting():
        reply = await parts.answer(asked)
    snapshot = await parts.snapshot(alice)
    assert snapshot is not None
    assert snapshot.as_of_ms == reply.as_of_ms
    assert snapshot.data.positions == reply.data


async def test_a_read_that_is_not_full_leaves_no_snapshot(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    terminal.accounts[alice].results["orders"] = NOT_READY
    asked = await parts.ask(alice, "positions")
    async with parts.visiting():
        await parts.answer(asked)
    assert await parts.snapshot(alice) is None


async def test_what_is_on_the_terminal_is_noted_while_it_is(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, gate: Callable[[], Gate]
) -> None:
    terminal.at_read = gate()
    asked = await parts.ask(alice)
    async with parts.visiting():
        await terminal.at_read.reached.wait()
        assert await parts.redis.get(parts.keys.running) == asked.encode()
        terminal.at_read.opened.set()
        await parts.answer(asked)
        assert not await parts.redis.exists(parts.keys.running)


async def test_an_answered_request_is_off_the_stream(parts: Parts, alice: AccountId) -> None:
    asked = await parts.ask(alice)
    async with parts.visiting():
        await parts.answer(asked)
    assert await parts.redis.xlen(parts.keys.requests) == 0
    assert len(parts.backlog) == 0


async def test_another_accounts_data_never_becomes_an_answer(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    terminal.answers_as = bob
    asked = await parts.ask(alice)
    async with parts.visiting():
        error = await parts.error(asked)
    assert error.code == "MT5_DATA_INVALID"
    assert await parts.snapshot(alice) is None
    assert await parts.snapshot(bob) is None
    assert (await parts.manager.metrics()).identity_mismatches == 2


# Errors of one account


async def test_an_account_that_is_not_enrolled_is_unknown_and_touches_no_terminal(
    parts: Parts, terminal: FakeTerminal
) -> None:
    asked = await parts.ask(AccountId(9, "Nowhere"))
    async with parts.visiting():
        error = await parts.error(asked)
    assert error.code == "ACCOUNT_UNKNOWN"
    assert "mt5relay accounts add 9@Nowhere" in error.message
    assert terminal.commands == []


async def test_a_refused_account_is_locked_out_and_holds_up_nobody(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    terminal.accounts[alice].password = b"changed at the broker"
    async with parts.visiting():
        refused = await parts.error(await parts.ask(alice))
        tries = len(terminal.visits)
        again = await parts.error(await parts.ask(alice))
        assert len(terminal.visits) == tries
        await parts.answer(await parts.ask(bob))
    assert (refused.code, again.code) == ("MT5_AUTH_FAILED", "MT5_AUTH_FAILED")
    assert refused.mt5 == (-6, "Terminal: Authorization failed")
    assert not again.retryable
    assert 0 < (again.retry_after_ms or 0) <= 60_000
    assert parts.breaker.is_closed


async def test_a_new_password_lifts_the_lock_out(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    terminal.accounts[alice].password = b"changed at the broker"
    async with parts.visiting():
        await parts.error(await parts.ask(alice))
        await parts.redis.hset(parts.keys.accounts, str(alice), b"changed at the broker")
        await parts.answer(await parts.ask(alice))


async def test_a_read_that_failed_for_good_fails_its_own_request_alone(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    terminal.accounts[alice].results["tick"] = ReadResult(
        "error", 1.0, code="NOT_FOUND", message="NOPE: unknown to the terminal"
    )
    tick = await parts.ask(alice, "tick", arguments={"symbol": "NOPE"})
    info = await parts.ask(alice)
    async with parts.visiting():
        assert (await parts.error(tick)).code == "NOT_FOUND"
        await parts.answer(info)
    assert terminal.visits == [alice]
    assert parts.breaker.is_closed


# Failures that may pass


async def test_a_failure_that_may_pass_is_tried_once_more_unnoticed(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    terminal.fails_at(Visit, "MT5_DATA_INVALID")
    asked = await parts.ask(alice)
    async with parts.visiting():
        await parts.answer(asked)
    assert terminal.visits == [alice, alice]


async def test_a_failure_that_stays_is_answered_after_the_second_try(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    terminal.fails_at(Visit, "MT5_DATA_INVALID", times=2)
    asked = await parts.ask(alice)
    async with parts.visiting():
        assert (await parts.error(asked)).code == "MT5_DATA_INVALID"
    assert terminal.visits == [alice, alice]


async def test_a_part_that_is_not_ready_is_read_again_while_the_rest_is_answered(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    terminal.accounts[alice].results["positions"] = NOT_READY
    info, positions = await parts.ask(alice), await parts.ask(alice, "positions")
    async with parts.visiting():
        await parts.answer(info)
        assert (await parts.error(positions)).code == "MT5_DATA_INVALID"
    assert terminal.visits == [alice, alice]


async def test_nobody_is_tried_again_past_their_deadline(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, gate: Callable[[], Gate]
) -> None:
    terminal.accounts[alice].results["account_info"] = NOT_READY
    terminal.at_read = gate()
    asked = await parts.ask(alice, timeout_ms=30_000)
    async with parts.visiting():
        await terminal.at_read.reached.wait()
        parts.let_time_pass(30)
        terminal.at_read.opened.set()
        await parts.error(asked)
    assert terminal.visits == [alice]


async def test_untrusted_data_of_one_account_does_not_stop_the_others(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    terminal.accounts[alice].refusal = Failed("MT5_DATA_INVALID", "odd")
    async with parts.visiting():
        for _ in range(3):
            await parts.error(await parts.ask(alice))
        assert parts.breaker.is_closed
        assert terminal.visits.count(alice) == 3  # then its logins cool down
        await parts.answer(await parts.ask(bob))


async def test_untrusted_data_of_three_accounts_in_a_row_is_the_terminals_failure(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId, carol: AccountId
) -> None:
    terminal.fails_at(Visit, "MT5_DATA_INVALID", times=6)
    async with parts.visiting():
        for account in (alice, bob, carol):
            await parts.error(await parts.ask(account))
    assert not parts.breaker.is_closed


@pytest.mark.parametrize(
    "code",
    ["MT5_CONNECTION_LOST", "BROKER_UNAVAILABLE", "MT5_TIMEOUT", "MT5_DATA_INVALID", "INTERNAL"],
)
@pytest.mark.parametrize("another_worked", [True, False])
async def test_no_failure_of_one_account_opens_the_breaker(
    parts: Parts, terminal: FakeTerminal, code: str, another_worked: bool
) -> None:
    alice = await parts.enrol(AccountId(1_001, "Broker"))
    bob = await parts.enrol(AccountId(1_002, "Broker"))
    terminal.accounts[alice].refusal = Failed(code, "odd")
    async with parts.visiting():
        if another_worked:
            await parts.answer(await parts.ask(bob))
        for _ in range(4):
            await parts.error(await parts.ask(alice))
        assert parts.breaker.is_closed
        await parts.answer(await parts.ask(bob))


async def test_an_account_under_another_server_name_is_not_logged_in_to_again(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    shown = "enrol the account as 1001@Broker-Live"
    refusal = Failed("INVALID_STATE", shown, about_credential="server_name")
    terminal.accounts[alice].refusal = refusal
    async with parts.visiting():
        first = await parts.error(await parts.ask(alice))
        made = len(terminal.commands)
        again = await parts.error(await parts.ask(alice))
        assert (first.code, first.retryable) == (again.code, again.retryable)
        assert (again.code, again.retryable) == ("INVALID_STATE", False)
        assert shown in again.message
        assert len(terminal.commands) == made
        assert parts.breaker.is_closed
        await parts.answer(await parts.ask(bob))


async def test_an_account_that_fails_alone_cools_down(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    terminal.accounts[alice].refusal = Failed("MT5_TIMEOUT", "odd")
    async with parts.visiting():
        await parts.answer(await parts.ask(bob))
        await parts.error(await parts.ask(alice))
        made = len(terminal.commands)
        error = await parts.error(await parts.ask(alice))
        assert (error.code, error.retry_after_ms is not None) == ("MT5_TIMEOUT", True)
        assert len(terminal.commands) == made


# The terminal's own failures


async def test_three_accounts_refused_in_a_row_are_the_terminals_fault(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId, carol: AccountId
) -> None:
    terminal.fails_at(Visit, "MT5_AUTH_FAILED", times=6)
    async with parts.visiting():
        codes = [
            (await parts.error(await parts.ask(account))).code for account in (alice, bob, carol)
        ]
        assert codes == ["MT5_AUTH_FAILED", "MT5_AUTH_FAILED", "MT5_INIT_FAILED"]
        assert not parts.breaker.is_closed
        parts.breaker.reset("an operator said so", anyio.current_time())
        parts.visits.wake()
        await parts.answer(await parts.ask(alice))  # nobody is held to blame


async def test_the_account_that_worked_last_is_the_witness_against_the_terminal(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId, carol: AccountId
) -> None:
    witness = await parts.enrol(AccountId(1_004, "Broker"))
    async with parts.visiting():
        await parts.answer(await parts.ask(witness))
        terminal.fails_at(Visit, "MT5_AUTH_FAILED", times=8)
        codes = [
            (await parts.error(await parts.ask(account))).code for account in (alice, bob, carol)
        ]
    assert codes == ["MT5_AUTH_FAILED", "MT5_AUTH_FAILED", "MT5_INIT_FAILED"]
    assert terminal.visits[-1] == witness
    assert not parts.breaker.is_closed


async def test_three_refusals_are_the_accounts_own_fault_while_another_gets_in(
    parts: Parts,
    terminal: FakeTerminal,
    accounts: Iterator[AccountId],
    alice: AccountId,
) -> None:
    refused = [await parts.enrol(next(accounts)) for _ in range(4)]
    async with parts.visiting():
        await parts.answer(await parts.ask(alice))
        for account in refused:
            terminal.accounts[account].password = b"changed at the broker"
            assert (await parts.error(await parts.ask(account))).code == "MT5_AUTH_FAILED"
        assert parts.breaker.is_closed
        await parts.answer(await parts.ask(alice))


async def test_a_terminal_that_stays_down_opens_the_breaker(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    terminal.fails_at(Visit, "MT5_CONNECTION_LOST", times=2, mt5=(-10004, "No IPC connection"))
    terminal.fails_at(Probe, "MT5_CONNECTION_LOST", times=2)  # nor can it be attached without one
    async with parts.visiting():
        error = await parts.error(await parts.ask(alice))
    assert (error.code, error.mt5) == ("MT5_CONNECTION_LOST", (-10004, "No IPC connection"))
    assert not parts.breaker.is_closed


async def test_while_the_breaker_is_open_requests_are_refused_at_once_and_told_when(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    broken_at = anyio.current_time()
    parts.breaker.record(Outcome.FAILURE, "the test broke it", broken_at)
    ids = [await parts.ask(account) for account in (alice, bob)]
    async with parts.visiting():
        for one in ids:
            error = await parts.error(one)
            assert (error.code, error.retryable) == ("CIRCUIT_OPEN", True)
            least_ms = (broken_at + 30 - anyio.current_time()) * 1000
            assert int(least_ms) <= (error.retry_after_ms or 0) <= 30_000
    assert terminal.commands == []
    assert len(parts.backlog) == 0


async def test_who_allows_it_gets_the_last_snapshot_marked_stale(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    async with parts.visiting():
        fresh = await parts.answer(await parts.ask(alice))
        parts.breaker.record(Outcome.FAILURE, "the test broke it", anyio.current_time())
        await anyio.sleep(0.01)
        stale = await parts.answer(await parts.ask(alice, stale_if_error_ms=60_000))
        too_old = await parts.error(await parts.ask(alice, stale_if_error_ms=1))
    assert (stale.stale, stale.reason, stale.source) == (True, "CIRCUIT_OPEN", "snapshot")
    assert (stale.as_of_ms, stale.data) == (fresh.as_of_ms, fresh.data)
    assert stale.age_ms > 0
    assert too_old.code == "CIRCUIT_OPEN"
    assert terminal.visits == [alice]
    assert parts.replies.tally.stale == 1


async def test_what_is_not_in_a_snapshot_is_never_answered_stale(
    parts: Parts, alice: AccountId
) -> None:
    async with parts.visiting():
        await parts.answer(await parts.ask(alice))
        parts.breaker.record(Outcome.FAILURE, "the test broke it", anyio.current_time())
        asked = await parts.ask(alice, "deals", arguments=DAY, stale_if_error_ms=60_000)
        assert (await parts.error(asked)).code == "CIRCUIT_OPEN"


async def test_a_refusal_is_never_papered_over_with_a_snapshot(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    async with parts.visiting():
        await parts.answer(await parts.ask(alice))
        await parts.answer(await parts.ask(bob))
        terminal.accounts[alice].password = b"changed at the broker"
        asked = await parts.ask(alice, stale_if_error_ms=60_000)
        assert (await parts.error(asked)).code == "MT5_AUTH_FAILED"


# Stopping


async def test_the_visit_under_way_is_finished_and_no_other_begun(
    parts: Parts,
    terminal: FakeTerminal,
    alice: AccountId,
    bob: AccountId,
    gate: Callable[[], Gate],
) -> None:
    terminal.at_read = gate()
    first, second = await parts.ask(alice), await parts.ask(bob)
    with anyio.fail_after(HANG_LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.visits.run)
            await terminal.at_read.reached.wait()
            parts.stop()
            terminal.at_read.opened.set()
    await parts.answer(first)
    assert not await parts.is_answered(second)
    assert await parts.redis.xlen(parts.keys.requests) == 1


async def test_who_lost_the_lease_answers_nothing_and_stops(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, gate: Callable[[], Gate]
) -> None:
    terminal.at_read = gate()
    asked = await parts.ask(alice)
    stopped: list[Any] = []

    async def visit_until_stopped() -> None:
        with pytest.RaisesGroup(LeaseLostError, flatten_subgroups=True):
            await parts.visits.run()
        stopped.append(True)

    with anyio.fail_after(HANG_LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(visit_until_stopped)
            await terminal.at_read.reached.wait()
            await parts.redis.set(parts.keys.lease, "another:nonce:99")
            terminal.at_read.opened.set()
    assert stopped
    assert not await parts.is_answered(asked)
    assert await parts.snapshot(alice) is None
    assert parts.lease.fenced_writes == 1


# Who waits no more, and how long the terminal has


async def test_for_a_request_that_was_withdrawn_there_is_no_login(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    withdrawn = await parts.submit(alice, gateway="gw")
    kept = await parts.submit(bob, gateway="")
    await parts.redis.hdel(parts.keys.request(withdrawn), f"to:{parts.keys.replies('gw')}")
    async with parts.visiting():
        await parts.answer(kept)
    assert terminal.visits == [bob]
    assert not await parts.is_answered(withdrawn)
    assert await parts.redis.xlen(parts.keys.requests) == len(parts.backlog) == 0


async def test_who_still_waits_for_the_account_is_served_without_the_withdrawn(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    withdrawn = await parts.submit(alice, "deals", gateway="gw", arguments=DAY)
    kept = await parts.submit(alice, gateway="")
    await parts.redis.hdel(parts.keys.request(withdrawn), f"to:{parts.keys.replies('gw')}")
    async with parts.visiting():
        await parts.answer(kept)
    assert reads_of(terminal.commands[-1]) == ["account_info", "positions", "orders"]


async def test_the_login_has_as_long_as_anybody_waits(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    parts.costs.observe_switch(alice, 10.0)
    for timeout_ms in (20_000, 60_000, 30_000):
        one = await parts.ask(alice, timeout_ms=timeout_ms)
    async with parts.visiting():
        await parts.answer(one)
    (visit,) = (one for one in terminal.commands if isinstance(one, Visit))
    assert 30_000 < visit.timeout_ms <= 60_000


async def test_a_caller_in_a_hurry_does_not_cut_a_login_short(
    parts: Parts, terminal: FakeTerminal, alice: AccountId
) -> None:
    parts.costs.observe_switch(alice, 3_000.0)
    one = await parts.ask(alice, timeout_ms=8_000)
    async with parts.visiting():
        await parts.answer(one)
    (visit,) = (one for one in terminal.commands if isinstance(one, Visit))
    assert visit.timeout_ms == 9_000


# The login governor


async def test_the_governor_delays_a_login_and_drops_nobody(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    parts.governor.policy = GovernorPolicy(per_minute=2, burst=1)
    first, second = [await parts.ask(account) for account in (alice, bob)]
    async with parts.visiting():
        early = await parts.answer(first)
        assert not await parts.is_answered(second)
        parts.let_time_pass(30)
        parts.visits.wake()
        late = await parts.answer(second)
    assert late.as_of_ms - early.as_of_ms >= 29_990
    assert parts.visits.tally.logins_delayed == 1
    assert parts.shadow.late_ms < 20_000  # the governor's delay is not counted
    assert parts.logins.of_last_hour(parts.clock.now_ms()) == {alice: 1, bob: 1}


async def test_while_the_governor_holds_one_back_those_it_allows_are_served(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, bob: AccountId
) -> None:
    elsewhere = await parts.enrol(AccountId(9, "Other-Broker"))
    parts.governor.policy = GovernorPolicy(per_minute=2, burst=1)
    first, held_back, other = [await parts.ask(account) for account in (alice, bob, elsewhere)]
    async with parts.visiting():
        await parts.answer(first)
        await parts.answer(other)
        assert not await parts.is_answered(held_back)
        parts.let_time_pass(30)
        parts.visits.wake()
        await parts.answer(held_back)
    assert terminal.visits[:3] == [alice, elsewhere, bob]


# Joining a read that is under way


async def test_who_allows_some_age_joins_a_read_that_has_begun(
    parts: Parts, terminal: FakeTerminal, alice: AccountId, gate: Callable[[], Gate]
) -> None:
    terminal.at_read = gate()
    first = await parts.ask(alice)
    async with parts.visiting():
        await terminal.at_read.reached.wait()
        await anyio.sleep(0.01)  # the clock of arrivals tells milliseconds apart
        joining = await parts.ask(alice, max_age_ms=60_000)
        terminal.at_read.opened.set()
        replies = [await parts.answer(one) for one in (first, joining)]
    assert replies[0].as_of_ms == replies[1].as_of_ms
    assert terminal.visits == [alice]
