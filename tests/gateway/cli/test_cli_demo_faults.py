"""`mt5relay demo --fault`, `--list-faults` and `--profile`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.servers import TESTER, as_user

from mt5relay_gateway.cli.demo_book import DemoAccount
from mt5relay_gateway.cli.demo_faults import (
    FAULTS,
    faults_named,
    fields_of,
    read_profile,
    with_wrong_password,
    write_faults,
)
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_worker.simulator import Faults, load_faults

pytestmark = pytest.mark.integration

ONCE = ("demo", "--once", "--json", "--speed", "0", "--count", "2")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The demonstration is worker, client and operator in one."""
    return {**environment, "REDIS_URL": as_user(environment["REDIS_URL"], TESTER)}


@pytest.mark.parametrize("name", FAULTS)
def test_the_simulator_understands_every_fault(name: str, tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    fault = FAULTS[name]
    write_faults(path, fields_of([fault], {}))
    assert load_faults(path) != Faults() or fault.needs_wrong_password


def test_faults_add_up_and_win_over_a_profile() -> None:
    profile = {"lists_empty_seconds": 0.1, "margin_zero_seconds": 0.2}
    fields = fields_of(faults_named(["lists-empty", "dies"]), profile)
    assert fields["margin_zero_seconds"] == 0.2
    assert fields["lists_empty_seconds"] == FAULTS["lists-empty"].fields["lists_empty_seconds"]
    assert fields["terminal_dies_every_switches"] == 10


def test_one_account_of_several_has_a_wrong_password() -> None:
    accounts = [DemoAccount(number, "A", f"right-{number}") for number in range(1, 4)]
    changed = [
        one.login
        for one, spoilt in zip(accounts, with_wrong_password(accounts), strict=True)
        if one != spoilt
    ]
    assert changed == [2]
    assert with_wrong_password(accounts[:1]) != accounts[:1]


async def test_the_list_names_every_fault_and_starts_nothing(program: Any) -> None:
    listed = await program("demo", "--list-faults")
    assert (listed.status, listed.err) == (0, "")
    assert all(f" {name} " in listed.out for name in FAULTS)
    assert "store:" not in listed.out
    as_json = await program("demo", "--list-faults", "--json")
    assert [line["fault"] for line in as_json.json_lines()] == list(FAULTS)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--fault", "gremlins"), "there is no 'gremlins'; `mt5relay demo --list-faults`"),
        (("--profile", "missing.json"), "--profile: missing.json: No such file"),
    ],
)
async def test_an_unknown_fault_or_profile_is_refused_before_anything_is_started(
    program: Any, words: tuple[str, ...], complaint: str
) -> None:
    ended = await program("demo", *words)
    assert (ended.status, ended.out) == (2, "")
    assert complaint in ended.err


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.json"
    path.write_text("{}")
    with pytest.raises(MT5ValidationError, match="give a report of `mt5relay-worker probe`"):
        read_profile(path)


async def test_a_fault_happens_on_the_terminal(program: Any) -> None:
    ended = await program(*ONCE, "--fault", "wrong-password", "--fault", "lists-empty")
    lines = ended.json_lines()
    [faults] = [line for line in lines if line.get("event") == "faults"]
    assert faults["names"] == "wrong-password lists-empty"
    looks = [line for line in lines if "status" in line]
    codes = {line["account"]: line.get("code") for line in looks}
    assert codes == {
        "25115284@MetaQuotes-Demo": None,
        "50100002@Contoso-Live": "MT5_AUTH_FAILED",
    }
    assert ended.status == 1


async def test_the_link_can_be_lost(program: Any) -> None:
    ended = await program(*ONCE, "--fault", "link-lost")
    codes = {line["code"] for line in ended.json_lines() if "status" in line}
    assert codes <= {"BROKER_UNAVAILABLE", "CIRCUIT_OPEN"}


async def test_a_report_of_a_probe_decides_the_latencies(program: Any, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    latency = {"median": 0.5, "p95": 0.5, "quantiles": [0.5, 0.5]}
    profile = {"login_same_server": latency, "login_other_server": latency}
    report.write_text(json.dumps({"report": "mt5relay-probe", "profile": profile}))
    words = ("demo", "--once", "--json", "--speed", "1", "--count", "1")
    ended = await asyncio.wait_for(program(*words, "--profile", str(report)), 60)
    assert ended.status == 0
    looks = [msgspec.json.decode(line) for line in ended.out.splitlines()]
    first = next(line for line in looks if "status" in line)
    assert first["latency"] >= 0.5
    assert load_faults(report).login_other_server.quantiles == (0.5, 0.5)
