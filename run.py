"""Run the demonstration, the tests or the checks from a fresh checkout.

    python3 run.py demo [--once] [--json] ...   the demonstration (see `demo --help`)
    python3 run.py unit [PYTEST ARGUMENTS]      the quick tests, without systems of processes
    python3 run.py test [PYTEST ARGUMENTS]      all tests
    python3 run.py coverage [PYTEST ARGUMENTS]  the quick tests, and which lines they run
    python3 run.py check                        formatting, lint, types, import contracts
    python3 run.py simulate [--seeds N]         whole systems in virtual time, a seed each
    python3 run.py chaos [--minutes N --seed S] kill, freeze and cut real processes, then balance
    python3 run.py hostile [--visits N]         every fault of a terminal at once, answers judged
    python3 run.py rehearse [--keep]            deploy/README.md, carried out in a scratch folder
    python3 run.py bench [--quick] [--soak N]   throughput, latency, memory, next to its peers
    python3 run.py conformance [--target NAME]  the simulator, or the real package, call by call

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - it is for those who do not have it; 3.6 can read this
    sys.exit(
        "run.py needs Python 3.11 or later, and this is {}.{}.{}; try python3.11, or"
        " `py -3.11` on Windows".format(*sys.version_info)
    )

ROOT = Path(__file__).resolve().parent
EXTRAS = {  # command -> extra
    "demo": "demo", "unit": "test", "test": "test", "check": "test", "simulate": "test",
    "coverage": "test", "chaos": "test", "hostile": "test", "rehearse": "test", "bench": "bench",
    "conformance": "test",
}  # fmt: skip
INTERRUPTED = 130
PARALLEL = ("-n", "auto", "--dist", "worksteal")  # a later `-n 0` takes it back
TESTS_AT_ONCE = min(8, 2 * (os.cpu_count() or 1))  # many of them wait for processes

Command = Sequence[str | Path]


def main(words: list[str]) -> int:
    if not words or words[0] not in EXTRAS:
        print(__doc__, file=sys.stderr)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    name, arguments = words[0], words[1:]
    # Hundreds of processes are started here; each would compile every module again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
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
    return told([environment.python, "-m", "tests.chaos.chaos", *arguments])


def hostile(environment: Environment, arguments: list[str]) -> int:
    os.chdir(environment.root)
    return told([environment.python, "-m", "tests.hostile.hostile", *arguments])


def rehearse(environment: Environment, arguments: list[str]) -> int:
    os.chdir(environment.root)
    return told([environment.python, "-m", "tests.rehearsal.rehearse", *arguments])


def bench(environment: Environment, arguments: list[str]) -> int:
    os.chdir(environment.root)
    return call([environment.python, "-m", "bench", *arguments])


def conformance(environment: Environment, arguments: list[str]) -> int:
    os.chdir(environment.root)
    return told([environment.python, "-m", "tests.conformance.runner", *arguments])


def simulate(environment: Environment, arguments: list[str]) -> int:
    os.chdir(environment.root)
    return told([environment.python, "-m", "tests.simulation.run", *arguments])


def unit(environment: Environment, arguments: list[str]) -> int:
    prepare_tests(environment)
    return told([environment.python, "-m", "pytest", *unit_tests(), *arguments])


def coverage(environment: Environment, arguments: list[str]) -> int:
    """Stops at the first step that fails: coverage of a failing run says nothing."""
    prepare_tests(environment)
    python = environment.python
    steps: list[Command] = [
        [python, "-m", "coverage", "erase"],
        [python, "-m", "coverage", "run", "-m", "pytest", *unit_tests(), *arguments],
        [python, "-m", "coverage", "combine", "--quiet"],
        [python, "-m", "coverage", "report"],
    ]
    return next((status for step in steps if (status := told(step)) != 0), 0)


def test(environment: Environment, arguments: list[str]) -> int:
    prepare_tests(environment)
    return told([environment.python, "-m", "pytest", *PARALLEL, *arguments])


def unit_tests() -> list[str]:
    """Arguments for pytest, which also leave out most of the schedule's random paths."""
    os.environ.setdefault("MT5RELAY_SCHEDULING_PATHS", "2000")
    return [*PARALLEL, "-m", "not integration"]


def prepare_tests(environment: Environment) -> None:
    """Say how many processes `-n auto` means, unless the environment says it."""
    os.chdir(environment.root)
    os.environ.setdefault("PYTEST_XDIST_AUTO_NUM_WORKERS", str(TESTS_AT_ONCE))


def check(environment: Environment, arguments: list[str]) -> int:
    """Runs everything, whatever fails, so that one run shows all there is to mend."""
    if arguments:
        raise StepFailedError("check takes no arguments", 2)
    os.chdir(environment.root)
    python = environment.python
    return side_by_side(
        [
            [python, "-m", "ruff", "check"],
            [python, "-m", "ruff", "format", "--check"],
            [python, "-m", "mypy"],
            [python, "-m", "pyright", "--pythonpath", python],
            [environment.program("lint-imports")],
        ]
    )


def side_by_side(commands: Sequence[Command]) -> int:
    """Run all at once, show what each said in turn, and return the first status that is not 0."""
    with ThreadPoolExecutor(len(commands)) as pool:
        runs = [pool.submit(heard, command) for command in commands]
        statuses: list[int] = []
        for command, run in zip(commands, runs, strict=True):
            status, text = run.result()
            say(spoken(command))
            print(text, end="", flush=True)
            statuses.append(status)
    return next((status for status in statuses if status != 0), 0)


def heard(command: Command) -> tuple[int, str]:
    """Run a program without a terminal; returns its exit status and what it said."""
    run = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return as_shell_says(run.returncode), run.stdout


COMMANDS = {
    "demo": demo, "unit": unit, "test": test, "coverage": coverage, "check": check,
    "simulate": simulate, "chaos": chaos, "hostile": hostile, "rehearse": rehearse, "bench": bench,
    "conformance": conformance,
}  # fmt: skip


def told(command: Command) -> int:
    """Say what is run, then run it."""
    say(spoken(command))
    return call(command)


def spoken(command: Command) -> str:
    return " ".join(part.stem if isinstance(part, Path) else part for part in command)


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
    return as_shell_says(status)


def as_shell_says(status: int) -> int:
    return 128 - status if status < 0 else status


def say(text: str) -> None:
    print(f"run.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
