"""The report of a probe: figures, masks, and whether the interpreter lock is held."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_worker.probe.accounts import (
    check_accounts,
    masked,
    masked_apart,
    named,
    read_file,
)
from mt5relay_worker.probe.distribution import Bucket, distribution
from mt5relay_worker.probe.interpreter_lock import TickingThread
from mt5relay_worker.probe.messages import Credential, Failure, LoggedIn
from mt5relay_worker.probe.metering import without_names
from mt5relay_worker.probe.planning import Kind
from mt5relay_worker.probe.report import MOST_FAILURES, Collection, Host, Planned, judge_lock
from mt5relay_worker.simulator.waiting import sleep_holding_lock


def test_a_distribution_has_percentiles_and_a_histogram() -> None:
    found = distribution([0.3, 0.1, 0.2, 1.4, 0.5])
    assert found is not None
    assert (found.count, found.min, found.p50, found.max) == (5, 0.1, 0.3, 1.4)
    assert found.p90 == pytest.approx(1.04)
    assert found.histogram == [Bucket(0.1, 1), Bucket(0.2, 1), Bucket(0.5, 2), Bucket(2.0, 1)]
    assert found.seconds == [0.1, 0.2, 0.3, 0.5, 1.4]


def test_of_nothing_there_is_no_distribution() -> None:
    assert distribution([]) is None


def test_what_is_longer_than_every_bucket_is_counted_too() -> None:
    found = distribution([1.0, 100_000.0])
    assert found is not None
    assert found.histogram[-1] == Bucket(None, 1)


# Masks


@pytest.mark.parametrize(
    ("login", "shown"), [(25115284, "2511****"), (123, "1****"), (7, "****"), (12345, "12****")]
)
def test_at_most_half_of_a_login_is_shown(login: int, shown: str) -> None:
    assert masked(AccountId(login, "Any-Server")) == f"{shown}@Any-Server"


def test_masks_that_are_the_same_are_numbered() -> None:
    accounts = [AccountId(25115284, "A"), AccountId(50100002, "A"), AccountId(25115285, "A")]
    assert masked_apart(accounts) == ["2511****@A #1", "5010****@A", "2511****@A #3"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Terminal: Authorization failed", "Terminal: Authorization failed"),
        ("Process create failed 'C:\\Users\\me\\t.exe'", "Process create failed ..."),
        ("login 25115284 refused", "login ... refused"),
        ("at C:\\Users\\me\\terminal64.exe", "at ..."),
        ("\x1b[31mred", "[31mred"),
    ],
)
def test_texts_lose_paths_logins_and_control_characters(text: str, kept: str) -> None:
    assert without_names(text) == kept


def test_a_credential_does_not_show_its_password() -> None:
    assert "planted" not in repr([Credential(1, "A", "planted")])


# The interpreter lock


def silence_during(seconds: float, wait: object) -> tuple[float, float]:
    assert callable(wait)
    with TickingThread() as ticking:
        time.sleep(0.05)
        ticking.begin()
        began = time.perf_counter()
        wait(seconds)
        return time.perf_counter() - began, ticking.longest()


def test_a_call_that_holds_the_interpreter_lock_is_told_from_one_that_does_not() -> None:
    held = [silence_during(1.0, sleep_holding_lock) for _ in range(3)]
    released = [silence_during(1.0, time.sleep) for _ in range(3)]
    assert judge_lock(held).verdict == "held"
    assert judge_lock(released).verdict == "released"


def test_short_calls_prove_nothing() -> None:
    assert judge_lock([(0.1, 0.1), (0.05, 0.05)]).verdict == "not measured"


def test_half_a_silence_is_unclear() -> None:
    assert judge_lock([(1.0, 0.7)]).verdict == "unclear"


# Bounds


def test_a_report_keeps_only_so_many_failures_and_counts_the_rest() -> None:
    host = Host(binding="simulated", system="Test", python="3", mt5relay="0")
    planned = Planned(logins=1, pause=0, watch=0, time_limit=1, poll=0.02)
    collection = Collection([AccountId(25115284, "A")], host, planned)
    failures = [Failure("login", -10005, "IPC timeout")]
    for _ in range(MOST_FAILURES + 7):
        collection.add(
            LoggedIn(at=1, account=0, kind=Kind.NOBODY, took=1, is_done=False, failures=failures)
        )
    report = collection.report("now")
    assert len(report.failures) == MOST_FAILURES
    assert report.failures_left_out == 7
    assert not report.complete
    assert report.ended == "interrupted"


# Accounts


def account_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "accounts.json"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


WITH_PASSWORD = '{"accounts": [{"login": 1, "server": "A", "password": "planted"}]}'


@pytest.mark.skipif(os.name != "posix", reason="on Windows the folder's permissions decide")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_passwords_that_others_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = account_file(tmp_path, WITH_PASSWORD, mode)
    with pytest.raises(MT5ValidationError, match="chmod 600"):
        read_file(path)
    assert len(read_file(path, is_invented=True)) == 1


def test_a_file_without_passwords_may_be_read_by_everybody(tmp_path: Path) -> None:
    path = account_file(tmp_path, '{"accounts": [{"login": 1, "server": "A"}]}', 0o644)
    [one] = read_file(path)
    assert one.password is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "truncated"),
        ('{"accounts": [{"login": "1", "server": "A"}]}', r"\$\.accounts\[0\]\.login"),
    ],
)
def test_a_file_that_can_t_be_used_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(MT5ValidationError, match=complaint):
        read_file(account_file(tmp_path, text))


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ([], "none is given"),
        (["1@A", "1@A"], "twice"),
        (["nobody"], "LOGIN@SERVER"),
    ],
)
def test_accounts_that_can_t_be_probed_are_refused(texts: list[str], complaint: str) -> None:
    with pytest.raises(MT5ValidationError, match=complaint):
        check_accounts(named(texts))


def test_an_impossible_password_is_refused_without_quoting_it(tmp_path: Path) -> None:
    text = '{"accounts": [{"login": 1, "server": "A", "password": "planted\\n"}]}'
    with pytest.raises(MT5ValidationError) as refusal:
        check_accounts(read_file(account_file(tmp_path, text)))
    assert "planted" not in str(refusal.value)
    assert "1@A" in str(refusal.value)
