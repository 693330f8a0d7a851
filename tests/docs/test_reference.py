"""The reference says what the code says."""

from __future__ import annotations

import re

import pytest
from tests.docs.acl import grants
from tests.docs.reference import COMMAND, PAGE, key_types, reference, spelled, unexplained
from tests.docs.source_facts import LogEvent, log_events

from mt5relay_shared.keys import FleetKeys, Keys

pytestmark = pytest.mark.integration


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.is_file(), f"run `{COMMAND}`"
    assert PAGE.read_text("utf-8") == reference(), f"run `{COMMAND}`"


@pytest.mark.parametrize("table", unexplained())
def test_whatever_has_a_name_has_its_sentence_and_no_sentence_is_left_over(table: str) -> None:
    missing, left_over = unexplained()[table]
    assert not missing, f"{table} in tests/docs/sentences.py lacks: {', '.join(sorted(missing))}"
    assert not left_over, f"{table} in tests/docs/sentences.py: nothing is called {left_over}"


def test_the_wire_contract_lists_every_key_and_no_other() -> None:
    assert set(key_types()) == {*spelled(Keys("T")), *spelled(FleetKeys())}


def test_events_are_found_however_they_are_logged() -> None:
    """In a call, through a function that is told the event, in a part of a name, on a thread."""
    found = {one.name: one for one in log_events()}
    assert found["lease.acquired"] == LogEvent(
        "lease.acquired", ("info",), ("fence", "charged"), ("mt5relay_worker.lease",)
    )
    assert "connection.login.failed" in found
    assert found["lease.keeper.redis_unavailable"].fields == ("error",)
    assert found["worker.stalled"].levels == ("critical",)
    assert found["state.changed"].levels == ("info",)


def test_a_gateway_may_not_read_credentials_nor_a_monitor_write() -> None:
    allowed = grants()
    assert allowed["gateway"].commands("{mt5:T}:accounts", "reads") == ["hkeys"]
    assert all(not allowed["monitor"].commands(one, "writes") for one in spelled(Keys("T")))


def test_every_table_has_rows_of_one_width() -> None:
    for part in re.split(r"^## ", reference(), flags=re.M)[1:]:
        widths = {
            len(re.findall(r"(?<!\\)\|", line)) for line in part.splitlines() if line[:1] == "|"
        }
        assert len(widths) == 1, part.splitlines()[0]
