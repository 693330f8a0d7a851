"""What a probe finds out about a terminal, and when it lets go of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
from tests.worker.probe.conftest import Probed

from mt5relay_worker.probe.messages import Attached, Doing, LoggedIn, ReadAll, Watched
from mt5relay_worker.probe.planning import Kind
from mt5relay_worker.simulator import Faults, LogNormal, SimulatedMetaTrader5

Probe = Callable[..., Probed]
POLL = 0.02


# What it measures


def test_every_kind_of_login_is_timed_apart(probe: Probe) -> None:
    quick = Faults(
        login_same_account_seconds=(0.25, 0.25),
        login_same_server=LogNormal(1.0, 1.0),
        login_other_server=LogNormal(3.0, 3.0),
    )
    login = probe(quick).report.login
    assert {kind: found.p50 for kind, found in login.items()} == {
        Kind.NOBODY: 3.0,
        Kind.SAME_ACCOUNT: 0.25,
        Kind.SAME_SERVER: 1.0,
        Kind.OTHER_SERVER: 3.0,
    }


def test_attaching_to_a_terminal_that_runs_is_timed_apart_from_the_first_time(
    probe: Probe,
) -> None:
    initialize = probe(
        Faults(
            cold_start=True,
            initialize_cold_seconds=(20, 20),
            initialize_running_seconds=(0.125, 0.125),
        )
    ).report.initialize
    assert initialize.first == 20
    assert initialize.again is not None
    assert (initialize.again.count, initialize.again.max) == (5, 0.125)


def test_after_a_login_each_stage_is_timed_from_its_return(probe: Probe) -> None:
    stages = Faults(account_info_none_seconds=0.3, margin_zero_seconds=0.7, lists_empty_seconds=1.1)
    probed = probe(stages)
    for seen in probed.of(Watched):
        assert seen.identity == pytest.approx(0.3, abs=2 * POLL)
        assert seen.margin == pytest.approx(0.7, abs=2 * POLL)
        assert seen.lists == pytest.approx(1.1, abs=2 * POLL)
        assert seen.journal == pytest.approx(1.1, abs=2 * POLL)
    sightings = probed.report.sightings
    assert sightings.account_info_none == sightings.lists_late == sightings.logins == 9


def test_a_terminal_that_is_ready_at_once_has_no_late_stages(probe: Probe) -> None:
    report = probe(Faults()).report
    seen = report.sightings
    assert (seen.account_info_none, seen.margin_late, seen.lists_late) == (0, 0, 0)
    assert report.after_login.lists is not None
    assert report.after_login.lists.max == 0
    assert report.failures == []


def test_the_old_account_is_noticed(probe: Probe) -> None:
    report = probe(Faults(stale_login_probability=1, stale_login_seconds=0.5)).report
    assert report.sightings.old_account_shown > 0
    assert report.profile["stale_login_seconds"] == pytest.approx(0.5, abs=2 * POLL)


def test_an_account_that_never_comes_is_not_waited_for_longer_than_asked(probe: Probe) -> None:
    probed = probe(Faults(stale_login_probability=1, stale_login_seconds=None), logins=3)
    assert [seen.identity for seen in probed.of(Watched)] == [None] * 3
    assert probed.report.sightings.no_identity == 3
    at = [seen.at for seen in probed.of(Watched)]
    logged_in = [login.at for login in probed.of(LoggedIn)]
    assert all(end - begin <= 2.0 + 2 * POLL for begin, end in zip(logged_in, at, strict=True))


def test_without_a_journal_the_lists_are_watched_for_the_whole_time(probe: Probe) -> None:
    seen = probe(Faults(lists_empty_seconds=1.5), has_journal=False).of(Watched)
    assert all(one.lists == pytest.approx(1.5, abs=2 * POLL) for one in seen)
    assert all(one.journal is None for one in seen)


def test_every_read_is_timed_by_the_package_s_function(probe: Probe) -> None:
    report = probe(logins=3).report
    assert {
        *("account_info", "positions_get", "orders_get", "history_deals_get"),
        *("history_orders_get", "symbol_info", "symbol_info_tick", "copy_rates_from_pos"),
    } <= report.reads.keys()
    assert report.reads["account_info"].count == 3


# What fails


def test_codes_are_told_with_what_was_done(probe: Probe) -> None:
    report = probe(Faults(login_timeout_probability=1), logins=2).report
    [first, second] = report.failures
    assert (first.call, first.code, first.text) == ("login", -10005, "IPC timeout")
    assert first.during == Kind.NOBODY
    assert first.took == 60
    assert first.account == "2511****@MetaQuotes-Demo #1"
    assert second.at > first.at
    assert report.login == {}


def test_a_refused_account_is_left_alone(probe: Probe) -> None:
    probed = probe(passwords={0: "wrong"})
    accounts = [login.account for login in probed.of(LoggedIn)]
    assert accounts.count(0) == 1
    assert probed.report.complete
    [failure] = probed.report.failures
    assert (failure.code, failure.reason) == (-6, "Invalid account")
    assert probed.report.refused is not None


def test_three_refusals_in_a_row_end_it(probe: Probe) -> None:
    probed = probe(passwords={0: "wrong", 1: "wrong", 2: "wrong"})
    assert len(probed.of(LoggedIn)) == 3
    assert not probed.report.complete
    assert probed.report.ended == "refused three times in a row, as a throttled host is"


def test_an_only_account_that_is_refused_ends_it(probe: Probe) -> None:
    probed = probe(passwords={0: "wrong", 1: "wrong"}, logins=9)
    assert probed.report.complete  # the third one is left
    assert len({login.account for login in probed.of(LoggedIn) if login.is_done}) == 1


def test_a_terminal_that_dies_ends_it_with_what_was_measured(probe: Probe) -> None:
    probed = probe(Faults(terminal_dies_every_switches=4), logins=20)
    assert not probed.report.complete
    assert 4 <= len(probed.of(LoggedIn)) < 20
    assert probed.report.login
    assert any(failure.code == -10004 for failure in probed.report.failures)


def test_initialize_that_fails_ends_it(probe: Probe) -> None:
    probed = probe(Faults(terminal_missing=True))
    assert probed.of(LoggedIn) == []
    assert probed.report.ended == "`initialize` failed"
    assert [failure.code for failure in probed.report.failures] == [-10003]


class AttachesToWhateverRuns(SimulatedMetaTrader5):
    """As the package was seen to."""

    def initialize(self, /, *_args: object, **kwargs: object) -> bool:
        return super().initialize(**kwargs)


def test_another_terminal_than_the_one_that_is_meant_is_left_alone(probe: Probe) -> None:
    probed = probe(path="C:\\Other\\terminal64.exe", binding=AttachesToWhateverRuns)
    assert probed.of(LoggedIn) == []
    assert "attached to another terminal" in probed.report.ended
    meant = probe(path="C:\\Other\\terminal64.exe")
    assert meant.report.complete


def test_no_login_begins_after_the_time_limit(probe: Probe) -> None:
    probed = probe(logins=500, pause=10.0, time_limit=60.0)
    assert 2 <= len(probed.of(LoggedIn)) <= 7
    assert probed.report.ended.startswith("the time limit")


def test_logins_keep_their_distance(probe: Probe) -> None:
    logins = probe(pause=30.0).of(LoggedIn)
    ends = [one.at for one in logins]
    begins = [one.at - one.took for one in logins]
    assert all(begin - end >= 30 for end, begin in zip(ends, begins[1:], strict=False))


def test_before_each_step_it_says_how_long_that_may_take(probe: Probe) -> None:
    events = probe(logins=2).events
    for before, event in itertools.pairwise(events):
        if isinstance(event, Attached | LoggedIn | Watched | ReadAll):
            assert isinstance(before, Doing)


# What it keeps to itself


def test_nothing_that_it_tells_names_anybody(probe: Probe) -> None:
    probed = probe(Faults(account_info_none_seconds=0.1), passwords={1: "planted-wrong"})
    told = msgspec.json.encode([probed.events, probed.report]).decode()
    for secret in ("planted", "Planted", "25115284", "25115285", "50100002", "43210", "C:\\"):
        assert secret not in told
