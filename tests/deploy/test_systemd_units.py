"""The systemd units: read by systemd, sandboxed, and with the worker's exit statuses in mind."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.deploy.conftest import DEPLOY, run_tool, tool

from mt5relay_shared.settings import EXIT_SETTINGS
from mt5relay_worker.settings import WorkerSettings

pytestmark = pytest.mark.integration

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
NAMES = [unit.name for unit in UNITS]
MOST_EXPOSED = 25  # of 100 of `systemd-analyze security`; below 20 counts as well guarded there


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as on a host that has their programs."""
    for unit in UNITS:
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8"), flags=re.M)
        (tmp_path / unit.name).write_text(text, "utf-8")
    return tmp_path


def test_systemd_reads_them_without_a_word(installed: Path) -> None:
    analyze = tool("systemd-analyze", "it comes with systemd")
    named = [installed / name.replace("@.", "@main.") for name in NAMES]
    for name in NAMES:
        if "@." in name:
            shutil.copy(installed / name, installed / name.replace("@.", "@main."))
    ran = run_tool(analyze, "verify", "--man=no", *named)
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_is_sandboxed(installed: Path, name: str) -> None:
    analyze = tool("systemd-analyze", "it comes with systemd")
    if "--offline" not in run_tool(analyze, "--help").stdout:
        pytest.skip("this systemd-analyze is older than 250 and judges running units only")
    options = ("--offline=yes", f"--threshold={MOST_EXPOSED}")
    ran = run_tool(analyze, "security", *options, installed / name)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_no_unit_holds_a_secret(unit: Path) -> None:
    assert "REDIS_URL=" not in unit.read_text("utf-8").replace("# REDIS_URL", "")


def test_a_worker_is_started_again_but_with_wrong_settings() -> None:
    text = (DEPLOY / "systemd" / "mt5relay-worker@.service").read_text("utf-8")
    assert "Restart=on-failure" in text
    assert f"RestartPreventExitStatus={EXIT_SETTINGS}" in text
    stop = re.search(r"TimeoutStopSec=(\d+)", text)
    assert stop is not None
    assert int(stop[1]) > WorkerSettings.model_fields["shutdown_grace"].default
