"""What was accepted survives the death of Redis, with the configuration and users of `deploy`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from tests.deploy.conftest import TESTER, GuardedServer, guarded_server, server_programs

from mt5relay_gateway.cli.store import ServerProgram

pytestmark = pytest.mark.integration

ONCE = Retry(NoBackoff(), 0)
TWO_WRITES = "redis.call('INCR', KEYS[1]) redis.call('SET', KEYS[2], 'x')"
PROGRAMS = server_programs()


@pytest.mark.parametrize("program", PROGRAMS, ids=[one.path.name for one in PROGRAMS])
def test_what_a_script_wrote_is_there_after_a_restart(
    program: ServerProgram, tmp_path: Path
) -> None:
    """The file is replayed as the user `default`, which must be allowed what it holds.

    What a script wrote stands there as a transaction, and is thrown away where it is not.
    """
    with guarded_server(program, tmp_path) as server, server.client(TESTER) as redis:
        redis.eval(TWO_WRITES, 2, "fence", "reply")
        redis.set("alone", "x")
        time.sleep(1.2)  # appendfsync everysec
    with guarded_server(program, tmp_path) as server, server.client(TESTER) as redis:
        found = [redis.get(key) for key in ("fence", "reply", "alone")]
    assert found == [b"1", b"x", b"x"]
    assert "CRITICAL" not in (tmp_path / "server.log").read_text()


def test_nobody_is_the_user_default(guarded: GuardedServer) -> None:
    """Whatever it is allowed, for replaying alone."""
    server: dict[str, Any] = {"host": "127.0.0.1", "port": guarded.port, "retry": ONCE}
    attempts: list[dict[str, Any]] = [{}, {"username": "default"}, {"password": "default"}]
    for known in attempts:
        redis: Any = Redis(**server, **known)
        with redis, pytest.raises(AuthenticationError):
            redis.ping()
