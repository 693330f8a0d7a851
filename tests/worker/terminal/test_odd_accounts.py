"""Whatever the terminal shows of one account, the next account is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.worker.conftest import record
from tests.worker.terminal.conftest import READS, FakeBinding, FakeClock, Row

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import envelope_fingerprint
from mt5relay_shared.operations import Operation, RatesArguments, SymbolArguments
from mt5relay_shared.records import AccountInfo, Tick, TradePosition
from mt5relay_shared.sealing import public_part, seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.terminal.failure import NotReadyError, TerminalError
from mt5relay_worker.terminal.figures import implies_positions
from mt5relay_worker.terminal.host import TerminalHost
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import (
    Answer,
    Failed,
    Probe,
    Probed,
    Read,
    Visit,
    Visited,
    answer_decoder,
    frame,
)
from mt5relay_worker.terminal.switching import SwitchLimits, VerifiedSwitch
from mt5relay_worker.terminal.vault import Vault

ODD, HEALTHY = AccountId(11, "Broker-Demo"), AccountId(12, "Other-Live")
KEY = X25519PrivateKey.generate()
SYMBOL = {"symbol": "EURUSD"}
EVERYTHING = [
    Read("account_info"),
    Read("positions"),
    Read("orders"),
    Read("deals", {"from_ms": 0, "to_ms": 2_000_000_000_000}),
    Read("history_orders", {"from_ms": 0, "to_ms": 2_000_000_000_000}),
    Read("symbol", SYMBOL),
    Read("tick", SYMBOL),
    Read("rates", {**SYMBOL, "timeframe": "M1", "count": 3}),
]

figures = st.one_of(
    st.floats(), st.integers(), st.integers(min_value=2**63), st.booleans(), st.none()
)
texts = st.one_of(
    st.text(), st.text(st.characters(categories=["Cs", "Co", "Cn"])), st.binary(max_size=3)
)
exceptions = st.sampled_from(
    [
        *(ValueError, SystemError, RuntimeError, OSError, MemoryError, RecursionError, KeyError),
        *(OverflowError, AttributeError, StopIteration, UnicodeDecodeError, SystemExit),
        *(AssertionError, NotImplementedError, ZeroDivisionError),
    ]
)


def raised(kind: type[BaseException]) -> BaseException:
    if kind is UnicodeDecodeError:
        return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    return kind("year 60000 is out of range; secret-11")


class OddBinding(FakeBinding):
    """As the package, but while ODD is logged in one call does what the test says."""

    def __init__(self, call: str, odd: Callable[[Any], Any]) -> None:
        super().__init__(FakeClock())
        self._odd_call = call
        self._odd = odd
        self.knows(ODD, positions=2, margin=10.0)
        self.knows(HEALTHY, positions=1, margin=5.0)

    @property
    def clock(self) -> FakeClock:
        return self._clock

    def last_error(self) -> Any:
        found = super().last_error()
        return self._odd(found) if self._is_odd("last_error") else found

    def _is_odd(self, name: str) -> bool:
        return name == self._odd_call and self.on == ODD

    def _call(self, name: str, succeed: Any, nothing: Any, *args: Any, **kwargs: Any) -> Any:
        found = super()._call(name, succeed, nothing, *args, **kwargs)
        return self._odd(found) if self._is_odd(name) else found


def host_on(binding: OddBinding) -> TerminalHost:
    adapter = MetaTrader5Adapter(binding)
    clock = binding.clock
    switch = VerifiedSwitch(adapter, SwitchLimits(), clock=clock, sleep=clock.sleep)
    return TerminalHost(adapter, switch, Vault(KeyRing([KEY])), None)


def ask(host: TerminalHost, account: AccountId, *reads: Read) -> Answer:
    """A visit, over the frames that the worker reads."""
    sealed = seal(Secret(f"secret-{account.login}"), account, public_part(KEY), 0)
    fingerprint = envelope_fingerprint(sealed)
    visit = Visit(account.login, account.server, fingerprint, sealed, 60_000, list(reads))
    return answer_decoder.decode(frame(host.handle(visit))[4:])


def assert_the_next_one_is_served(host: TerminalHost) -> None:
    assert isinstance(host.handle(Probe()), Probed | Failed)
    answer = ask(host, HEALTHY, *EVERYTHING)
    assert isinstance(answer, Visited)
    assert [result.code for result in answer.results] == [None] * len(EVERYTHING)
    assert isinstance(host.handle(Probe()), Probed)


slow = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(st.sampled_from([*READS, "login", "last_error"]), exceptions)
def test_an_exception_of_any_call_ends_nothing_else(call: str, kind: type[BaseException]) -> None:
    def odd(_: Any) -> Any:
        raise raised(kind)

    host = host_on(OddBinding(call, odd))
    answer = ask(host, ODD, *EVERYTHING)
    assert "secret-11" not in repr(answer)
    if isinstance(answer, Failed):
        assert answer.code in ("INTERNAL", "VALIDATION_FAILED", "MT5_CONNECTION_LOST")
    assert_the_next_one_is_served(host)


@slow
@given(st.sampled_from([*READS, "last_error"]), st.data())
def test_any_text_and_any_figure_of_any_record_ends_nothing_else(
    call: str, data: st.DataObject
) -> None:
    def odd(found: Any) -> Any:
        if isinstance(found, Row):
            fields = dict(vars(found))
            name = data.draw(st.sampled_from(sorted(fields)))
            odd_row = Row.__new__(Row)
            odd_row.__dict__.update({**fields, name: data.draw(st.one_of(figures, texts))})
            return odd_row
        if isinstance(found, tuple) and found:
            return (odd(found[0]), *found[1:])
        return data.draw(st.one_of(figures, texts, st.just(object()), st.just([()])))

    host = host_on(OddBinding(call, odd))
    ask(host, ODD, *EVERYTHING)
    assert_the_next_one_is_served(host)


# Texts


@pytest.mark.parametrize("text", ["tp \ud83d", "\udc00", "a\ud83d\ude00b\ud83d"])
def test_a_text_cut_in_the_middle_of_a_character_is_repaired(
    switch: VerifiedSwitch, binding: FakeBinding, text: str
) -> None:
    binding.knows(ODD, positions=1, margin=1.0)
    (position,) = binding.books[ODD].positions
    binding.books[ODD].positions[0] = msgspec.structs.replace(position, comment=text)
    switch.switch(ODD, "f", Secret("secret-11"), 1_000)
    result = switch.read(ODD, Read("positions"))
    (found,) = msgspec.json.decode(result.data or b"", type=list[TradePosition])
    assert found.comment == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert "\ufffd" in found.comment


def test_a_field_of_another_type_is_named(switch: VerifiedSwitch, binding: FakeBinding) -> None:
    binding.knows(ODD, positions=1, margin=1.0)
    row = Row(binding.books[ODD].positions[0])
    row.__dict__["magic"] = "seven"
    switch.switch(ODD, "f", Secret("secret-11"), 1_000)
    binding.answers["positions_get"] = (row,)
    result = switch.read(ODD, Read("positions"))
    assert (result.code, result.data) == ("MT5_DATA_INVALID", None)
    assert "magic" in result.message
    assert "seven" not in result.message


# The server's name


def test_a_server_that_the_terminal_calls_otherwise_is_the_enrolments_fault(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    spelled = AccountId(11, "203.0.113.7:443")
    binding.knows(spelled)
    shown = msgspec.structs.replace(binding.books[spelled].info, server="Broker-Demo")
    binding.books[spelled].info = shown
    with pytest.raises(TerminalError) as failed:
        switch.switch(spelled, "f", Secret("secret-11"), 1_000)
    assert failed.value.code == "INVALID_STATE"
    assert "enrol the account as 11@Broker-Demo" in failed.value.message


def test_the_same_login_at_another_server_is_not_taken_for_it(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    """Two brokers may have the same login; the terminal stayed where it was."""
    twin = AccountId(11, "Other-Live")
    binding.knows(ODD)
    binding.knows(twin)
    switch.switch(twin, "f", Secret("secret-11"), 1_000)
    binding.after_login.stays = 2
    with pytest.raises(TerminalError) as failed:
        switch.switch(ODD, "f", Secret("secret-11"), 1_000)
    assert failed.value.code == "MT5_DATA_INVALID"


# Figures


def test_a_free_margin_that_really_is_zero_is_assumed_after_a_while(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    binding.knows(ODD, balance=0.0, credit=100.0, equity=100.0, margin=0.0, margin_free=0.0)
    switch.switch(ODD, "f", Secret("secret-11"), 1_000)
    assert switch.synchronized == "assumed"
    result = switch.read(ODD, Read("account_info"))
    info = msgspec.json.decode(result.data or b"", type=AccountInfo)
    assert (info.credit, info.margin_free) == (100.0, 0.0)


def test_figures_that_still_change_are_not_answered(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock
) -> None:
    binding.knows(ODD, balance=100.0, equity=100.0, margin_free=0.0)

    class Changing(dict[AccountId, Any]):
        def __getitem__(self, account: AccountId) -> Any:
            book = super().__getitem__(account)
            book.info = msgspec.structs.replace(book.info, equity=clock())
            return book

    binding.books = Changing(binding.books)
    with pytest.raises(NotReadyError):
        switch.switch(ODD, "f", Secret("secret-11"), 1_000)


@pytest.mark.parametrize(
    ("digits", "margin", "profit", "is_implied"),
    [
        (2, 0.01, 0.0, True),
        (2, 0.0, -0.01, True),
        (2, 0.0, 0.0, False),
        (2, 1e-12, 0.0, False),  # what floating point leaves
        (8, 0.0021, 0.0004, True),
        (8, 0.00000001, 0.0, True),
        (0, 12.0, 0.0, True),
        (0, 0.3, 0.0, True),
        (-1, 1.0, 0.0, True),
        (400, 0.01, 0.0, True),
    ],
)
def test_any_amount_of_any_currency_implies_positions(
    blank: Callable[..., Any], digits: int, margin: float, profit: float, is_implied: bool
) -> None:
    info = blank(AccountInfo, currency_digits=digits, margin=margin, profit=profit)
    assert implies_positions(info) is is_implied


def test_positions_of_an_account_in_bitcoin_are_waited_for(
    switch: VerifiedSwitch, binding: FakeBinding
) -> None:
    binding.knows(
        ODD,
        positions=1,
        currency_digits=8,
        balance=0.05,
        equity=0.0504,
        margin=0.0021,
        margin_free=0.0483,
        profit=0.0004,
    )
    binding.after_login.lists = 0.7
    switch.switch(ODD, "f", Secret("secret-11"), 1_000)
    result = switch.read(ODD, Read("positions"))
    assert (result.kind, len(msgspec.json.decode(result.data or b"[]"))) == ("value", 1)


# Symbols


def test_a_price_of_zeros_is_not_answered(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock, blank: Callable[..., Any]
) -> None:
    binding.knows(ODD)
    switch.switch(ODD, "f", Secret("secret-11"), 1_000)
    real = Row(blank(Tick, bid=1.1, ask=1.2, time_msc=1_700_000_000_000))
    binding.answers_late("symbol_info_tick", 0.3, Row(blank(Tick)), real)
    result = switch.read(ODD, Read("tick", SYMBOL), give_up_at=clock() + 5)
    assert msgspec.json.decode(result.data or b"", type=Tick).bid == 1.1


def test_bars_that_load_are_waited_for(
    switch: VerifiedSwitch, binding: FakeBinding, clock: FakeClock
) -> None:
    binding.knows(ODD)
    switch.switch(ODD, "f", Secret("secret-11"), 1_000)
    bar = (60, 1.0, 1.0, 1.0, 1.0, 1, 0, 0)
    binding.answers_late("copy_rates_from_pos", 2.0, None, [bar])
    rates = Read("rates", {**SYMBOL, "timeframe": "M1", "count": 1})
    result = switch.read(ODD, rates, give_up_at=clock() + 5)
    assert (result.kind, result.code) == ("value", None)
    binding.answers_late("copy_rates_from_pos", 20.0, None, [bar])
    result = switch.read(ODD, rates, give_up_at=clock() + 5)
    assert (result.kind, result.code) == ("not_ready", "MT5_DATA_INVALID")


def test_a_symbol_that_never_gets_a_price_is_waited_for_once() -> None:
    """Else one caller could keep the terminal from the others."""
    binding = OddBinding("none", lambda found: found)
    host = host_on(binding)
    binding.answers["symbol_info_tick"] = Row(record(Tick))
    took: list[float] = []
    for _ in range(3):
        began = binding.clock()
        answer = ask(host, ODD, Read("tick", SYMBOL))
        assert isinstance(answer, Visited)
        assert answer.results[0].kind == "not_ready"
        took.append(binding.clock() - began)
    assert took[0] >= 5
    assert took[1:] == [0, 0]
    del binding.answers["symbol_info_tick"]
    answer = ask(host, ODD, Read("tick", SYMBOL))
    assert isinstance(answer, Visited)
    assert answer.results[0].kind == "value"


def test_an_unknown_symbol_is_not_found_whatever_the_selection_says(
    adapter: MetaTrader5Adapter, binding: FakeBinding
) -> None:
    binding.fails("symbol_select", (-1, "Terminal: Call failed"))
    binding.fails("symbol_info", (-4, "Terminal: Not found"))
    with pytest.raises(TerminalError) as failed:
        adapter.read(Operation.TICK, SymbolArguments("NOPE"))
    assert (failed.value.code, failed.value.mt5) == ("NOT_FOUND", (-1, "Terminal: Call failed"))


@pytest.mark.parametrize(
    ("call", "operation", "arguments"),
    [
        ("symbol_select", Operation.TICK, SymbolArguments("EURUSD")),
        ("symbol_info_tick", Operation.TICK, SymbolArguments("EURUSD")),
        ("symbol_info", Operation.SYMBOL, SymbolArguments("EURUSD")),
        ("copy_rates_from_pos", Operation.RATES, RatesArguments("EURUSD", "M1", 1)),
    ],
)
def test_an_error_of_one_symbol_is_not_the_connections(
    adapter: MetaTrader5Adapter,
    binding: FakeBinding,
    call: str,
    operation: Operation,
    arguments: SymbolArguments | RatesArguments,
) -> None:
    binding.fails(call, (-1, "Terminal: Call failed"))
    with pytest.raises(TerminalError) as failed:
        adapter.read(operation, arguments)
    assert failed.value.code == "MT5_DATA_INVALID"
