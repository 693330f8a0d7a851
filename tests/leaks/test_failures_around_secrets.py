"""Whatever fails while a password, a key or a token is in hand, nobody is told of it.

These tests make it fail; the search that follows every test looks at all that was said meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import traceback
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic_settings import BaseSettings
from tests.leaks.planted import CORE, planted, planted_private_key
from tests.leaks.witness import WITNESS
from tests.limits import HANG_LIMIT
from tests.servers import GATEWAY, MONITOR, OPERATOR, WORKER, as_user, password_of_user
from tests.system.conftest import WorkerProcess, password_of, until, write_planted_key

from mt5relay_gateway import AccountClient, FleetClient, MT5Error
from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.errors import MT5InitError, MT5ValidationError
from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.logs import get_logger
from mt5relay_shared.redis_client import connect
from mt5relay_shared.sealing import generate_private_key, load_private_key, public_part, seal
from mt5relay_shared.secret import Secret
from mt5relay_shared.settings import RelaySettings, load_settings
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.terminal.process import TerminalProcess

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.leaks.conftest import Command
    from tests.system.conftest import System

PASSWORD = planted("url")
UNREADABLE_URLS = [
    f"redis://worker:{PASSWORD}/x@127.0.0.1:6379/0",
    f"redis://worker:{PASSWORD}#x@127.0.0.1:6379/0",
    f"redis://worker:{PASSWORD}?x@127.0.0.1:6379/0",
    f"redis://worker:[{PASSWORD}@127.0.0.1:6379/0",
    f"redis://worker:{PASSWORD}@127.0.0.1:port/0",
    f"redis://worker:{PASSWORD}@127.0.0.1:99999/0",
    f"redis://worker:{PASSWORD}@127.0.0.1:6379/0?socket_timeout={PASSWORD}",
    f"http://worker:{PASSWORD}@127.0.0.1:6379/0",
    f"redis+sentinel://worker:{PASSWORD}/x@127.0.0.1:6379/relay",
    f"redis+sentinel://worker:{PASSWORD}@127.0.0.1:6379/relay/{PASSWORD}",
    f"redis+sentinel://worker:{PASSWORD}@127.0.0.1:6379/",
    f"redis+cluster://worker:{PASSWORD}@127.0.0.1:x{PASSWORD}",
    f"redis+cluster://worker:{PASSWORD}@",
]


@contextlib.contextmanager
def failing(kind: type[Exception], match: str | None = None) -> Generator[None]:
    """As `pytest.raises`; the traceback is heard, as of an error that nobody caught."""
    with pytest.raises(kind, match=match) as caught:
        yield
    WITNESS.hear("a traceback", "".join(traceback.format_exception(caught.value)))


# Settings


@pytest.mark.parametrize("url", UNREADABLE_URLS, ids=lambda url: url.replace(PASSWORD, "x"))
async def test_a_url_that_can_not_be_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(ValueError):
        connect(url, client_name="leaks", tag="{t}")
    for client in (AccountClient, FleetClient):
        with failing(MT5ValidationError):
            await client(url).open()
    monkeypatch.setenv("REDIS_URL", url)
    for kind in (RelaySettings, GatewaySettings):
        hear_settings(kind)


def hear_settings(kind: type[BaseSettings]) -> bool:
    """Load them, and hear what they look like, or what is said of them; whether they are good."""
    try:
        settings = load_settings(kind)
    except MT5ValidationError as error:
        WITNESS.hear("a traceback", "".join(traceback.format_exception(error)))
        return False
    WITNESS.hear("settings", f"{settings!r} {settings} {settings.model_dump_json()}")
    return True


@pytest.mark.parametrize("words", [("mt5relay_worker", "run"), ("mt5relay_gateway.cli", "health")])
def test_a_process_with_a_url_that_can_not_be_read(words: tuple[str, ...], tmp_path: Path) -> None:
    settings = {"REDIS_URL": UNREADABLE_URLS[0], "MT5_TERMINAL": "simulated"}
    ended = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    WITNESS.hear("output of a process", ended.stdout + ended.stderr)
    assert ended.returncode in (2, 78), ended.stderr
    assert b"REDIS_URL" in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"MT5_WEBHOOK_SECRET": CORE},  # too short
        {"MT5_WEBHOOK_SECRET": planted("webhook-of-24-characters"), "MT5_WEBHOOK_ORIGINS": "x"},
        {"MT5_PRIVATE_KEY": planted("no-pem"), "MT5_LEASE_TTL": "soon"},
        {"REDIS_URL": f"redis://x:{PASSWORD}@127.0.0.1:1/0", "MT5_HTTP_PORT": "x"},
    ],
    ids=" ".join,
)
def test_settings_that_are_wrong(wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"MT5_TERMINAL": "simulated", **wrong}.items():
        monkeypatch.setenv(name, text)
    good = [hear_settings(kind) for kind in (HttpSettings, WorkerSettings)]
    assert not all(good)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_error_with_a_password_among_its_locals(
    log_format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs(log_format, "debug")
    password = planted("local")
    try:
        msgspec.json.decode(b"{", type=dict)
    except msgspec.DecodeError:
        get_logger("leaks").exception("leaks.tried", secret=Secret(password))
    said = capfd.readouterr().err
    WITNESS.hear("a log", said)
    assert "leaks.tried" in said


# The private key


@pytest.mark.parametrize(
    "pem",
    [
        planted("no-pem"),
        f"-----BEGIN PRIVATE KEY-----\n{planted('no-base64')}\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n"
        + base64.b64encode(planted_private_key("cut-short")).decode()
        + "\n-----END PRIVATE KEY-----\n",
        "",
    ],
    ids=["no PEM", "no base64", "no key", "empty"],
)
@pytest.mark.parametrize("where", ["file", "environment"])
async def test_a_private_key_that_is_none(pem: str, where: str, tmp_path: Path) -> None:
    write_planted_key(tmp_path / "worker.key", "leaks")
    (tmp_path / "book.json").write_text('{"servers": [], "accounts": []}')
    fields: dict[str, Any] = {
        "terminal": "simulated",
        "simulator_book": str(tmp_path / "book.json"),
        "private_key_file": str(tmp_path / "worker.key"),
    }
    if where == "file":
        (tmp_path / "worker.key").write_text(pem)
    else:
        fields["private_key"] = pem or "-"
    settings = WorkerSettings.model_validate(fields)
    WITNESS.hear("settings", f"{settings!r} {settings.terminal_options!r}")
    terminal = TerminalProcess(settings.terminal_options, start_limit=20)
    with failing(MT5InitError, "private key"):
        await terminal.start()
    await terminal.stop()


# Enrolment


@pytest.mark.parametrize(
    ("password", "words"),
    [
        (planted("x" * 200), "longer than"),
        (planted("a\tb"), "control character"),
        ("", "empty"),
    ],
    ids=["too long", "with a tab", "empty"],
)
async def test_enrolling_a_password_that_is_refused(
    system: System, command: Command, password: str, words: str
) -> None:
    key = public_part(load_private_key(generate_private_key()))
    await system.redis.set(system.keys.sealing_key, msgspec.json.encode(key))
    account = str(system.accounts[0])
    pinned = ("--key-id", key.key_id)
    status, said = await command("operator", "accounts", "add", account, *pinned, text=password)
    assert (status, words in said) == (2, True), said.replace(CORE, "***")
    assert not await system.redis.exists(system.keys.accounts)


async def test_enrolling_where_it_can_not_be_done(
    system: System, command: Command, expected_refusals: set[tuple[str, str]]
) -> None:
    account, password = str(system.accounts[0]), password_of(system.accounts[0])
    key = public_part(load_private_key(generate_private_key()))
    published = msgspec.json.encode(key)
    expected_refusals |= {(MONITOR, key) for key in ("hgetall", "get", "evalsha")}
    expected_refusals |= {(MONITOR, system.keys.sealing_key), (MONITOR, "{mt5}:terminals")}
    away = {"REDIS_URL": as_user("redis://127.0.0.1:1/0", OPERATOR)}
    stranger = {"REDIS_URL": as_user(system.url, OPERATOR).replace(CORE, f"Not{CORE}")}
    expected_refusals |= {(OPERATOR, "AUTH"), (OPERATOR, "HELLO"), (MONITOR, "{mt5}:pins")}
    cases: list[tuple[str, bytes | None, dict[str, str]]] = [
        (OPERATOR, None, {}),
        (OPERATOR, b"{", {}),
        (OPERATOR, msgspec.json.encode({"key_id": "x", "public_key": "AAAA"}), {}),
        (OPERATOR, published, {"MT5_SEALING_KEY_ID": "0" * 32}),
        (OPERATOR, published, {"MT5_SEALING_KEY_ID": ""}),
        (MONITOR, published, {"MT5_SEALING_KEY_ID": key.key_id}),
        (OPERATOR, published, {"MT5_SEALING_KEY_ID": key.key_id, **away}),
        (OPERATOR, published, {"MT5_SEALING_KEY_ID": key.key_id, **stranger}),
    ]
    for user, body, settings in cases:
        await system.redis.delete(system.keys.sealing_key)
        if body is not None:
            await system.redis.set(system.keys.sealing_key, body)
        status, said = await command(user, "accounts", "add", account, text=password, **settings)
        assert status != 0, (user, body, settings)
        assert said
    assert not await system.redis.exists(system.keys.accounts)


async def test_credentials_that_do_not_open(system: System) -> None:
    worker = await system.start()
    key = decode_sealing_key(await system.redis.get(system.keys.sealing_key))
    strange = public_part(load_private_key(generate_private_key()))
    first, second, third, fourth, fifth, *_ = system.accounts
    good = seal(Secret(password_of(first)), first, key, 0)
    fields = msgspec.json.decode(good)
    wrong = {
        first: good[:-20],
        second: good,  # of another account
        third: seal(Secret(password_of(third)), third, strange, 0),
        fourth: msgspec.json.encode({**fields, "ciphertext": "%%%"}),
        fifth: msgspec.json.encode({**fields, "ciphertext": [fields["ciphertext"]]}),
    }
    for account, body in wrong.items():
        await system.redis.hset(system.keys.accounts, str(account), body)
    async with system.client(timeout=HANG_LIMIT) as client:
        for account in wrong:
            with pytest.raises(MT5Error):
                await client.account_info(account)
        assert (await client.account_info(system.accounts[-1])).source == "terminal"
    assert worker.process.poll() is None


# The terminal


class HostileWorker(WorkerProcess):
    """A worker whose terminal betrays the passwords that it is given."""

    @property
    def told(self) -> Path:
        return self.log.with_name("betrayal.txt")

    def start(self) -> HostileWorker:
        self.be("honest")
        program = Path(__file__).with_name("hostile_worker.py")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(program), str(self.told)],
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self

    def be(self, how: str) -> None:
        self.told.write_text(how)


BETRAYALS = (
    *("raises", "raises a chain of errors", "refuses its arguments", "quotes it in last_error"),
    *("crashes", "ends", "breaks the pipe"),
)


async def is_answered(client: AccountClient, account: AccountId) -> bool:
    with contextlib.suppress(MT5Error):
        return (await client.account_info(account)).source == "terminal"
    return False


async def test_a_terminal_that_betrays_the_passwords_it_is_given(system: System) -> None:
    settings = system.settings(MT5_CONNECTION_RETRY_DELAY="0.01", PYTHONASYNCIODEBUG="1")
    worker = HostileWorker(settings, system.directory / "hostile.log")
    system.workers.append(worker)
    worker.start()
    await system.until_health(state=b"CONNECTED")
    await system.enrol(system.accounts)
    accounts = iter(system.accounts)
    honest = next(accounts)
    async with system.client(timeout=HANG_LIMIT) as client:
        for how, account in zip(BETRAYALS, accounts, strict=False):
            worker.be(how)
            with pytest.raises(MT5Error):
                await client.account_info(account)
            worker.be("honest")

            await until(partial(is_answered, client, honest), system.tail)
    log = worker.log.read_text()
    assert "Fatal Python error: Aborted" in log, "the crash of the terminal process is on record"


# Connections


async def test_a_user_with_a_wrong_password_is_told_so(
    system: System, expected_refusals: set[tuple[str, str]]
) -> None:
    for user in (GATEWAY, WORKER):
        expected_refusals |= {(user, "AUTH"), (user, "HELLO")}
        url = as_user(system.url, user).replace(password_of_user(user), planted("wrong"))
        with failing(MT5Error):
            await AccountClient(url, terminal=system.keys.terminal).open()
    url = as_user(system.url, WORKER).replace(password_of_user(WORKER), planted("wrong"))
    worker = system.start_worker(REDIS_URL=url)

    async def is_told() -> bool:
        return worker.process.poll() is not None or bool(worker.events("lease.waiting"))

    await until(is_told, system.tail)
