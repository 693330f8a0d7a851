"""What is understood of a journal's lines, and that nothing else is."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_worker.terminal.journal_lines import (
    MAX_LINE,
    MAX_REASON,
    Authorized,
    Line,
    Refused,
    Said,
    Synchronized,
    Unreachable,
    parse_line,
)

NETWORK = "RM\t0\t01:07:49.131\tNetwork\t"


# Wordings as users published them, of builds 4410 to 6204.
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "authorized on Capital.ComMena-Demo through Access Point 2 (ping: 134.13 ms, build 58)",
            Authorized("Capital.ComMena-Demo"),
        ),
        (
            "authorized on DerivSVG-Server-03 through Access Server - South Africa 02",
            Authorized("DerivSVG-Server-03"),
        ),
        ("authorized on Upcomers-Server", Authorized("Upcomers-Server")),
        ("authorized on FxPro-MT5 Demo through Access Point EU 0", Authorized("FxPro-MT5 Demo")),
        (
            "terminal synchronized with Capital Com Mena Securities Trading L.L.C: 8 positions,"
            " 0 orders, 232 symbols, 0 spreads",
            Synchronized(8, 0),
        ),
        (
            "terminal synchronized with E-Global Trade and Finance Group, Inc.: 0 positions,"
            " 3 orders, 152 symbols",
            Synchronized(0, 3),
        ),
        (
            "terminal synchronized with Deriv (SVG) LLC: 1 positions, 0 orders",
            Synchronized(1, 0),
        ),
        ("terminal synchronized with MetaQuotes Ltd.", Synchronized()),
        (
            "authorization on MetaQuotes-Demo failed (Invalid account)",
            Refused("MetaQuotes-Demo", "Invalid account"),
        ),
        (
            "authorization on Example-Real failed (Service is not available)",
            Refused("Example-Real", "Service is not available"),
        ),
        ("authorization on WyncrestCapital-Trade failed", Refused("WyncrestCapital-Trade", "")),
        ("no connection to ICMarketsSC-Demo", Unreachable("ICMarketsSC-Demo")),
    ],
)
def test_published_lines_are_understood(words: str, said: Said) -> None:
    line = parse_line(f"{NETWORK}'1025742': {words}")
    assert line == Line(time(1, 7, 49, 131_000), 1025742, said)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CP\t0\t15:19:36.837\tTerminal\tMetaTrader 5 x64 build 6182 started for Raw Trading Ltd",
        f"{NETWORK}'1': trading has been enabled, demo account - hedging mode",
        f"{NETWORK}'1': previous successful authorization performed from 192.0.2.1 on 2026.06.13",
        f"{NETWORK}'1': connection to MetaQuotes-Demo lost",
        "RM\t0\t01:07:49.131\tExperts\t'1': authorized on Broker-Demo",
        "RM\t0\t25:07:49.131\tNetwork\t'1': authorized on Broker-Demo",
        "RM\t0\t01:07:49\tNetwork\t'1': authorized on Broker-Demo",
        "01:07:49.131\tNetwork\t'1': authorized on Broker-Demo",
        f"{NETWORK}'': authorized on Broker-Demo",
        f"{NETWORK}'٣': authorized on Broker-Demo",
        f"{NETWORK}'1': authorized on Broker-Demo\tmore",
        f"{NETWORK}'1': authorization on Broker-Demo fail",
        f"{NETWORK}'1': authorized on {'x' * MAX_LINE}",
    ],
)
def test_other_lines_say_nothing_of_a_login(text: str) -> None:
    assert parse_line(text) is None


def test_a_reason_can_neither_break_a_line_nor_be_endless() -> None:
    line = parse_line(f"{NETWORK}'1': authorization on S failed (a\x1b[0m{'b' * 200})")
    assert line is not None
    assert isinstance(line.said, Refused)
    assert line.said.reason.isprintable()
    assert len(line.said.reason) == MAX_REASON


@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    parse_line(text)
    parse_line(NETWORK + text)
    parse_line(f"{NETWORK}'1': {text}")


NAMES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=40)


@given(NAMES, st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1), st.integers(0, 10**18))
def test_counts_are_read_whatever_the_company_is_called(
    company: str, positions: int, orders: int, login: int
) -> None:
    words = (
        f"terminal synchronized with {company}: {positions} positions, {orders} orders, 9 symbols"
    )
    line = parse_line(f"{NETWORK}'{login}': {words}")
    assert line is not None
    assert (line.login, line.said) == (login, Synchronized(positions, orders))


@given(st.data())
def test_a_line_that_is_cut_short_never_gives_other_counts(data: st.DataObject) -> None:
    whole = f"{NETWORK}'77': terminal synchronized with Broker: 12 positions, 345 orders, 9 symbols"
    line = parse_line(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert line is None or line.said in (Synchronized(), Synchronized(12, 345))
