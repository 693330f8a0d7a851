"""`run.py`, the way in from a fresh checkout."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.limits import HANG_LIMIT

SCRIPT = Path(__file__).parents[1] / "run.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\n", "utf-8")
    return tmp_path


def make_ready(script: ModuleType, root: Path) -> None:
    environment = script.Environment("demo", root)
    environment.path.mkdir(parents=True, exist_ok=True)
    environment.stamp_file.write_text(environment.stamp(), "utf-8")


def test_an_environment_is_made_once(script: ModuleType, checkout: Path) -> None:
    assert not script.Environment("demo", checkout).is_ready()
    make_ready(script, checkout)
    assert script.Environment("demo", checkout).is_ready()


def test_a_changed_project_makes_it_outdated(script: ModuleType, checkout: Path) -> None:
    make_ready(script, checkout)
    (checkout / "pyproject.toml").write_text("[project]\nname = 'x'\n", "utf-8")
    assert not script.Environment("demo", checkout).is_ready()


def test_a_half_made_one_counts_as_none(script: ModuleType, checkout: Path) -> None:
    environment = script.Environment("demo", checkout)
    environment.programs.mkdir(parents=True)
    environment.python.write_text("", "utf-8")
    assert not environment.is_ready()


def test_a_moved_checkout_makes_its_environment_again(
    script: ModuleType, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_ready(script, checkout)
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    checkout.rename(moved)
    assert not script.Environment("demo", moved).is_ready()


def test_each_extra_has_an_environment_of_its_own(script: ModuleType, checkout: Path) -> None:
    paths = {script.Environment(extra, checkout).path for extra in script.EXTRAS.values()}
    assert paths == {checkout / ".run" / extra for extra in ("demo", "test", "bench")}


def test_everything_that_checks_the_project_shares_one_environment(script: ModuleType) -> None:
    checks = ("unit", "test", "check", "simulate", "chaos")
    assert {script.EXTRAS[command] for command in checks} == {"test"}


def test_every_command_is_explained_and_has_an_environment(script: ModuleType) -> None:
    assert set(script.COMMANDS) == set(script.EXTRAS)
    usage = script.__doc__ or ""
    assert all(f"python3 run.py {command} " in usage for command in script.COMMANDS)


def test_continuous_integration_runs_only_what_the_readme_explains(script: ModuleType) -> None:
    steps = (SCRIPT.parent / ".ci" / "run").read_text("utf-8")
    readme = (SCRIPT.parent / "README.md").read_text("utf-8")
    commands = set(re.findall(r"python3 run\.py (\w+)", steps))
    assert commands == {"check", "test", "simulate", "chaos", "rehearse"}
    assert all(f"python3 run.py {command} " in readme for command in commands)
    scripts = set(re.findall(r"bash (\S+)", steps))
    assert scripts == {"deploy/wine/check.sh"}
    assert all(script in readme for script in scripts)


def test_programs_stand_where_the_platform_puts_them(script: ModuleType, checkout: Path) -> None:
    python = script.Environment("demo", checkout).python
    where = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    assert python.parts[-2:] == where


@pytest.mark.parametrize(("words", "status"), [([], 2), (["dance"], 2), (["--help"], 0)])
def test_without_a_known_command_the_usage_is_shown(
    script: ModuleType, capsys: pytest.CaptureFixture[str], words: list[str], status: int
) -> None:
    assert script.main(words) == status
    assert "python3 run.py demo" in capsys.readouterr().err


def test_a_program_s_exit_status_is_passed_on(script: ModuleType) -> None:
    assert script.call([sys.executable, "-c", "raise SystemExit(7)"]) == 7


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
def test_a_killed_program_has_the_shell_s_status(script: ModuleType) -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert script.call([sys.executable, "-c", killed]) == 137


def test_what_runs_side_by_side_is_shown_in_turn_and_fails_as_the_first_that_failed(
    script: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = (
        "import time; time.sleep(0.5); print('first')",
        "print('second'); raise SystemExit(5)",
        "print('third'); raise SystemExit(6)",
    )
    assert script.side_by_side([[sys.executable, "-c", program] for program in programs]) == 5
    shown = capfd.readouterr().out
    assert shown.split() == ["first", "second", "third"]
    assert script.side_by_side([[sys.executable, "-c", ""]]) == 0


def test_a_step_that_fails_says_what_may_help(script: ModuleType) -> None:
    with pytest.raises(script.StepFailedError, match=r"status 3; is the index up\?") as failed:
        script.step([sys.executable, "-c", "raise SystemExit(3)"], "is the index up?")
    assert failed.value.status == 3


def test_ctrl_c_is_left_to_the_program(script: ModuleType) -> None:
    """Run as a user would: both get it, and the program's own tidying up is waited for."""
    if sys.platform == "win32":
        pytest.skip("no SIGINT for a group on Windows")
    child = """
import time
try:
    print("up", flush=True)
    for _ in range(600):
        time.sleep(0.05)  # many short ones: a signal just before a long one would not end it
except KeyboardInterrupt:
    time.sleep(0.6)  # longer than subprocess.call would have waited
    print("tidy")
"""
    parent = f"""
import runpy, sys
runpy.run_path({str(SCRIPT)!r})["call"]([sys.executable, "-c", {child!r}])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, 2)
    assert process.communicate(timeout=HANG_LIMIT)[0] == "tidy\n"
    assert process.returncode == 0
