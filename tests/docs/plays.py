"""Plays the commands of a page in one shell, as a reader who types them one after the other.

What differs from what stands there is this and nothing else:

- `python3 run.py demo` is `mt5relay demo`, which it starts in an environment of its own;
- ports: 6379 and 8080 are free ones, and `redis-cli` is told its port;
- a `…` that stands for the fingerprint is what `keygen` printed;
- what stays in the foreground (`STAYS`) runs in the background and is waited for, what goes on
  until Ctrl-C (`WATCHED`, `TIMED`) gets it after a while;
- the simulated terminal is fast;
- a reply is waited for before it is fetched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.not_run import NOT_RUN, UNRUNNABLE
from tests.docs.pages import ROOT, Block, Command, blocks, commands

from mt5relay_gateway.cli.store import find_server_program, free_port

SERVER = ["redis-server --bind 127.0.0.1 --port 6379"]
SIMULATED = ["export MT5_TERMINAL=simulated MT5_SIMULATOR_BOOK=deploy/accounts.sample.json"]
WORKER = [
    "mt5relay-worker keygen",
    "mt5relay-worker run",
    "export MT5_SEALING_KEY_ID=…",
    "echo 'invented-1' | mt5relay accounts add 25115284@MetaQuotes-Demo",
]
PLAYED: dict[Path, list[str]] = {
    ROOT / "README.md": [],
    ROOT / "shared" / "README.md": [*SERVER, *SIMULATED, *WORKER],
    ROOT / "gateway" / "README.md": [*SERVER, *SIMULATED, *WORKER],
    ROOT / "worker" / "README.md": [*SERVER, *SIMULATED],
}
"""Pages, each with what it takes for granted: the README's first steps."""

LIMIT = 150.0  # seconds for a page
STAYS = {
    "redis-server": "redis-cli -p $PORT PING",
    "mt5relay-worker run": 'redis-cli HGET "{mt5:main}:health" state | grep -q CONNECTED',
    "mt5relay gateway": "curl -fs http://127.0.0.1:$HTTP_PORT/health/ready",
}
WATCHED = {"mt5relay demo": "page: address"}  # until this is printed
TIMED = {"mt5relay top": 4}  # seconds
FINDS = ("mt5relay doctor", "mt5relay-worker check")  # status 1: this server is open and forgets
ENDS = "mt5relay demo --once"  # by itself
HEAD = """\
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
redis-cli() { command redis-cli -e -p "$PORT" "$@"; }
until_it_works() {  # a command, for half a minute
  for _ in $(seq 150); do if eval "$1" >/dev/null 2>&1; then return; fi; sleep 0.2; done
  echo "never worked: $1"; cat ./*.log; exit 1
}
watched() {  # what it prints before Ctrl-C, and the command
  "${@:2}" >watched.log 2>&1 &
  until_it_works "grep -q '$1' watched.log"
  sleep 1
  kill -INT $! && wait $! || true
  cat watched.log
}
"""
MARK = "=== "


@dataclass(frozen=True)
class Played:
    """What became of it: the shell's status, and what each command printed, in order."""

    status: int
    out: str

    def printed(self) -> list[list[str]]:
        parts = re.split(rf"^{MARK}\d+$", self.out, flags=re.M)
        return [part.strip("\n").splitlines() for part in parts[1:]]


def runnable(page: Path) -> list[Block | Command]:
    """The commands and the Python of a page that are played, in their order."""
    found: list[Block | Command] = []
    name = str(page.relative_to(ROOT))
    for block in blocks(page):
        if block.language == "python" and name not in UNRUNNABLE:
            found.append(block)
        found += [
            one
            for one in commands(block)
            if not any(one.text.startswith(start) for start in NOT_RUN)
        ]
    return found


def play(steps: list[Block | Command], directory: Path, granted: Sequence[str] = ()) -> Played:
    """Run what is taken for granted, then the steps, where `deploy` and `shared` are this one's."""
    port, http_port = free_port(), free_port()
    programs = directory / "bin"
    programs.mkdir()
    if (server := find_server_program()) is not None:
        (programs / "redis-server").symlink_to(server.path)
    for folder in ("deploy", "shared"):
        (directory / folder).symlink_to(ROOT / folder)
    before = [line for text in granted for line in shell_lines(text)]
    lines = [line for number, one in enumerate(steps) for line in step(number, one, directory)]
    for file in directory.glob("block-*.py"):
        file.write_text(substituted(file.read_text("utf-8"), port, http_port), "utf-8")
    script = substituted("\n".join([HEAD, *before, *lines]), port, http_port)
    kept = {name: text for name, text in os.environ.items() if name[:4] != "MT5_"}
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), kept["PATH"]])
    ran = subprocess.run(
        [
            shutil.which("timeout") or "timeout",
            "--kill-after=10",
            f"{LIMIT:g}",
            "bash",
            "-c",
            script,
        ],
        cwd=directory,
        env={
            **kept,
            "PATH": path,
            "PORT": str(port),
            "HTTP_PORT": str(http_port),
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "MT5_HTTP_PORT": str(http_port),
            "MT5_SIMULATOR_SPEED": "20",
            "COLUMNS": "100",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Played(ran.returncode, ran.stdout)


def substituted(script: str, port: int, http_port: int) -> str:
    script = re.sub(r"\b6379\b", str(port), script)
    script = re.sub(r"\b8080\b", str(http_port), script)
    return script.replace("=…", "=$(grep -oEm1 '[0-9a-f]{32}' keygen.log)")


def step(number: int, one: Block | Command, directory: Path) -> list[str]:
    mark = f"echo; echo '{MARK}{number}'"
    if isinstance(one, Command):
        return [mark, *shell_lines(one.text)]
    file = directory / f"block-{number}.py"
    file.write_text(as_program(one.text), "utf-8")
    return [mark, f"python3 {file.name}"]


def shell_lines(shown: str) -> list[str]:
    text = shown.replace("python3 run.py demo", "mt5relay demo")
    for start, works in STAYS.items():
        if text.startswith(start):
            log = f"{start.replace(' ', '-')}.log"
            return [f"{text} >{log} 2>&1 &", f"until_it_works '{works}'"]
    for start, printed in WATCHED.items():
        if text.startswith(start) and not text.startswith(ENDS):
            return [f"watched '{printed}' {alone(text)}"]
    for start, seconds in TIMED.items():
        if text.startswith(start):
            return [f"timeout -s INT {seconds} {text} || test $? -eq 124"]
    if text.startswith(FINDS):
        return [f"{text} || test $? -eq 1"]
    if "keygen" in text:
        return [f"{text} | tee keygen.log"]
    if ":reply:" in text:
        double = text.replace("'", '"')
        return [f"until_it_works '{double} | grep -q status'", text]
    return [alone(text)]


def alone(text: str) -> str:
    """A demonstration starts a server of its own where it is told none."""
    return f"env -u REDIS_URL {text}" if text.startswith("mt5relay demo") else text


def as_program(text: str) -> str:
    """What awaits outside of a function becomes the body of one, as in a notebook."""
    if not re.search(r"^(async with|await|\w+ = await)", text, flags=re.M):
        return text
    body = "\n".join(f"    {line}" for line in text.splitlines())
    names = "from mt5relay_gateway import AccountClient, FleetClient"
    return f"import asyncio\n{names}\n\nasync def main():\n{body}\n\nasyncio.run(main())\n"
