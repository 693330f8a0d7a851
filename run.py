"""Run the demonstration, the tests or the checks from a fresh checkout.

    python3 run.py demo [--once] [--json] ...   the demonstration (see `demo --help`)
    python3 run.py test [PYTEST ARGUMENTS]      the tests; without arguments, coverage too
    python3 run.py check                        formatting, lint, types, import contracts
    python3 run.py chaos [--minutes N --seed S] kill, freeze and cut real processes, then balance

Each makes its own virtual environment in `.run` beside this file, and makes it again only when
pyproject.toml, the interpreter or the folder has changed. Needs nothing but Python 3.11 or later.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - it is for those who do not have it; 3.6 can read this
    sys.exit(
        "run.py needs Python 3.11 or later, and this is {}.{}.{}; try python3.11, or"
        " `py -3.11` on Windows".format(*sys.version_info)
    )

ROOT = Path(__file__).resolve().parent
EXTRAS = {"demo": "demo", "test": "test", "check": "test", "chaos": "test"}  # command -> extra
INTERRUPTED = 130

Command = Sequence[str | Path]


def main(words: list[str]) -> int:
    if not words or words[0] not in EXTRAS:
        print(__doc__, file=sys.stderr)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    name, arguments = words[0], words[1:]
    try:
        environment = Environment(EXTRAS[name])
        environment.ensure()
        return COMMANDS[name](environment, arguments)
    except StepFailedError as failed:
        print(f"run.py: {failed}", file=sys.stderr)
        return failed.status
    except KeyboardInterrupt:
        return INTERRUPTED


class StepFailedError(Exception):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Environment:
    """A virtual environment that holds the project, editable, with one of its extras."""

    def __init__(self, extra: str, root: Path = ROOT) -> None:
        self.extra = extra
        self.root = root
        self.path = root / ".run" / extra

    @property
    def programs(self) -> Path:
        return self.path / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        return self.program("python")

    def program(self, name: str) -> Path:
        return self.programs / (f"{name}.exe" if os.name == "nt" else name)

    @property
    def stamp_file(self) -> Path:
        return self.path / "stamp"

    def stamp(self) -> str:
        """What the environment was made of; it moves neither between folders nor interpreters."""
        project = (self.root / "pyproject.toml").read_bytes()
        maker = f"{sys.version}\n{sys.executable}\n{self.root}\n".encode()
        return hashlib.sha256(maker + project).hexdigest()

    def is_ready(self) -> bool:
        return self.stamp_file.is_file() and self.stamp_file.read_text("utf-8") == self.stamp()

    def ensure(self) -> None:
        """Make it where it is missing, outdated or half made: the stamp is written last."""
        if self.is_ready():
            return
        if self.path.exists():
            say(f"removing the outdated {self.path}")
            shutil.rmtree(self.path)
        say(f"making a virtual environment in {self.path}")
        step([sys.executable, "-m", "venv", self.path], "on Debian, install python3-venv first")
        say(f"installing mt5relay[{self.extra}] into it")
        pip: Command = [
            self.python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        step([*pip, "-e", f"{self.root}[{self.extra}]"], "is the package index reachable?")
        self.stamp_file.write_text(self.stamp(), "utf-8")


def step(command: Command, remedy: str) -> None:
    status = call(command)
    if status != 0:
        raise StepFailedError(f"that failed with status {status}; {remedy}", status)


def demo(environment: Environment, arguments: list[str]) -> int:
    return call([environment.python, "-m", "mt5relay_gateway.cli", "demo", *arguments])


def chaos(environment: Environment, arguments: list[str]) -> int:
    os.chdir(environment.root)
    return call([environment.python, "-m", "tests.chaos.chaos", *arguments])


def test(environment: Environment, arguments: list[str]) -> int:
    """Stops at the first step that fails: coverage of a failing run says nothing."""
    os.chdir(environment.root)
    coverage: Command = [environment.python, "-m", "coverage"]
    steps: list[Command] = [
        [*coverage, "erase"],
        [*coverage, "run", "-m", "pytest", *arguments],
        [*coverage, "combine", "--quiet"],
    ]
    if not arguments:
        steps.append([*coverage, "report"])
    for command in steps:
        status = told(command)
        if status != 0:
            return status
    return 0


def check(environment: Environment, arguments: list[str]) -> int:
    """Runs everything, whatever fails, so that one run shows all there is to mend."""
    if arguments:
        raise StepFailedError("check takes no arguments", 2)
    os.chdir(environment.root)
    python = environment.python
    commands: list[Command] = [
        [python, "-m", "ruff", "check"],
        [python, "-m", "ruff", "format", "--check"],
        [python, "-m", "mypy"],
        [python, "-m", "pyright", "--pythonpath", python],
        [environment.program("lint-imports")],
    ]
    statuses = [told(command) for command in commands]
    return next((status for status in statuses if status != 0), 0)


COMMANDS = {"demo": demo, "test": test, "check": check, "chaos": chaos}


def told(command: Command) -> int:
    """Say what is run, then run it."""
    say(" ".join(Path(part).stem if isinstance(part, Path) else part for part in command))
    return call(command)


def call(command: Command) -> int:
    """Run a program and return its exit status, leaving Ctrl-C and SIGTERM to it.

    `subprocess.call` would kill it a quarter of a second after Ctrl-C, in the midst of tidying up.
    """
    process = subprocess.Popen(command)
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: process.terminate())
    interrupted = False
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True  # it has had it too, being in the same group
    signal.signal(signal.SIGTERM, before)
    if interrupted and status != 0:
        raise KeyboardInterrupt
    return 128 - status if status < 0 else status


def say(text: str) -> None:
    print(f"run.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
