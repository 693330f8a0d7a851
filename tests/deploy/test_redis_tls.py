"""`tls.conf`: nobody gets in without a certificate, where the server can speak TLS at all."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from tests.deploy.conftest import (
    DEPLOY,
    START_LIMIT,
    GuardedServer,
    at_home_in,
    run_tool,
    server_programs,
    set_passwords,
    tool,
)

from mt5relay_gateway.cli.store import ServerProgram, free_port

FILES = ("redis.crt", "redis.key", "ca.crt")


def make_certificate(directory: Path) -> None:
    """One that is its own authority, for both sides."""
    openssl = tool("openssl", "on Debian, install the package openssl")
    certificate, key, authority = (directory / name for name in FILES)
    ran = run_tool(
        *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=relay", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", key, "-out", certificate),
    )
    assert ran.returncode == 0, ran.stdout
    shutil.copy(certificate, authority)


@contextlib.contextmanager
def tls_server(program: ServerProgram, directory: Path) -> Generator[GuardedServer]:
    server = GuardedServer(free_port(), directory / "users.acl", directory / "secrets")
    shutil.copy(DEPLOY / "redis" / "users.acl", server.acl_file)
    set_passwords(server.acl_file, server.secrets)
    tls = (DEPLOY / "redis" / "tls.conf").read_text("utf-8").replace("/etc/mt5relay/tls/", "")
    for name in FILES:
        tls = tls.replace(f" {name}", f" {directory / name}")
    (directory / "tls.conf").write_text(tls.replace("6380", str(server.port)), "utf-8")
    text = at_home_in(directory)
    include = f"include {directory}/tls.conf"
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
        limit = time.monotonic() + START_LIMIT
        while "eady to accept connections" not in log.read_text():
            if "Failed finding TLS support" in log.read_text():
                pytest.skip(f"{program.origin} is built without TLS")
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit, log.read_text()
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(START_LIMIT)


def is_let_in(server: GuardedServer, **options: Any) -> bool:
    known: dict[str, Any] = {"username": "monitor", "password": server.password("monitor")}
    once = Retry(NoBackoff(), 0)
    redis: Any = Redis(host="127.0.0.1", port=server.port, retry=once, **known, **options)
    with redis:
        try:
            return bool(redis.ping())
        except (RedisError, OSError):
            return False


@pytest.mark.parametrize("program", server_programs(), ids=lambda one: one.path.name)
def test_nobody_gets_in_without_a_certificate(program: ServerProgram, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    certificate, key, authority = (str(tmp_path / name) for name in FILES)
    secure = {"ssl": True, "ssl_ca_certs": authority}
    with tls_server(program, tmp_path) as server:
        assert is_let_in(server, **secure, ssl_certfile=certificate, ssl_keyfile=key)
        assert not is_let_in(server, **secure), "without a certificate"
        assert not is_let_in(server), "in the clear"
