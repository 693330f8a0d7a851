"""What a probe measured becomes what the simulator does."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.worker.probe.conftest import Probed

from mt5relay_worker.probe.distribution import Distribution
from mt5relay_worker.probe.planning import Kind
from mt5relay_worker.probe.report import Report
from mt5relay_worker.simulator import Faults, FaultsError, LogNormal, load_faults
from mt5relay_worker.simulator.profile import MIN_SAMPLES, Measured, profile_of, quantile

pytestmark = pytest.mark.integration

Probe = Callable[..., Probed]

KNOWN = Faults(
    initialize_running_seconds=(1.0, 2.0),
    login_same_account_seconds=(3.0, 4.0),
    login_same_server=LogNormal(6.0, 12.0),
    login_other_server=LogNormal(0.4, 0.9),
    account_info_none_seconds=0.2,
    margin_zero_seconds=0.4,
    lists_empty_seconds=0.6,
)


def as_read(report: Report) -> dict[str, Any]:
    return dict(msgspec.json.decode(msgspec.json.encode(report)))


def agree(one: Distribution, other: Distribution) -> bool:
    """Two samples of one distribution of the size used here differ by less."""
    return one.p50 == pytest.approx(other.p50, rel=0.25) and one.p90 == pytest.approx(
        other.p90, rel=0.35
    )


def test_a_simulation_of_what_was_measured_measures_alike(probe: Probe) -> None:
    first = probe(KNOWN, logins=180).report
    again = probe(Faults.from_profile(as_read(first)), logins=180, seed=1).report
    for kind in (Kind.SAME_ACCOUNT, Kind.SAME_SERVER, Kind.OTHER_SERVER):
        assert first.login[kind].count >= 50
        assert agree(first.login[kind], again.login[kind]), kind
    assert first.initialize.again is not None
    assert again.initialize.again is not None
    assert agree(first.initialize.again, again.initialize.again)
    for stage in ("identity", "margin", "lists", "journal"):
        before, after = getattr(first.after_login, stage), getattr(again.after_login, stage)
        assert before.p50 == pytest.approx(after.p50, abs=0.05), stage


def test_the_comparison_tells_other_latencies_apart(probe: Probe) -> None:
    first = probe(KNOWN, logins=60).report
    default = probe(Faults(), logins=60).report
    for kind in (Kind.SAME_ACCOUNT, Kind.SAME_SERVER, Kind.OTHER_SERVER):
        assert not agree(first.login[kind], default.login[kind])


def test_what_was_measured_is_drawn_whatever_its_shape() -> None:
    """Two peaks and nothing in between, as where some logins find a cache."""
    rng = random.Random(7)
    seconds = [rng.choice((0.5, 9.0)) + rng.random() / 10 for _ in range(400)]
    drawn = Faults.from_profile({"profile": profile_of(Measured(login_same_server=seconds))})
    samples = sorted(drawn.login_same_server.sample(rng) for _ in range(4_000))
    for share in (0.1, 0.25, 0.75, 0.9):
        assert quantile(samples, share) == pytest.approx(quantile(sorted(seconds), share), rel=0.1)
    in_between = sum(1 < one < 8 for one in samples) / len(samples)
    assert in_between < 0.06  # at most one step of the quantiles


def test_what_was_measured_too_seldom_keeps_its_default() -> None:
    few = [1.0] * (MIN_SAMPLES - 1)
    assert profile_of(Measured(attach=few, login_same_server=few, lists=few, refused=few)) == {}
    assert Faults.from_profile({"profile": {}}) == Faults()


def test_an_outlier_does_not_stretch_an_even_distribution() -> None:
    seconds = [0.1 + 0.001 * step for step in range(100)] + [60.0]
    low, high = Faults.from_profile(
        {"profile": profile_of(Measured(attach=seconds))}
    ).initialize_running_seconds
    assert low == pytest.approx(0.1, abs=0.01)
    assert high == pytest.approx(0.2, abs=0.01)


def test_instant_logins_can_be_simulated_too() -> None:
    drawn = Faults.from_profile({"profile": profile_of(Measured(login_other_server=[0.0] * 9))})
    assert drawn.login_other_server.sample(random.Random(1)) == 0


def test_a_report_can_be_used_as_a_file_of_faults(probe: Probe, tmp_path: Path) -> None:
    report = probe(KNOWN, logins=30).report
    path = tmp_path / "report.json"
    path.write_bytes(msgspec.json.encode(report))
    faults = load_faults(path)
    assert faults == Faults.from_profile(as_read(report))
    assert faults.login_same_server.quantiles


def test_a_profile_that_can_t_be_used_is_refused_with_the_field() -> None:
    with pytest.raises(FaultsError, match="give a report"):
        Faults.from_profile({})
    with pytest.raises(FaultsError, match="login_same_sever"):
        Faults.from_profile({"profile": {"login_same_sever": {}}})


def test_a_file_of_faults_with_an_unknown_field_is_still_refused(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"profle": {}}')
    with pytest.raises(FaultsError, match="profle"):
        load_faults(path)


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert [quantile((1.0, 2.0, 4.0), share) for share in (0, 0.25, 0.5, 0.75, 1)] == [
        *(1.0, 1.5, 2.0, 3.0, 4.0)
    ]
    with pytest.raises(ValueError, match="no values"):
        quantile((), 0.5)
