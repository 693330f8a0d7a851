"""How unit files are read, and when a service is started again."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM

import pytest
from tests.rehearsal.host import ROOT
from tests.rehearsal.units import UnitError, parse_environment_file, parse_unit, read_unit

pytestmark = pytest.mark.integration

UNITS = ROOT / "deploy" / "systemd"


def test_a_template_is_read_for_its_instance() -> None:
    unit = read_unit(UNITS, "mt5relay-worker@main.service")
    assert unit.command == ["/opt/mt5relay/deploy/wine/run-worker.sh"]
    assert unit.environment["MT5_TERMINAL_ID"] == "main"
    assert unit.environment["MT5RELAY_RUN"] == "/run/mt5relay-worker-main/run"
    assert unit.environment_files[-1] == "-/etc/mt5relay/worker-main.env"
    assert (unit.kill_mode, unit.kill_signal, unit.stop_seconds) == ("mixed", SIGTERM, 45.0)


@pytest.mark.parametrize("file", sorted(UNITS.glob("*.service")), ids=lambda file: file.stem)
def test_every_unit_can_be_rehearsed(file: object) -> None:
    name = str(file).rpartition("/")[2].replace("@.", "@main.")
    assert read_unit(UNITS, name).command


@pytest.mark.parametrize(
    ("restart", "status", "again"),
    [
        ("always", 0, True),
        ("always", 78, False),
        ("always", -SIGKILL, True),
        ("on-failure", 0, False),
        ("on-failure", 75, True),
        ("on-failure", 78, False),
        ("on-failure", -SIGKILL, True),
        ("on-failure", -SIGTERM, False),
        ("no", 75, False),
    ],
)
def test_it_is_started_again_as_systemd_would(restart: str, status: int, again: bool) -> None:
    text = f"[Service]\nExecStart=/bin/true\nRestart={restart}\nRestartPreventExitStatus=2 78\n"
    assert parse_unit(text, "x").is_restarted_after(status) is again


@pytest.mark.parametrize("line", ["Type=forking", "KillMode=process", "RestartSec=1fortnight"])
def test_what_is_not_known_is_refused(line: str) -> None:
    with pytest.raises(UnitError):
        parse_unit(f"[Service]\nExecStart=/bin/true\n{line}\n", "x")


def test_an_environment_file_is_no_shell_script() -> None:
    text = "# no\n; no\nURL=redis://a?b=1&c=2\nONE='C:\\x y'\nTWO=C:\\x\nTHREE=\"a b\"\n\nnothing\n"
    assert parse_environment_file(text) == {
        "URL": "redis://a?b=1&c=2",
        "ONE": "C:\\x y",
        "TWO": "C:x",
        "THREE": "a b",
    }
