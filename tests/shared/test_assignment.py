"""Which terminal serves an account."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.assignment import assign
from mt5relay_shared.errors import MT5DataError, NoWorkerError
from mt5relay_shared.fleet import Fleet, RegisteredTerminal, TerminalState, decode_fleet

SERVERS = [f"Broker{number}-Live" for number in range(2000)]
ACCOUNT = AccountId(1, "MetaQuotes-Demo")
terminals = st.sets(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), min_size=1, max_size=6)
servers = st.sampled_from(SERVERS)


def by_server(server: str, active: set[str]) -> str:
    return assign(AccountId(1, server), active, {})


@given(active=terminals, newcomer=st.just("Newcomer"), server=servers)
def test_a_new_terminal_takes_accounts_and_moves_no_other(
    active: set[str], newcomer: str, server: str
) -> None:
    before, after = by_server(server, active), by_server(server, active | {newcomer})
    assert after in (before, newcomer)


@given(active=terminals, server=servers)
def test_a_terminal_that_goes_moves_only_its_own_accounts(active: set[str], server: str) -> None:
    here = by_server(server, active)
    for gone in active - {here}:
        assert by_server(server, active - {gone}) == here


@given(active=terminals, server=servers, logins=st.lists(st.integers(1, 10**9), max_size=20))
def test_accounts_of_one_server_stay_together(
    active: set[str], server: str, logins: list[int]
) -> None:
    assert len({assign(AccountId(login, server), active, {}) for login in [1, *logins]}) == 1


@given(active=terminals, server=servers)
def test_the_order_of_registration_does_not_matter(active: set[str], server: str) -> None:
    account = AccountId(1, server)
    assert assign(account, sorted(active), {}) == assign(account, sorted(active)[::-1], {})


def test_many_servers_are_shared_out_evenly_and_a_fifth_terminal_takes_a_fifth() -> None:
    four = {"t1", "t2", "t3", "t4"}
    shares = Counter(by_server(server, four) for server in SERVERS)
    assert all(0.2 < share / len(SERVERS) < 0.3 for share in shares.values())
    moved = [one for one in SERVERS if by_server(one, four | {"t5"}) != by_server(one, four)]
    assert 0.16 < len(moved) / len(SERVERS) < 0.24


def test_the_ranking_is_part_of_the_contract_and_never_changes() -> None:
    names = ["MetaQuotes-Demo", "Alpha-Demo", "Beta-Live", "ICMarketsSC-MT5", "Börse-Live"]
    assert [by_server(name, {"main", "t2", "t3"}) for name in names] == [
        "t2",
        "t2",
        "t3",
        "t2",
        "main",
    ]


def test_a_pin_wins_while_its_terminal_is_active() -> None:
    elsewhere = ({"a", "b"} - {by_server(ACCOUNT.server, {"a", "b"})}).pop()
    pins = {str(ACCOUNT): elsewhere}
    assert assign(ACCOUNT, {"a", "b"}, pins) == elsewhere
    neighbour = AccountId(2, ACCOUNT.server)
    assert assign(neighbour, {"a", "b"}, pins) != elsewhere


def test_a_pin_to_a_terminal_that_is_not_active_rests() -> None:
    expected = by_server(ACCOUNT.server, {"a", "b"})
    assert assign(ACCOUNT, {"a", "b"}, {str(ACCOUNT): "c"}) == expected


def test_without_an_active_terminal_the_remedy_is_named() -> None:
    with pytest.raises(NoWorkerError, match="terminals add"):
        assign(ACCOUNT, [], {str(ACCOUNT): "a"})


def test_a_draining_terminal_is_registered_but_serves_nobody() -> None:
    fleet = Fleet(
        1,
        {
            "a": RegisteredTerminal(TerminalState.ACTIVE, 0),
            "b": RegisteredTerminal(TerminalState.DRAINING, 0),
        },
        {str(ACCOUNT): "b"},
    )
    assert fleet.active == ["a"]
    assert fleet.terminal_of(ACCOUNT) == "a"


def test_the_registry_is_read_as_it_stands_in_redis() -> None:
    assert decode_fleet(None, {}, {}) == Fleet()
    fleet = decode_fleet(
        b"1750000000000", {b"t1": b'{"state":"active","since_ms":5}'}, {b"1@MetaQuotes-Demo": b"t1"}
    )
    assert fleet.version == 1_750_000_000_000
    assert fleet.terminals == {"t1": RegisteredTerminal(TerminalState.ACTIVE, 5)}
    assert fleet.terminal_of(ACCOUNT) == "t1"


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (b"one", b'{"state":"active","since_ms":5}'),
        (b"1", b'{"state":"asleep","since_ms":5}'),
        (b"1", b'{"state":"active"}'),
        (b"1", b"\xff"),
    ],
)
def test_a_registry_that_cannot_be_read_is_not_guessed_at(version: bytes, body: bytes) -> None:
    with pytest.raises(MT5DataError, match="registry of terminals"):
        decode_fleet(version, {b"t1": body}, {})
