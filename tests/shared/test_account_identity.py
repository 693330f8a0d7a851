"""Who an account is, and what a login, a server and a password may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.accounts import (
    MAX_LOGIN,
    MAX_PASSWORD_UNITS,
    MAX_SERVER_UNITS,
    AccountId,
    check_password,
    shorten,
)
from mt5relay_shared.errors import MT5ValidationError

servers = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="@"), min_size=1)


@given(st.integers(1, MAX_LOGIN), servers.filter(lambda name: len(name) < 30))
def test_an_account_reads_back_as_it_is_spelled(login: int, server: str) -> None:
    account = AccountId(login, server)
    assert AccountId.parse(str(account)) == account


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "25115284",
            "@Demo",
            "x@Demo",
            "-1@Demo",
            "+1@Demo",
            "1.0@Demo",
            " 1@Demo",
            "1_0@Demo",
        ),
        *("٢٥@Demo", "²@Demo", f"{10**19}0@Demo"),
    ],
)
def test_what_is_not_login_at_server_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MT5ValidationError, match=r"^account: .*25115284@MetaQuotes-Demo"):
        AccountId.parse(text)


@pytest.mark.parametrize("login", [0, -1, MAX_LOGIN + 1])
def test_a_login_has_bounds_that_the_error_names(login: int) -> None:
    with pytest.raises(MT5ValidationError, match=f"^login: {login} is not between 1 and"):
        AccountId(login, "Demo")


@pytest.mark.parametrize(
    ("server", "complaint"),
    [
        ("", "without outer spaces"),
        (" Demo", "without outer spaces"),
        ("Demo\n", "without outer spaces"),
        ("De@mo", "a character that no server has"),
        ("De\x00mo", "a character that no server has"),
        ("De\ud800mo", "a character that no server has"),
        ("x" * (MAX_SERVER_UNITS + 1), "longer than 63"),
        ("😀" * 32, "longer than 63"),  # two UTF-16 units each
    ],
)
def test_a_server_that_the_terminal_could_not_hold_is_refused(server: str, complaint: str) -> None:
    with pytest.raises(MT5ValidationError, match=f"^server: .*{complaint}"):
        AccountId(1, server)


@pytest.mark.parametrize("server", ["x" * MAX_SERVER_UNITS, "😀" * 31, "Broker Ltd-Live 2"])
def test_a_server_may_fill_the_terminals_record(server: str) -> None:
    assert AccountId(1, server).server == server


def test_accounts_of_one_number_at_two_servers_are_two() -> None:
    assert len({AccountId(1, "A"), AccountId(1, "B"), AccountId(1, "A")}) == 2


@pytest.mark.parametrize(
    ("password", "complaint"),
    [
        ("", "it is empty"),
        ("hunter2\n", "control character"),
        ("hunter2" * 40, f"longer than {MAX_PASSWORD_UNITS}"),
    ],
)
def test_a_refused_password_is_never_quoted(password: str, complaint: str) -> None:
    with pytest.raises(MT5ValidationError, match=f"^password: .*{complaint}") as refused:
        check_password(password)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("password", ["x", "pässwörd 1!", "x" * MAX_PASSWORD_UNITS])
def test_a_password_may_hold_what_brokers_allow(password: str) -> None:
    check_password(password)


def test_foreign_text_does_not_fill_the_log() -> None:
    assert shorten("x" * 80) == "x" * 80
    assert shorten("x" * 1000) == "x" * 80 + "…"
    with pytest.raises(MT5ValidationError) as refused:
        AccountId.parse("x" * 10_000)
    assert len(str(refused.value)) < 200
