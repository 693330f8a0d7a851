"""The scratch host of a rehearsal: a folder for `/`, the checkout with its places, stand-ins."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rehearsal.guide import PORTS, Substitutions
from tests.rehearsal.processes import send, told_of

from mt5relay_gateway.cli.store import free_port

ROOT = Path(__file__).parents[2]
COPIED = ("pyproject.toml", "README.md", "LICENSE", "gateway", "worker", "shared", "deploy")
MADE_FOLDERS = ("etc/systemd/system", "opt", "run", "var/lib", "var/log")

# What needs root, and is of no account where one user does everything.
STAND_INS = {
    "apt-get": "exit 0",
    "chown": "exit 0",
    "useradd": "exit 0",
    "runuser": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
}
SYSTEMCTL = """#!{python}
import json, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    lines = link.makefile("rw", encoding="utf-8")
    lines.write(json.dumps(sys.argv[1:]) + "\\n")
    lines.flush()
    status, said = json.loads(lines.readline())
print(said, end="\\n" if said else "", file=sys.stderr)
sys.exit(status)
"""


@dataclass(frozen=True)
class Host:
    """Where the rehearsal happens."""

    scratch: Path
    substitutions: Substitutions

    @property
    def root(self) -> Path:
        return self.substitutions.root

    @property
    def checkout(self) -> Path:
        return self.scratch / "checkout"

    @property
    def programs(self) -> Path:
        return self.root / "opt/mt5relay/bin"

    def port(self, guide: int) -> int:
        """The port that stands for one of the guide's."""
        return self.substitutions.ports[guide]

    def secret(self, name: str) -> str:
        return (self.root / "etc/mt5relay" / name).read_text("utf-8").strip()

    def url(self, user: str) -> str:
        """REDIS_URL of a user, as `passwords.py` wrote it."""
        return self.secret(f"secrets/{user}.env").removeprefix("REDIS_URL=")

    def environment(self) -> dict[str, str]:
        """A newcomer's: none of our settings, and the stand-ins first."""
        return {
            **outside_environment(os.environ),
            "PATH": f"{self.scratch / 'stand-ins'}{os.pathsep}{os.environ['PATH']}",
        }


def outside_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what would tell programs of this project, or of this Python."""
    ours = ("MT5_", "MT5RELAY_", "REDIS_", "PYTHON", "COVERAGE", "COV_", "PYTEST", "VIRTUAL_ENV")
    return {name: text for name, text in environment.items() if not name.startswith(ours)}


def prepared_host(scratch: Path) -> Host:
    """Make the folder: the host's `/`, a checkout that names it, and stand-ins."""
    root = scratch / "host"
    for folder in MADE_FOLDERS:
        (root / folder).mkdir(parents=True)
    host = Host(scratch, Substitutions(root, {port: free_port() for port in PORTS}))
    host.checkout.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", "secrets", "installer", "*.pyc")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, host.checkout / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, host.checkout / name)
    host.substitutions.apply_below(host.checkout / "deploy")
    _make_stand_ins(scratch / "stand-ins", root / "systemctl.sock")
    return host


def _make_stand_ins(directory: Path, address: Path) -> None:
    directory.mkdir()
    texts = {name: f"#!/bin/bash\n{text}\n" for name, text in STAND_INS.items()}
    texts["systemctl"] = SYSTEMCTL.format(python=sys.executable, address=str(address))
    # The one that made the environment this runs in, if it is one: of that nothing is inherited.
    interpreter = getattr(sys, "_base_executable", sys.executable)
    texts["python3"] = f'#!/bin/bash\nexec {interpreter} "$@"\n'
    for name, text in texts.items():
        file = directory / name
        file.write_text(text, "utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)


def end_processes_of(scratch: Path, patience: float = 5.0) -> None:
    """Whatever is left that was told of the folder; each by its id."""
    send(signal.SIGKILL, told_of(str(scratch)))
    give_up = time.monotonic() + patience
    while told_of(str(scratch)) and time.monotonic() < give_up:
        time.sleep(0.05)
