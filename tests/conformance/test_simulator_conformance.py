"""The simulator answers as the real package was measured to; and the judge is no rubber stamp."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.conformance.runner import (
    FAILURES,
    Finding,
    RealPackage,
    Simulated,
    UnreachableError,
    Verdict,
    check,
    check_row,
    main,
    report,
)
from tests.conformance.table import (
    NO_CONNECTION,
    ROWS,
    SUCCESS,
    WITHOUT_TERMINAL,
    Raises,
    Record,
    Row,
    State,
)

from mt5relay_worker.simulator import SimulatedMetaTrader5, generate_book
from mt5relay_worker.simulator.surface import FUNCTIONS


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_simulator_answers_as_the_table_says(function: str) -> None:
    rows = [row for row in ROWS if row.call == function]
    findings = list(check(Simulated(), rows))
    assert findings
    text, status = report(findings, function)
    assert status == 0, text


def test_every_row_is_run_on_the_simulator() -> None:
    verdicts = {finding.verdict for finding in check(Simulated())}
    assert verdicts == {Verdict.AGREES, Verdict.KNOWN}


def test_every_function_is_asked_in_every_state_that_it_is_measured_in() -> None:
    asked = {(row.call, row.state) for row in ROWS}
    for state in WITHOUT_TERMINAL:
        assert {call for call, where in asked if where is state} >= set(FUNCTIONS)


class Fixed:
    """A target whose functions all do the same."""

    name = "fixed"

    def __init__(self, returned: Any, *last_errors: tuple[int, str]) -> None:
        self._errors = list(last_errors)
        self._returned = returned

    def prepare(self, state: State) -> Any:
        if state is State.LOGGED_IN:
            raise UnreachableError("needs a terminal")
        return SimpleNamespace(last_error=lambda: self._errors.pop(0), anything=self._answer)

    def _answer(self, *_args: object, **_kwargs: object) -> Any:
        if isinstance(self._returned, Exception):
            raise self._returned
        return self._returned


ROW = Row("anything", (), None, NO_CONNECTION, State.BEFORE)


@pytest.mark.parametrize(
    ("row", "target"),
    [
        (ROW, Fixed((), SUCCESS, NO_CONNECTION)),
        (ROW, Fixed(None, SUCCESS, SUCCESS)),
        (ROW, Fixed(None, SUCCESS, (-10004, "No connection"))),
        (ROW, Fixed(ValueError(), SUCCESS, NO_CONNECTION)),
        (Row("anything", (), False, SUCCESS, State.BEFORE), Fixed(0, SUCCESS, SUCCESS)),
        (Row("anything", (), None, None, State.BEFORE), Fixed(None, SUCCESS, NO_CONNECTION)),
        (
            Row("anything", (), Raises(SystemError), NO_CONNECTION, State.BEFORE),
            Fixed(TypeError(), SUCCESS, NO_CONNECTION),
        ),
        (
            Row("anything", (), Record("AccountInfo"), SUCCESS, State.BEFORE),
            Fixed((1, 2), SUCCESS, SUCCESS),
        ),
    ],
)
def test_another_value_another_error_or_another_type_is_a_difference(
    row: Row, target: Fixed
) -> None:
    finding = check_row(target, row)
    assert finding.verdict is Verdict.DIFFERS
    text, status = report([finding], "fixed")
    assert status == 1
    assert finding.found in text


def test_what_agrees_is_only_counted() -> None:
    text, status = report([check_row(Fixed(None, SUCCESS, NO_CONNECTION), ROW)], "fixed")
    assert (text.count("\n"), status) == (1, 0)


def test_what_needs_a_terminal_is_shown_and_never_passes() -> None:
    row = Row("anything", (), None, SUCCESS, State.LOGGED_IN)
    finding = check_row(Fixed(None), row)
    assert finding == Finding(row, Verdict.UNREACHABLE, "needs a terminal")
    text, _ = report([finding], "fixed")
    assert "needs a terminal" in text
    assert "0 agrees" in text


def test_a_known_difference_passes_until_it_is_gone() -> None:
    row = Row("anything", (), None, NO_CONNECTION, State.BEFORE, known={"fixed": "so it is"})
    still = check_row(Fixed(None, SUCCESS, SUCCESS), row)
    assert still.verdict is Verdict.KNOWN
    assert "because  so it is" in report([still], "fixed")[0]
    assert check_row(Fixed(None, SUCCESS, NO_CONNECTION), row).verdict in FAILURES


def attached_package() -> SimulatedMetaTrader5:
    book = generate_book(accounts=1)
    package = SimulatedMetaTrader5(book, speed=0)
    package.initialize()
    account = book.accounts[0]
    package.login(account.login, password=account.password, server=account.server)
    return package


def of_state(state: State) -> list[Row]:
    return [row for row in ROWS if row.state is state]


def test_without_a_terminal_the_package_is_never_asked_to_read() -> None:
    target = RealPackage(attached_package(), None, is_terminal_here=False)
    rows = of_state(State.LOGGED_IN) + of_state(State.AFTER)
    assert {finding.verdict for finding in check(target, rows)} == {Verdict.UNREACHABLE}


def test_a_terminal_that_is_installed_is_never_started_by_accident() -> None:
    target = RealPackage(attached_package(), None, is_terminal_here=True)
    findings = list(check(target, of_state(State.MISSING)))
    assert {finding.found for finding in findings} == {"needs a machine without a terminal"}


def test_a_terminal_with_a_login_is_read() -> None:
    target = RealPackage(attached_package(), r"C:\MT5\terminal64.exe", is_terminal_here=False)
    rows = of_state(State.LOGGED_IN) + of_state(State.AFTER)
    findings = list(check(target, rows))
    assert [one for one in findings if one.verdict in FAILURES and not one.row.known] == []


def test_a_terminal_in_which_nobody_is_logged_in_is_not_enough() -> None:
    nobody = SimulatedMetaTrader5(generate_book(accounts=1), speed=0)
    target = RealPackage(nobody, r"C:\MT5\terminal64.exe", is_terminal_here=False)
    with pytest.raises(UnreachableError, match="somebody is logged in"):
        target.prepare(State.LOGGED_IN)


def test_no_row_trades_or_logs_in_where_somebody_is_logged_in() -> None:
    harmless = {row.call for row in of_state(State.LOGGED_IN)}
    assert not harmless & {"order_send", "order_check", "login", "initialize", "shutdown"}


def test_the_command_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--target", "simulated"]) == 0
    assert capsys.readouterr().out.endswith(" 0 not run\n")


def test_the_runner_needs_nothing_but_python_and_the_table() -> None:
    """It also runs on a Windows Python that has the real package and little else."""
    source = (Path(__file__).parent / "runner.py").read_text("utf-8")
    imported = [
        line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))
    ]
    foreign = [name for name in imported if name.split(".")[0] in ("mt5relay_worker", "pytest")]
    assert foreign == []
