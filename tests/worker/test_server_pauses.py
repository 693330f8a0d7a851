"""A broker server that takes no logins is asked ever less often, and nobody else suffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_worker.server_pauses import FIRST_PAUSE, LONGEST_PAUSE, ServerPauses
from mt5relay_worker.terminal.protocol import Visit

if TYPE_CHECKING:
    from tests.worker.conftest import FakeTerminal, Parts

THROTTLED = (-6, "Terminal: Authorization failed")


def test_a_server_that_let_nobody_down_is_not_paused() -> None:
    assert ServerPauses().remaining("Broker", 0) == 0


def test_each_refusal_doubles_the_pause_up_to_the_longest() -> None:
    pauses = ServerPauses()
    lengths = [pauses.refused("Broker", 0) for _ in range(6)]
    assert lengths == [FIRST_PAUSE, 10, 20, 40, LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_pause_ends_by_itself_and_is_the_servers_own() -> None:
    pauses = ServerPauses()
    pauses.refused("Broker", 100)
    assert pauses.remaining("Broker", 102) == pytest.approx(FIRST_PAUSE - 2)
    assert pauses.remaining("Broker", 100 + FIRST_PAUSE) == 0
    assert pauses.remaining("Another", 100) == 0


def test_who_lets_somebody_in_starts_anew() -> None:
    pauses = ServerPauses()
    pauses.refused("Broker", 0)
    pauses.refused("Broker", 0)
    pauses.accepted("Broker")
    assert pauses.remaining("Broker", 0) == 0
    assert pauses.refused("Broker", 0) == FIRST_PAUSE


async def test_a_throttling_server_is_spared_further_logins_and_others_are_served(
    parts: Parts, terminal: FakeTerminal
) -> None:
    first, second = [await parts.enrol(AccountId(login, "Throttled")) for login in (1, 2)]
    elsewhere = await parts.enrol(AccountId(3, "Elsewhere"))
    terminal.fails_at(Visit, "BROKER_UNAVAILABLE", mt5=THROTTLED)
    async with parts.visiting():
        refused = await parts.error(await parts.ask(first))
        spared = await parts.error(await parts.ask(second))
        await parts.answer(await parts.ask(elsewhere))
    assert [refused.code, spared.code] == ["BROKER_UNAVAILABLE"] * 2
    assert "Throttled" in spared.message
    assert 0 < (spared.retry_after_ms or 0) <= FIRST_PAUSE * 1000
    assert [one.login for one in terminal.commands if isinstance(one, Visit)] == [1, 3]
    assert parts.breaker.is_closed
