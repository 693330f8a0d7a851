"""`mt5relay demo`, with the real worker and its simulated terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from tests.servers import TESTER, as_user

from mt5relay_gateway.cli.demo_book import SAMPLE_LOGIN, read_book, write_book
from mt5relay_gateway.cli.demo_store import imitated_server
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.operations import Operation

pytestmark = pytest.mark.integration

SAMPLE = Path(__file__).parents[3] / "deploy" / "accounts.sample.json"
ONCE = ("demo", "--once", "--json", "--speed", "0")

SHOUT = "http.AUTHENTICATION_IS_OFF"  # of the demonstration's page, for this machine alone


@pytest.fixture
def temporary(environment: dict[str, str], tmp_path: Path) -> Path:
    """Where the demonstration's own files go."""
    place = tmp_path / "temporary"
    place.mkdir()
    environment["REDIS_URL"] = as_user(environment["REDIS_URL"], TESTER)  # all of them in one
    environment["TMPDIR"] = environment["TEMP"] = str(place)
    return place


async def demo_program(environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "mt5relay_gateway.cli", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_empty(directory: Path) -> bool:
    return not any(directory.iterdir())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_once_asks_everything_for_three_accounts_and_leaves_nothing(
    environment: dict[str, str], temporary: Path, redis: Redis
) -> None:
    words = (*ONCE, "--accounts", str(SAMPLE))
    process = await demo_program(environment, *words)
    out, err = await asyncio.to_thread(process.communicate, timeout=90)
    assert (process.returncode, err) == (0, "")
    lines = [msgspec.json.decode(line) for line in out.splitlines()]
    started = {line["event"]: line for line in lines if "event" in line}
    assert started["store"]["origin"] == "REDIS_URL"
    assert started["accounts"]["enrolled"] == 3
    looks = [line for line in lines if "event" not in line]
    accounts = [str(one.account) for one in read_book(SAMPLE)]
    assert [(one["account"], one["operation"]) for one in looks] == [
        (account, operation) for account in accounts for operation in Operation
    ]
    assert {(one["status"], one["source"]) for one in looks} == {("ok", "terminal")}
    assert not is_alive(started["worker"]["pid"])
    assert is_empty(temporary)
    terminal = started["store"]["terminal"]
    left: Any = await cast(Any, redis).keys(f"*{terminal}*")
    assert left == []


async def test_without_a_redis_one_is_started_and_the_answers_are_shown_as_tables(
    environment: dict[str, str], temporary: Path
) -> None:
    del environment["REDIS_URL"]
    words = ("demo", "--once", "--speed", "0", "--count", "1")
    process = await demo_program(environment, *words)
    out, err = await asyncio.to_thread(process.communicate, timeout=90)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("store: origin ")
    assert f"account_info of {SAMPLE_LOGIN}@MetaQuotes-Demo: from the terminal" in out
    assert is_empty(temporary)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
async def test_it_runs_until_it_is_told_to_end_and_then_tidies_up(
    environment: dict[str, str], temporary: Path, number: signal.Signals, status: int
) -> None:
    process = await demo_program(environment, "demo", "--json", "--speed", "0", "--count", "2")
    assert process.stdout is not None
    pid = 0
    while True:
        line = msgspec.json.decode(await asyncio.to_thread(process.stdout.readline))
        pid = line.get("pid", pid)
        if "status" in line:
            break
    process.send_signal(number)
    _, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == status
    assert [msgspec.json.decode(one)["event"] for one in err.splitlines()] == [SHOUT]
    assert not is_alive(pid)
    assert is_empty(temporary)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM on Windows")
async def test_a_background_job_which_ignores_interrupts_ends_when_asked_to(
    environment: dict[str, str], temporary: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a child inherits
    try:
        process = await demo_program(environment, "demo", "--json", "--speed", "0", "--count", "2")
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    while '"status"' not in (line := await asyncio.to_thread(process.stdout.readline)):
        assert line, "the demonstration ended early"
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert is_empty(temporary)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
async def test_a_worker_that_dies_ends_it_with_the_end_of_the_worker_s_log(
    environment: dict[str, str], temporary: Path
) -> None:
    process = await demo_program(environment, "demo", "--speed", "0", "--count", "2")
    assert process.stdout is not None
    worker = 0
    while not (line := await asyncio.to_thread(process.stdout.readline)).startswith("accounts"):
        assert line, "the demonstration ended early"
        worker = int(line.partition("pid ")[2].partition(",")[0] or worker)
    os.kill(worker, signal.SIGKILL)
    _, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 1
    assert "the worker ended with status -9:" in err
    assert "worker.started" in err
    assert is_empty(temporary)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--speed", "-1"), "--speed: -1.0 is not between 0 and 1000000"),
        (("--count", "0"), "--count: 0 is not between 1 and 10000"),
        (("--accounts", "missing.json"), "--accounts: missing.json: No such file"),
    ],
)
async def test_a_wrong_option_is_refused_before_anything_is_started(
    program: Any, words: tuple[str, ...], complaint: str
) -> None:
    ended = await program("demo", *words)
    assert (ended.status, ended.out) == (2, "")
    assert complaint in ended.err


def test_a_book_made_up_has_the_documented_sample_account_first(tmp_path: Path) -> None:
    book = tmp_path / "book.json"
    write_book(book, 25)
    accounts = read_book(book)
    assert str(accounts[0].account) == "25115284@MetaQuotes-Demo"
    assert len({one.account for one in accounts}) == 25
    assert {one.server for one in accounts} == {"MetaQuotes-Demo", "Contoso-Live"}
    assert accounts[0].password not in repr(accounts)
    if os.name == "posix":
        assert stat.S_IMODE(book.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "truncated"),
        ('{"accounts": []}', "give at least one"),
        ('{"accounts": [{"login": "1", "server": "A", "password": "p"}]}', "$.accounts[0].login"),
        ('{"accounts": [{"login": 1, "server": "A", "password": ""}]}', "1@A: password: it is"),
    ],
)
def test_a_book_that_can_t_be_used_is_refused_with_the_place(
    tmp_path: Path, text: str, complaint: str
) -> None:
    book = tmp_path / "book.json"
    book.write_text(text, "utf-8")
    with pytest.raises(MT5ValidationError) as refusal:
        read_book(book)
    assert complaint in str(refusal.value)


def test_where_there_is_no_server_an_imitation_serves() -> None:
    with imitated_server() as url, BlockingRedis(port=urlsplit(url).port or 0) as redis:
        assert redis.xadd("requests", {"request": "{}"})
        assert redis.xlen("requests") == 1
