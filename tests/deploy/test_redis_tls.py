"""TLS with client certificates, as `tls.conf` and `certificates.py` set it up, on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from redis.exceptions import RedisError
from tests.deploy.conftest import (
    DEPLOY,
    START_LIMIT,
    TESTER,
    GuardedServer,
    at_home_in,
    run_tool,
    server_programs,
    set_passwords,
)
from tests.limits import HANG_LIMIT

from mt5relay_gateway.cli.store import ServerProgram, free_port
from mt5relay_shared.redis_client import connect

pytestmark = pytest.mark.integration

SCRIPT = DEPLOY / "redis" / "certificates.py"
HOST = "localhost"  # what the server's certificate is for
LIMIT = HANG_LIMIT  # until a process has said what it has to say
CLIENT_FILES = ("worker", "gateway", "operator")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("certificates_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass asks for it there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def certificates() -> Any:
    return load_script()


@dataclass(frozen=True)
class TlsServer:
    """A server that asks for certificates, and the folder in which they are."""

    guarded: GuardedServer
    files: Path

    def url(self, user: str, *, host: str = HOST, ca: str = "ca", client: str | None = None) -> str:
        query = f"ssl_ca_certs={self.files / ca}.crt"
        if client is not None:
            pair = self.files / client
            query += f"&ssl_certfile={pair}.crt&ssl_keyfile={pair}.key"
        login = f"{user}:{self.guarded.password(user)}"
        return f"rediss://{login}@{host}:{self.guarded.port}/0?{query}"


@pytest.fixture(scope="module")
def tls(certificates: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    directory = tmp_path_factory.mktemp("tls")
    files = directory / "files"
    for words in (("server", HOST), ("client", *CLIENT_FILES)):
        ran = run_tool(sys.executable, SCRIPT, *words, "--out", files)
        assert ran.returncode == 0, ran.stdout
    now = datetime.now(UTC)
    ours = certificates.authority_in(files)
    certificates.save(certificates.issued(ours, "expired", [], now, -1), files, "expired")
    stranger = certificates.new_authority(now)
    certificates.save(stranger, files, "other-ca")
    certificates.save(certificates.issued(stranger, "stranger", [], now), files, "stranger")
    for program in server_programs():
        with tls_server(program, directory, files) as server:
            if server is not None:
                yield server
                return
    if os.environ.get("CI"):
        pytest.fail("no server here speaks TLS: on Debian, install the package redis-server")
    pytest.skip("no server here speaks TLS: on Debian, install the package redis-server")


@contextlib.contextmanager
def tls_server(program: ServerProgram, directory: Path, files: Path) -> Generator[TlsServer | None]:
    """Start it with `tls.conf`; None where it is built without TLS."""
    guarded = GuardedServer(free_port(), directory / "users.acl", directory / "secrets")
    users = (DEPLOY / "redis" / "users.acl").read_text("utf-8")
    guarded.acl_file.write_text(f"{users}user {TESTER} on +@all ~* &*\n", "utf-8")
    set_passwords(guarded.acl_file, guarded.secrets)
    tls = (DEPLOY / "redis" / "tls.conf").read_text("utf-8")
    assert "/etc/mt5relay/tls/" in tls
    tls = tls.replace("/etc/mt5relay/tls/", f"{files}/").replace("6380", str(guarded.port))
    (directory / "tls.conf").write_text(tls, "utf-8")
    include = f"include {directory}/tls.conf"
    text = at_home_in(directory)
    assert f"# {include}" in text
    (directory / "redis.conf").write_text(text.replace(f"# {include}", include), "utf-8")
    log = directory / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [program.path, directory / "redis.conf", "--bind", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        yield TlsServer(guarded, files) if speaks_tls(process, log) else None
    finally:
        process.terminate()
        process.wait(START_LIMIT)


def speaks_tls(process: subprocess.Popen[bytes], log: Path) -> bool:
    limit = time.monotonic() + START_LIMIT
    while "eady to accept connections" not in log.read_text():
        if "Failed finding TLS support" in log.read_text():
            return False
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.02)
    return True


# ---- Wrong certificates, and what is said of them -----------------------------------------------

Way = Callable[[TlsServer, str], str]

WRONG: dict[str, tuple[Way, tuple[str, ...]]] = {
    "no client certificate": (
        lambda tls, user: tls.url(user),
        ("asks for a client certificate", "ssl_certfile", "certificates.py client NAME"),
    ),
    "a client certificate of another authority": (
        lambda tls, user: tls.url(user, client="stranger"),
        ("refuses", "stranger.crt", "tls-ca-cert-file"),
    ),
    "an expired client certificate": (
        lambda tls, user: tls.url(user, client="expired"),
        ("expired.crt, which expired on", "renew it"),
    ),
    "another host than the certificate's": (
        lambda tls, user: tls.url(user, client="gateway", host="127.0.0.1"),
        ("is not for 127.0.0.1", "certificates.py server NAME"),
    ),
    "another authority than the server's": (
        lambda tls, user: tls.url(user, client="gateway", ca="other-ca"),
        ("of an authority that is not in", "other-ca.crt", "ssl_ca_certs"),
    ),
    "a file that is not there": (
        lambda tls, user: tls.url(user, client="gone"),
        ("ssl_certfile in REDIS_URL names", "gone.crt, which does not exist"),
    ),
    "a key of another certificate": (
        lambda tls, user: tls.url(user, client="gateway").replace("gateway.key", "worker.key"),
        ("worker.key is not the key of", "ssl_keyfile"),
    ),
}
IN_PROCESSES = ("no client certificate", "an expired client certificate")


async def trouble_of(url: str) -> str:
    """What `connect` says of a URL; empty where it gets in."""
    redis: Any = connect(url, client_name="test")
    try:
        await redis.ping()
    except RedisError as error:
        return str(error)
    finally:
        await redis.aclose()
    return ""


@pytest.mark.parametrize("user", CLIENT_FILES)
async def test_who_shows_a_certificate_gets_in(tls: TlsServer, user: str) -> None:
    assert await trouble_of(tls.url(user, client=user)) == ""


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_certificate_is_refused_and_its_remedy_named(
    tls: TlsServer, wrong: str
) -> None:
    way, words = WRONG[wrong]
    for _ in range(5):  # what OpenSSL says may be lost with the connection, or not
        said = await trouble_of(way(tls, "gateway"))
        assert all(word in said for word in words), said
        assert tls.guarded.password("gateway") not in said


async def test_who_does_not_speak_tls_is_not_answered(tls: TlsServer) -> None:
    guarded = tls.guarded
    assert await trouble_of(guarded.url("gateway")) != ""


async def test_a_port_without_tls_is_told(tls: TlsServer, server: Any) -> None:
    url = tls.url("gateway", client="gateway").replace(str(tls.guarded.port), str(server.port))
    assert "no answer over TLS; if Redis runs, see whether" in await trouble_of(url)


# ---- Processes ----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(
    directory: Path, *words: str, **settings: str
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process of ours, whose standard error is its log."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        env={
            **{name: value for name, value in os.environ.items() if name[:4] != "MT5_"},
            "MT5_LOG_FORMAT": "json",
            "MT5_TERMINAL": "simulated",
            "MT5_SIMULATOR_BOOK": str(DEPLOY / "accounts.sample.json"),
            **settings,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=directory,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), LIMIT)


async def said_until(process: asyncio.subprocess.Process, word: str) -> str:
    """The log up to the line with `word`."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(LIMIT):
        while word not in said:
            line = (await process.stderr.readline()).decode()
            assert line, f"it ended without {word}: {said}"
            said += line
    return said


WORKER = ("mt5relay_worker", "run")
HTTP_GATEWAY = ("mt5relay_gateway.cli", "gateway", "--port", "0")
HEALTH = ("mt5relay_gateway.cli", "health")


@pytest.mark.parametrize("wrong", IN_PROCESSES)
async def test_every_process_says_what_is_wrong(tls: TlsServer, wrong: str, tmp_path: Path) -> None:
    """As one line with the remedy: no traceback, no silence. Who serves tries again."""
    way, words = WRONG[wrong]
    for program, user, event in (
        (WORKER, "worker", "lease.waiting"),
        (HTTP_GATEWAY, "gateway", "gateway.redis_unavailable"),
        (HEALTH, "operator", "\n"),
    ):
        key = {"MT5_PRIVATE_KEY_FILE": str(tmp_path / "none")}
        async with running(tmp_path, *program, REDIS_URL=way(tls, user), **key) as process:
            said = await said_until(process, event)
            if program is HEALTH:
                assert await asyncio.wait_for(process.wait(), LIMIT) == 69
        assert all(word in said for word in words), said
        assert "Traceback" not in said
        assert tls.guarded.password(user) not in said


async def test_worker_gateway_and_command_work_over_tls(tls: TlsServer, tmp_path: Path) -> None:
    made = run_tool(
        *(sys.executable, "-m", "mt5relay_worker", "keygen", "--out", tmp_path / "key"),
    )
    assert made.returncode == 0, made.stdout
    urls = {user: tls.url(user, client=user) for user in CLIENT_FILES}
    settings = {"MT5_PRIVATE_KEY_FILE": str(tmp_path / "key"), "MT5_SYNC_TIMEOUT": "1"}
    async with (
        running(tmp_path, *WORKER, REDIS_URL=urls["worker"], **settings) as worker,
        running(tmp_path, *HTTP_GATEWAY, REDIS_URL=urls["gateway"]) as gateway,
    ):
        await said_until(worker, "lease.acquired")
        await said_until(gateway, "gateway.open")
        give_up = time.monotonic() + LIMIT
        while time.monotonic() < give_up:
            async with running(tmp_path, *HEALTH, REDIS_URL=urls["operator"]) as health:
                if await health.wait() == 0:
                    return
    pytest.fail("the worker's health was never ok")


@pytest.mark.parametrize(("program", "status"), [(WORKER, 78), (HTTP_GATEWAY, 2), (HEALTH, 2)])
async def test_no_process_goes_beyond_this_machine_without_tls(
    program: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    url = "redis://operator:planted@192.0.2.1:6379/0"
    async with running(tmp_path, *program, REDIS_URL=url) as process:
        _, said = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == status
    assert b"192.0.2.1 is not this machine" in said
    assert b"MT5_ALLOW_PLAINTEXT_REDIS=true" in said
    assert b"planted" not in said
    assert b"Traceback" not in said


# ---- Renewal ------------------------------------------------------------------------------------


async def test_a_renewed_certificate_is_taken_up_at_the_next_connect(
    tls: TlsServer, tmp_path: Path
) -> None:
    """Without a restart: what is connected stays so, and who connects again shows the new one."""
    mine = tls.files / "mine"

    def put(name: str) -> None:
        for suffix in (".crt", ".key"):
            shutil.copy((tls.files / name).with_suffix(suffix), mine.with_suffix(suffix))

    put("gateway")
    redis: Any = connect(tls.url("gateway", client="mine"), client_name="renewed")
    tester: Any = connect(tls.url(TESTER, client="operator"), client_name="test")

    async def cut_off() -> None:
        for one in await tester.client_list():
            if one["name"] == "renewed":
                await tester.client_kill_filter(_id=one["id"])

    try:
        assert await redis.ping()
        put("expired")
        assert await redis.ping(), "what is connected must stay so"
        await cut_off()
        with contextlib.suppress(RedisError):
            await redis.ping()  # the connection that has died
        with pytest.raises(RedisError, match="which expired on"):
            await redis.ping()
        put("operator")
        assert await redis.ping()
    finally:
        await redis.aclose()
        await tester.aclose()


def test_certificates_are_renewed_in_place(certificates: Any, tmp_path: Path) -> None:
    def make() -> tuple[bytes, int]:
        ran = run_tool(sys.executable, SCRIPT, "client", "worker", "--out", tmp_path)
        assert ran.returncode == 0, ran.stdout
        return (tmp_path / "worker.crt").read_bytes(), (tmp_path / "worker.key").stat().st_mode

    first, mode = make()
    authority = (tmp_path / "ca.crt").read_bytes()
    assert mode & 0o777 == 0o600
    (tmp_path / "worker.key").chmod(0o640)  # as its operator wants it
    second, mode = make()
    assert second != first
    assert mode & 0o777 == 0o640
    assert (tmp_path / "ca.crt").read_bytes() == authority


def test_without_its_key_the_authority_is_not_made_anew(tmp_path: Path) -> None:
    """Nobody would trust what a new one signs."""
    words = (sys.executable, SCRIPT, "client", "worker", "--out", tmp_path)
    assert run_tool(*words).returncode == 0
    (tmp_path / "ca.key").rename(tmp_path / "safe")
    ran = run_tool(*words)
    assert ran.returncode == 1
    assert "ca.key is missing: put it back" in ran.stdout
