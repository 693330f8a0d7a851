"""Who may do what in Redis: a real server that was started with the files of `deploy/redis`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry
from tests.commands import AsUser, only_these
from tests.deploy.conftest import DEPLOY, TESTER, GuardedServer, set_passwords
from tests.leaks.http import HearingClient
from tests.leaks.planted import also_secret, planted
from tests.leaks.witness import WITNESS
from tests.limits import HANG_LIMIT
from tests.system.conftest import System, password_of, prepared_system

from mt5relay_gateway import AccountClient, FleetClient
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.scripts import ALL

pytestmark = pytest.mark.integration

Command = Callable[..., Any]

# Refused and passed over in silence by those who send them: newer than 7.0, and not needed.
EXPECTED_REFUSALS = {"client|setinfo"}
REFUSALS_IN_SCRIPTS = ("ACL failure", "The user executing", "not allowed from script")
ONCE = Retry(NoBackoff(), 0)

USERS = ("gateway", "worker", "monitor", "operator")
K, F = Keys("acl"), FleetKeys()
ACCOUNT = "25115284@MetaQuotes-Demo"
REPLY, MARKER, INBOX, SNAPSHOT = K.reply("1"), K.request("1"), K.replies("gw-1"), K.snapshot("1@x")

WRITES_TO_TERMINAL = [
    ("SET", K.lease, "mine"),
    ("DEL", K.lease),
    ("PEXPIRE", K.lease, "1"),
    ("INCR", K.fence),
    ("SET", K.running, "x"),
    ("HSET", K.health, "status", "ok"),
    ("DEL", K.health),
    ("HSET", K.queue, ACCOUNT, "{}"),
    ("XADD", K.events, "*", "event", "{}"),
    ("XADD", K.dead, "*", "request", "{}"),
    ("SET", K.sealing_key, "{}"),
    ("HSET", SNAPSHOT, "data", "{}"),
    ("DEL", SNAPSHOT),
    ("SET", REPLY, "{}"),
    ("DEL", REPLY),
    ("XREADGROUP", "GROUP", "worker", "worker", "STREAMS", K.requests, ">"),
    ("XACK", K.requests, "worker", "1-1"),
    ("XDEL", K.requests, "1-1"),
    ("XTRIM", K.requests, "MAXLEN", "0"),
    ("DEL", K.requests),
    ("XGROUP", "DESTROY", K.requests, "worker"),
]
READS_OF_CREDENTIALS = [
    ("HGETALL", K.accounts),
    ("HGET", K.accounts, ACCOUNT),
    ("HMGET", K.accounts, ACCOUNT),
    ("HVALS", K.accounts),
    ("HSCAN", K.accounts, "0"),
    ("HRANDFIELD", K.accounts, "1"),
    ("DUMP", K.accounts),
    ("COPY", K.accounts, REPLY),
    ("RENAME", K.accounts, REPLY),
    ("SORT", K.accounts, "BY", "nosort", "GET", "#"),
]
ADMINISTRATION = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("MONITOR",),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("CONFIG", "GET", "*"),
    ("ACL", "SETUSER", "gateway", "+@all"),
    ("ACL", "LIST"),
    ("ACL", "GETUSER", "worker"),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("MIGRATE", "127.0.0.1", "1", REPLY, "0", "1"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", "1"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("PUBLISH", "x", "y"),
    ("SUBSCRIBE", "x"),
    ("GET", "somebody-elses-key"),
    ("SET", "somebody-elses-key", "x"),
]

REFUSED: dict[str, list[tuple[str, ...]]] = {
    "gateway": [
        *WRITES_TO_TERMINAL,
        *READS_OF_CREDENTIALS,
        *ADMINISTRATION,
        ("GET", K.lease),
        ("XRANGE", K.requests, "-", "+"),
        ("XADD", K.commands, "*", "command", "{}"),
        ("XRANGE", K.dead, "-", "+"),
        ("HSET", F.tokens, "id", "{}"),
        ("HDEL", F.tokens, "id"),
        ("HSET", F.terminals, "main", "{}"),
        ("HSET", F.pins, ACCOUNT, "main"),
        ("SET", F.version, "1"),
    ],
    "worker": [
        *ADMINISTRATION,
        ("HDEL", K.accounts, ACCOUNT),
        ("DEL", K.sealing_key),
        ("XADD", K.requests, "*", "request", "{}"),
        ("XADD", K.commands, "*", "command", "{}"),
        ("XDEL", K.dead, "1-1"),
        ("XTRIM", K.events, "MAXLEN", "0"),
        ("DEL", REPLY),
        ("DEL", K.accounts),
        ("DEL", K.requests),
        ("DEL", K.fence),
        ("SET", K.fence, "1"),
        ("HGETALL", F.tokens),
        ("HGETALL", F.terminals),
        ("HSET", F.pins, ACCOUNT, "main"),
    ],
    "monitor": [
        *WRITES_TO_TERMINAL,
        *READS_OF_CREDENTIALS,
        *ADMINISTRATION,
        ("EVAL", "return 1", "0"),
        ("EVAL", "return redis.call('HGETALL', KEYS[1])", "1", K.health),
        ("HSET", K.health, "status", "ok"),
        ("HDEL", K.health, "status"),
        ("XTRIM", K.events, "MAXLEN", "0"),
        ("XDEL", K.events, "1-1"),
        ("GET", REPLY),
        ("GET", K.sealing_key),
        ("XRANGE", K.requests, "-", "+"),
        ("XADD", K.requests, "*", "request", "{}"),
        ("XADD", K.commands, "*", "command", "{}"),
        ("HGETALL", SNAPSHOT),
        ("HGETALL", F.tokens),
    ],
    "operator": [
        *(one for one in WRITES_TO_TERMINAL if one[:2] != ("XDEL", K.dead)),
        *(one for one in ADMINISTRATION if one[:2] != ("CONFIG", "GET")),
        ("RENAME", K.accounts, REPLY),
        ("DEL", K.accounts),
    ],
}

PERMITTED: dict[str, list[tuple[str, ...]]] = {
    "gateway": [
        ("EXISTS", K.lease),
        ("MGET", REPLY),
        ("HGETALL", K.health),
        ("HMGET", SNAPSHOT, "data"),
        ("HSET", K.accounts, ACCOUNT, "{}"),
        ("HDEL", K.accounts, ACCOUNT),
        ("HGETALL", F.tokens),
        ("XADD", INBOX, "*", "hello", ""),
        ("UNLINK", INBOX),
    ],
    "worker": [
        ("HGET", K.accounts, ACCOUNT),
        ("HGETALL", K.accounts),  # to seal anew, for another key, and to notice what was removed
        ("HSET", K.accounts, ACCOUNT, "{}"),
        ("GET", K.sealing_key),
        ("TIME",),
    ],
    "monitor": [
        ("HGETALL", K.health),
        ("XRANGE", K.events, "-", "+"),
        ("XREAD", "COUNT", "1", "STREAMS", K.events, "0"),
        ("TIME",),
    ],
    "operator": [
        ("HGETALL", K.accounts),
        ("XRANGE", K.dead, "-", "+"),
        ("XDEL", K.dead, "1-1"),
        ("HGETALL", F.tokens),
        ("CONFIG", "GET", "maxmemory-policy"),
        ("INFO", "persistence"),
        ("ACL", "DRYRUN", "gateway", "GET", K.lease),
        ("ACL", "WHOAMI"),
        ("SCRIPT", "EXISTS", ALL[0].digest),
    ],
}


def is_permitted(redis: Any, words: Sequence[str]) -> bool:
    """Whether the server lets this user try; the command may fail of another reason."""
    try:
        redis.execute_command(*words)
    except NoPermissionError:
        return False
    except ResponseError as error:
        return not any(refusal in str(error) for refusal in REFUSALS_IN_SCRIPTS)
    return True


def in_a_script(words: Sequence[str]) -> tuple[str, ...]:
    """The command as a script sends it that names no keys."""
    quoted = ", ".join(f"'{word}'" for word in words)
    return ("EVAL", f"return redis.call({quoted})", "0")


@pytest.mark.parametrize("user", USERS)
def test_a_user_may_do_nothing_that_is_not_its_duty(guarded: GuardedServer, user: str) -> None:
    with guarded.client(user) as redis:
        permitted = [words for words in REFUSED[user] if is_permitted(redis, words)]
    assert permitted == []


@pytest.mark.parametrize("user", USERS)
def test_a_script_may_do_no_more_than_who_runs_it(guarded: GuardedServer, user: str) -> None:
    cannot_be_in_scripts = {"MONITOR", "SUBSCRIBE", "EVAL", "SHUTDOWN", "MIGRATE"}
    tried = [words for words in REFUSED[user] if words[0] not in cannot_be_in_scripts]
    with guarded.client(user) as redis:
        permitted = [words for words in tried if is_permitted(redis, in_a_script(words))]
    assert permitted == []


@pytest.mark.parametrize("user", USERS)
def test_a_user_may_do_its_duty(guarded: GuardedServer, user: str) -> None:
    with guarded.client(user) as redis:
        refused = [words for words in PERMITTED[user] if not is_permitted(redis, words)]
    assert refused == []


def test_a_monitor_can_write_nothing_at_all(guarded: GuardedServer) -> None:
    """Whichever command the server knows to write, and whichever key it is given."""
    with guarded.client(TESTER) as redis:
        names = sorted(text(name) for name in redis.execute_command("ACL", "CAT", "write"))
        assert len(names) > 50
        known = redis.execute_command("COMMAND", "INFO", *names)
        for name in names:
            arity = abs(int(known[name]["arity"]))
            words = name.split("|")
            for key in (K.health, K.events):
                given = [*words, *[key] * (max(2, arity) - len(words))]
                said = redis.execute_command("ACL", "DRYRUN", "monitor", *given)
                assert text(said) != "OK", given


# ---- Everything at work under these users -------------------------------------------------------


@pytest.fixture
async def system(guarded: GuardedServer, keys: Keys, tmp_path: Path) -> AsyncIterator[System]:
    """A system whose own connection may do everything, for looking on."""
    async with prepared_system(guarded.url(TESTER), keys, tmp_path) as prepared:
        yield prepared


@pytest.fixture
def command(
    guarded: GuardedServer,
    keys: Keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Command]:
    """Run `mt5relay` as a user; it must succeed. Returns what it printed."""
    environment = only_these({"MT5_TERMINAL_ID": keys.terminal}, monkeypatch, tmp_path)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    as_a_user = AsUser(guarded.url, environment, monkeypatch, capsys)

    async def run_as(user: str, *words: str, text: str | None = None, **more: str) -> str:
        ended = await as_a_user(user, *words, text=text, **more)
        WITNESS.hear("output of a command", ended.err)
        assert ended.status == 0, f"{user} {words}: {ended.out}{ended.err}"
        return ended.out

    yield run_as
    structlog.reset_defaults()


def denied(guarded: GuardedServer) -> set[tuple[str, str]]:
    """User and object of every refusal since the last look."""
    with guarded.client(TESTER) as redis:
        entries = redis.execute_command("ACL", "LOG", "1000")
        redis.execute_command("ACL", "LOG", "RESET")
    found = [{text(name): text(value) for name, value in entry.items()} for entry in entries]
    return {(entry["username"], entry["object"]) for entry in found}


async def test_a_question_is_asked_and_answered_under_these_users(
    guarded: GuardedServer, system: System, command: Command
) -> None:
    """Nobody is refused anything that mt5relay sends: also what it would pass over in silence."""
    denied(guarded)
    terminal, account = system.keys.terminal, str(system.accounts[0])
    worker = system.start_worker(REDIS_URL=guarded.url("worker"))
    await system.until_health(state=b"CONNECTED")
    key = decode_sealing_key(await system.redis.get(system.keys.sealing_key)).key_id
    pinned = {"MT5_SEALING_KEY_ID": key}
    for one in system.accounts[:3]:
        await command("operator", "accounts", "add", str(one), text=password_of(one), **pinned)

    async with AccountClient(
        guarded.url("gateway"), terminal=terminal, timeout=HANG_LIMIT
    ) as client:
        live = await client.account_info(account)
        assert live.account == system.accounts[0]
        assert (await client.positions(account, max_age=600)).data
        assert await client.snapshot(account) is not None
        assert await client.health() is not None
        asked = await client.submit("orders", account)
        assert await client.fetch_reply(asked, wait=HANG_LIMIT) is not None
        with pytest.raises(TimeoutError):  # the request is withdrawn
            async with asyncio.timeout(0.001):
                await client.account_info(system.accounts[1])

    for words in (
        *(("monitor", "health"), ("monitor", "events", "--last", "5")),
        ("operator", "ask", "positions", account, "--timeout", "30"),
        *(("operator", "top", "--once"), ("operator", "queue"), ("operator", "dead", "list")),
        ("operator", "queue", "--requests"),
        ("operator", "breaker", "reset", "--timeout", "20"),
        ("operator", "accounts", "unlock", account),
        ("operator", "accounts", "list"),
        ("operator", "terminals", "add", terminal, "--anyway"),
        ("operator", "accounts", "pin", account, terminal, "--anyway"),
        ("operator", "accounts", "where", account),
        ("operator", "terminals", "list"),
        ("operator", "accounts", "remove", str(system.accounts[2])),
    ):
        await command(*words)
    async with FleetClient(guarded.url("gateway"), timeout=HANG_LIMIT) as fleet:
        assert (await fleet.account_info(account)).account == system.accounts[0]
    await command("operator", "terminals", "drain", terminal, "--anyway")
    await command("operator", "terminals", "remove", terminal, "--anyway")
    worker.close_input()  # asked to stop, as by a supervisor
    assert await asyncio.to_thread(worker.wait) == 0
    assert not await system.redis.exists(system.keys.lease), "the lease was not given back"
    assert denied(guarded) == set()


async def test_the_http_gateway_works_as_the_user_gateway(
    guarded: GuardedServer, system: System, command: Command, tmp_path: Path
) -> None:
    denied(guarded)
    account = str(system.accounts[0])
    system.start_worker(REDIS_URL=guarded.url("worker"))
    await system.until_health(state=b"CONNECTED")
    key = decode_sealing_key(await system.redis.get(system.keys.sealing_key)).key_id
    scopes = ("--scope", "read", "--scope", "enroll", "--scope", "operate")
    token = (await command("operator", "tokens", "add", "test", *scopes)).strip()
    also_secret("token of the test", token)
    settings: dict[str, str] = {
        "MT5_SEALING_KEY_ID": key,
        "MT5_WEBHOOK_ORIGINS": "http://127.0.0.1:9",  # nobody listens there
        "MT5_WEBHOOK_SECRET": planted("webhook-of-24-characters"),
    }
    async with http_gateway(guarded, system.keys, tmp_path, settings) as address:
        headers = {"authorization": f"Bearer {token}"}
        async with HearingClient(base_url=address, headers=headers, timeout=HANG_LIMIT) as http:
            body = {"password": password_of(system.accounts[0])}
            put = await http.put(f"/v1/accounts/{account}/credential", json=body)
            assert put.status_code == 204, put.text
            answer = await http.get(f"/v1/accounts/{account}")
            assert answer.status_code == 200, answer.text
            question = {"account": account, "operation": "positions"}
            hook = {"webhook": {"url": "http://127.0.0.1:9/answers"}}
            asked = await http.post("/v1/requests", json={**question, **hook})
            assert asked.status_code == 202, asked.text
            collected = await http.get(asked.headers["location"], headers={"prefer": "wait=60"})
            assert collected.status_code == 200, collected.text
            for path in ("/health", "/health/ready", "/metrics", "/page/overview"):
                seen = await http.get(path)
                assert seen.status_code == 200, seen.text
            async with http.stream("GET", "/v1/events?last=5") as events:
                async for line in events.aiter_lines():
                    if line.startswith("event: health"):
                        break
            await asyncio.sleep(1.5)  # the webhook's first attempt
            gone = await http.delete(f"/v1/accounts/{account}/credential")
            assert gone.status_code == 204, gone.text
    await command("operator", "tokens", "list")
    await command("operator", "tokens", "remove", "test")
    assert denied(guarded) == set()


@contextlib.asynccontextmanager
async def http_gateway(
    guarded: GuardedServer, keys: Keys, directory: Path, more: dict[str, str]
) -> AsyncGenerator[str]:
    """`mt5relay gateway` on any free port; yields its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mt5relay_gateway.cli", "gateway", "--port", "0"),
        env={
            **{name: value for name, value in os.environ.items() if name[:4] != "MT5_"},
            "REDIS_URL": guarded.url("gateway"),
            "MT5_TERMINAL_ID": keys.terminal,
            **more,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), HANG_LIMIT)).decode()
        match = re.match(r"listening on (\S+),", line)
        assert match is not None, line
        yield match[1]
    finally:
        process.terminate()
        _, said = await asyncio.wait_for(process.communicate(), HANG_LIMIT)
        WITNESS.hear("output of a gateway", said)


# ---- Passwords ----------------------------------------------------------------------------------


def test_nobody_gets_in_without_a_password(guarded: GuardedServer) -> None:
    with (
        Redis(host="127.0.0.1", port=guarded.port, retry=ONCE) as redis,
        pytest.raises(AuthenticationError),
    ):
        ask(redis, "PING")


def test_the_sample_opens_to_nobody() -> None:
    """Every user's password is the hash of nothing known, until `passwords.py` sets one."""
    lines = (DEPLOY / "redis" / "users.acl").read_text("utf-8").splitlines()
    default, *others = [line.split() for line in lines]
    assert default[1:3] == ["default", "off"]
    assert tuple(words[1] for words in others) == USERS
    for words in others:
        assert [word for word in words if word[0] in "#>"] == ["#" + "0" * 64]
        assert "nopass" not in words


def test_a_changed_password_leaves_the_old_one_good_until_it_is_retired(
    guarded: GuardedServer, tmp_path: Path
) -> None:
    before = guarded.password("monitor")
    set_passwords(guarded.acl_file, guarded.secrets, "monitor")
    after = guarded.password("monitor")
    load(guarded)
    assert [opens(guarded, "monitor", one) for one in (before, after)] == [True, True]
    set_passwords(guarded.acl_file, guarded.secrets, "--retire", "monitor")
    load(guarded)
    assert [opens(guarded, "monitor", one) for one in (before, after)] == [False, True]
    assert stat.S_IMODE((guarded.secrets / "monitor.password").stat().st_mode) == 0o600


def load(guarded: GuardedServer) -> None:
    with guarded.client("operator") as redis:
        redis.execute_command("ACL", "LOAD")


def opens(guarded: GuardedServer, user: str, password: str) -> bool:
    known: dict[str, Any] = {"username": user, "password": password, "retry": ONCE}
    with Redis(host="127.0.0.1", port=guarded.port, **known) as redis:
        try:
            return bool(ask(redis, "PING"))
        except AuthenticationError:
            return False


def ask(redis: Any, *words: str) -> Any:
    return redis.execute_command(*words)


def test_the_server_loses_nothing_that_it_accepted(guarded: GuardedServer) -> None:
    with guarded.client(TESTER) as redis:
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}
        found = {name: redis.config_get(name) for name in wanted}
    seen = {name: {text(one) for one in pair.values()} for name, pair in found.items()}
    assert seen == {name: {value} for name, value in wanted.items()}


def test_the_acl_keeps_to_the_vocabulary_of_redis_7_0() -> None:
    """A server refuses to start on a name that it does not know."""
    lines = (DEPLOY / "redis" / "users.acl").read_text("utf-8").splitlines()
    named = [line for line in lines if not line.startswith("user default off ")]
    words = " ".join(named).replace("(", " ").split()
    subcommands = {word.strip("+)") for word in words if word[0] == "+" and "|" in word}
    newer = {"client|setinfo", "client|no-touch", "client|capa", "client|import-source"}
    assert subcommands.isdisjoint(newer)
    assert not any(word.startswith(("+@", "allkeys", "~*", "+*")) for word in words)


def text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
