"""The worker's command as a user starts it: what it prints, and the status it ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT
from tests.servers import WORKER, AclServer, as_user

from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.keys import Keys
from mt5relay_shared.sealing import load_private_key, public_part
from mt5relay_worker.cli import EXIT_LEASE_LOST
from mt5relay_worker.key_file import write_private_key

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.worker.conftest import Until

EXIT_SETTINGS = 78


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """This process's environment without any setting, plus these."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MT5_") and name != "REDIS_URL"
    }
    return {**plain, "MT5_LOG_FORMAT": "json", "TMPDIR": str(directory), **settings}


def run(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mt5relay_worker", *arguments],
        cwd=directory,
        env=environment(directory, **settings),
        capture_output=True,
        text=True,
        timeout=HANG_LIMIT,
        check=False,
    )


# keygen


def test_keygen_writes_a_private_key_and_prints_its_fingerprint_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "keygen", "--out", "worker.key")
    pem = (tmp_path / "worker.key").read_bytes()
    key_id = public_part(load_private_key(pem)).key_id
    assert done.returncode == 0
    assert f"MT5_SEALING_KEY_ID={key_id}" in done.stdout
    assert "PRIVATE" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows has no file modes")
def test_only_the_owner_may_read_the_private_key(tmp_path: Path) -> None:
    run(tmp_path, "keygen")
    assert (tmp_path / "mt5relay.key").stat().st_mode & 0o777 == 0o600


def test_keygen_prints_json_where_asked(tmp_path: Path) -> None:
    done = run(tmp_path, "keygen", "--out", "worker.key", "--json")
    assert json.loads(done.stdout).keys() == {"file", "key_id"}


def test_keygen_never_overwrites_a_key(tmp_path: Path) -> None:
    key = tmp_path / "worker.key"
    key.write_text("the only one")
    done = run(tmp_path, "keygen", "--out", str(key))
    assert done.returncode == 1
    assert "worker.key exists" in done.stderr
    assert key.read_text() == "the only one"


# Wrong settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "MT5_TERMINAL_PATH"),
        ({"MT5_TERMINAL": "paper"}, "MT5_TERMINAL"),
        ({"MT5_TERMINAL": "simulated", "MT5_LEASE_TTL": "soon"}, "MT5_LEASE_TTL"),
        ({"MT5_TERMINAL": "simulated", "REDIS_URL": "localhost:6379"}, "REDIS_URL"),
    ],
)
def test_wrong_settings_end_it_at_once_and_are_named(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    done = run(tmp_path, "run", **settings)
    assert done.returncode == EXIT_SETTINGS
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_in_a_wrong_setting_is_not_quoted(tmp_path: Path) -> None:
    done = run(
        tmp_path, "run", MT5_TERMINAL="simulated", REDIS_URL="http://user:planted-secret@host"
    )
    assert done.returncode == EXIT_SETTINGS
    assert "planted-secret" not in done.stdout + done.stderr


# Running


Worker = subprocess.Popen[bytes]


@pytest.fixture
def start(tmp_path: Path, server: AclServer, keys: Keys) -> Iterator[Callable[[], Worker]]:
    """Start a worker on the simulator; it logs to `worker.log`."""
    write_private_key(tmp_path / "worker.key")
    (tmp_path / "book.json").write_text('{"servers": [], "accounts": []}')
    settings = environment(
        tmp_path,
        REDIS_URL=as_user(server.url, WORKER),
        MT5_TERMINAL_ID=keys.terminal,
        MT5_TERMINAL="simulated",
        MT5_SIMULATOR_BOOK=str(tmp_path / "book.json"),
        MT5_SIMULATOR_SPEED="0",
        MT5_PRIVATE_KEY_FILE=str(tmp_path / "worker.key"),
        MT5_HEARTBEAT_INTERVAL="0.2",
        MT5_LEASE_TTL="20",
    )
    started: list[Worker] = []

    def start_one() -> Worker:
        with (tmp_path / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "mt5relay_worker", "run", "--stop-on-eof"],
                cwd=tmp_path,
                env=settings,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        started.append(worker)
        return worker

    yield start_one
    for worker in started:
        worker.kill()
        worker.wait(HANG_LIMIT)
        hang_up(worker)


def hang_up(worker: Worker) -> None:
    """Close its standard input."""
    assert worker.stdin is not None
    worker.stdin.close()


@pytest.fixture
async def worker(start: Callable[[], Worker], redis: Redis, keys: Keys, until: Until) -> Worker:
    """A worker whose terminal is attached."""
    started = start()

    async def is_connected() -> bool:
        return await redis.hget(keys.health, "state") == b"CONNECTED"

    await until(is_connected)
    return started


async def test_it_publishes_the_public_key_of_its_terminal_process(
    worker: Worker, redis: Redis, keys: Keys, tmp_path: Path
) -> None:
    private = load_private_key((tmp_path / "worker.key").read_bytes())
    published = await redis.get(keys.sealing_key)
    assert isinstance(published, bytes)
    assert decode_sealing_key(published) == public_part(private)


async def test_the_end_of_its_input_is_a_graceful_stop(
    worker: Worker, redis: Redis, keys: Keys
) -> None:
    hang_up(worker)
    assert worker.wait(HANG_LIMIT) == 0
    assert not await redis.exists(keys.lease, keys.health)


@pytest.mark.skipif(os.name != "posix", reason="nothing delivers SIGTERM on Windows")
async def test_a_signal_is_a_graceful_stop(worker: Worker, redis: Redis, keys: Keys) -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(HANG_LIMIT) == 0
    assert not await redis.exists(keys.lease)


async def test_a_lost_lease_ends_it_with_the_status_that_asks_for_a_restart(
    worker: Worker, redis: Redis, keys: Keys, tmp_path: Path
) -> None:
    await redis.set(keys.lease, "another:nonce:99")
    assert worker.wait(HANG_LIMIT) == EXIT_LEASE_LOST
    assert await redis.get(keys.lease) == b"another:nonce:99"
    lines = [json.loads(line) for line in (tmp_path / "worker.log").read_text().splitlines()]
    assert "worker.lease_lost" in {line["event"] for line in lines}


async def test_every_line_it_logs_is_json_with_a_dotted_event(
    worker: Worker, tmp_path: Path
) -> None:
    hang_up(worker)
    worker.wait(HANG_LIMIT)
    for line in (tmp_path / "worker.log").read_text().splitlines():
        assert "." in json.loads(line)["event"]
