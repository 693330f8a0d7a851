"""The supervisor of a rehearsal does as units say; a failed block names its line."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.limits import HANG_LIMIT
from tests.rehearsal.guide import Block
from tests.rehearsal.shell import BlockFailedError, Shell
from tests.rehearsal.supervisor import Supervisor

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="sessions and signals"),
]
LIMIT = HANG_LIMIT


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    made = Supervisor(tmp_path)
    with made.listening():
        yield made


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    def write_unit(name: str, script: str, **settings: str) -> None:
        file = tmp_path / f"{name}.sh"
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)
        lines = [f"{key}={value}" for key, value in settings.items()]
        text = "\n".join(["[Service]", f"ExecStart={file}", *lines])
        (tmp_path / f"etc/systemd/system/{name}.service").write_text(text)

    return write_unit


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_a_killed_service_is_started_again(
    supervisor: Supervisor, write: Callable[..., None]
) -> None:
    write("one", "exec sleep 60", Restart="always", RestartSec="100ms")
    assert supervisor.systemctl(["enable", "--now", "one"]) == (0, "")
    service = supervisor.services["one"]
    first = service.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: service.restarts == 1 and service.is_active)
    assert service.pid != first


def test_one_with_wrong_settings_is_not(supervisor: Supervisor, write: Callable[..., None]) -> None:
    write("one", "exit 78", Restart="always", RestartPreventExitStatus="78")
    supervisor.systemctl(["start", "one"])
    service = supervisor.services["one"]
    until(lambda: service.status == 78)
    time.sleep(0.3)
    assert service.restarts == 0


def test_who_does_not_end_when_asked_is_killed_and_that_is_told(
    supervisor: Supervisor, write: Callable[..., None]
) -> None:
    write("deaf", "trap '' TERM; echo up; while :; do sleep 0.1; done", TimeoutStopSec="500ms")
    write("polite", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
    supervisor.systemctl(["start", "deaf", "polite"])
    until(lambda: all("up" in one.tail() for one in supervisor.services.values()))
    stopped = supervisor.stop_all()
    assert not stopped["deaf"].by_itself
    assert stopped["polite"].by_itself
    assert stopped["polite"].status == 0


def test_one_that_never_tells_that_it_is_ready_has_not_started(
    supervisor: Supervisor, write: Callable[..., None]
) -> None:
    write("mute", "echo what went wrong; exit 3", Type="notify")
    status, said = supervisor.systemctl(["start", "mute"])
    assert status == 1
    assert "never told that it is ready" in said
    assert "what went wrong" in said


def test_a_missing_environment_file_is_told(
    supervisor: Supervisor, write: Callable[..., None], tmp_path: Path
) -> None:
    write("one", "exit 0", EnvironmentFile=str(tmp_path / "none.env"))
    status, said = supervisor.systemctl(["start", "one"])
    assert status == 1
    assert "none.env does not exist" in said


def test_blocks_share_a_shell_and_a_failed_one_names_its_line(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tmp_path, dict(os.environ))
    try:
        assert shell.run(Block("bash", "export A=1\ncd /\n", "One", 4), LIMIT) == "\n"
        assert shell.run(Block("bash", "echo $A $PWD\n", "Two", 9), LIMIT) == "1 /\n\n"
        with pytest.raises(BlockFailedError, match=r"said\n(?s:.*)line 22: cat /none(?s:.*)status"):
            shell.run(Block("bash", "echo said\ncat /none\necho not\n", "Three", 21), LIMIT)
    finally:
        shell.close()


def test_a_block_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tmp_path, dict(os.environ))
    with pytest.raises(BlockFailedError, match="took longer than"):
        shell.run(Block("bash", "sleep 30\n", "One", 1), 0.3)
