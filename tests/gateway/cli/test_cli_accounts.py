"""`mt5relay accounts`: who can read a password, and who is asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import Any, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.keys import Keys
from mt5relay_shared.sealing import (
    generate_private_key,
    load_private_key,
    open_envelope,
    public_part,
)

pytestmark = pytest.mark.integration

ACCOUNT = AccountId(25115284, "MetaQuotes-Demo")
ADD = ("accounts", "add", str(ACCOUNT))
PASSWORD = "pä55 wörd"


@pytest.fixture
def private_key() -> X25519PrivateKey:
    return load_private_key(generate_private_key())


@pytest.fixture
async def published(redis: Redis, keys: Keys, private_key: X25519PrivateKey) -> str:
    """The id of the key that the worker has published."""
    key = public_part(private_key)
    await redis.set(
        keys.sealing_key, f'{{"key_id":"{key.key_id}","public_key":"{key.public_key}"}}'
    )
    return key.key_id


async def stored(redis: Redis, keys: Keys) -> bytes | None:
    return cast(bytes | None, await redis.hget(keys.accounts, str(ACCOUNT)))


async def test_a_password_is_read_from_standard_input_and_only_the_worker_can_open_it(
    program: Any, redis: Redis, keys: Keys, private_key: X25519PrivateKey, published: str
) -> None:
    ended = await program(*ADD, text=f"{PASSWORD}\n", MT5_SEALING_KEY_ID=published, PYTHONUTF8="1")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"enrolled {ACCOUNT} at terminal {keys.terminal} for key {published}\n"
    envelope = await stored(redis, keys)
    assert envelope is not None
    assert PASSWORD.encode() not in envelope
    assert open_envelope(envelope, ACCOUNT, private_key).reveal() == PASSWORD


async def test_a_byte_order_mark_before_a_piped_password_is_no_part_of_it(
    program: Any, redis: Redis, keys: Keys, private_key: X25519PrivateKey, published: str
) -> None:
    """Windows PowerShell pipes one; the broker would refuse the password and lock the account."""
    text = f"\ufeff{PASSWORD}\r\n"
    ended = await program(*ADD, text=text, MT5_SEALING_KEY_ID=published, PYTHONUTF8="1")
    assert (ended.status, ended.err) == (0, "")
    envelope = await stored(redis, keys)
    assert envelope is not None
    assert open_envelope(envelope, ACCOUNT, private_key).reveal() == PASSWORD


async def test_the_pin_can_be_given_as_an_option(program: Any, published: str) -> None:
    assert (await program(*ADD, "--key-id", published, text="secret")).status == 0


async def test_a_key_that_is_not_the_pinned_one_seals_nothing(
    program: Any, redis: Redis, keys: Keys, published: str
) -> None:
    ended = await program(*ADD, "--key-id", "0" * 32, text="secret")
    assert ended.status == 2
    assert published in ended.err
    assert "nothing was sealed" in ended.err
    assert await stored(redis, keys) is None


async def test_without_a_pin_and_a_person_nothing_is_sealed(
    program: Any, redis: Redis, keys: Keys, published: str
) -> None:
    ended = await program(*ADD, text="secret")
    assert ended.status == 2
    assert "MT5_SEALING_KEY_ID" in ended.err
    assert await stored(redis, keys) is None


@pytest.mark.parametrize("text", ["", "\n", "a\x07b\n", "x" * 129])
async def test_a_password_that_the_terminal_could_not_use_is_refused_unquoted(
    program: Any, published: str, text: str
) -> None:
    ended = await program(*ADD, "--key-id", published, text=text)
    assert ended.status == 2
    assert ended.err.startswith(f"mt5relay: {ACCOUNT}: password: ")
    assert "x" * 9 not in ended.err


async def test_without_a_published_key_the_worker_must_be_started_first(program: Any) -> None:
    ended = await program(*ADD, text="secret")
    assert ended.status == 1
    assert "start the worker first" in ended.err


async def test_a_published_key_without_its_own_fingerprint_is_not_trusted(
    program: Any, redis: Redis, keys: Keys
) -> None:
    await redis.set(keys.sealing_key, '{"key_id":"0","public_key":"AAAA"}')
    ended = await program(*ADD, text="secret")
    assert ended.status == 2
    assert "do not trust it" in ended.err


async def test_accounts_are_listed_without_their_passwords(
    cli: Any, program: Any, redis: Redis, keys: Keys, published: str
) -> None:
    await program(*ADD, "--key-id", published, text="secret")
    await redis.hset(keys.accounts, "1@Damaged", b"{")
    listed = (await cli("accounts", "list", "--json")).json_lines()
    assert [one["account"] for one in listed] == ["1@Damaged", str(ACCOUNT)]
    assert [one["key_id"] for one in listed] == [None, published]
    table = (await cli("accounts", "list")).out
    assert published in table
    assert "unreadable" in table


async def test_no_accounts_are_said_to_be_none(cli: Any) -> None:
    assert (await cli("accounts", "list")).out == "no accounts are enrolled\n"


async def test_remove_forgets_a_credential_once(cli: Any, redis: Redis, keys: Keys) -> None:
    await redis.hset(keys.accounts, str(ACCOUNT), b"{}")
    assert (await cli("accounts", "remove", str(ACCOUNT))).out == f"removed {ACCOUNT}\n"
    again = await cli("accounts", "remove", str(ACCOUNT))
    assert again.status == 1
    assert "ACCOUNT_UNKNOWN" in again.err


class Person:
    """Somebody at a terminal who types when asked."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self._terminal, line = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mt5relay_gateway.cli", *words],
            env=environment,
            stdin=line,
            stdout=line,
            stderr=line,
            start_new_session=True,
        )
        os.close(line)
        self.screen = ""

    def type(self, prompt: str, text: str) -> None:
        while prompt not in self.screen:
            self.screen += os.read(self._terminal, 1024).decode()
        os.write(self._terminal, text.encode())

    def interrupt(self) -> None:
        """As a person does: again, when nothing happens. Between showing a prompt and reading, the
        interpreter has a gap in which a signal waits for the next key."""
        for _ in range(10):
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
                return

    def end(self) -> int:
        try:
            status = self._process.wait(HANG_LIMIT)
        finally:
            self._process.kill()
        try:
            while more := os.read(self._terminal, 1024):
                self.screen += more.decode()
        except OSError:  # Linux: the other end is closed
            pass
        os.close(self._terminal)
        return status


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
class TestAtATerminal:
    async def test_a_person_compares_the_key_and_types_the_password_unseen(
        self, environment: dict[str, str], redis: Redis, keys: Keys, published: str
    ) -> None:
        def enrol() -> tuple[int, str]:
            person = Person(environment, *ADD)
            person.type("[y/N] ", "y\n")
            person.type("Password of ", "top-secret\n")
            return person.end(), person.screen

        status, screen = await asyncio.to_thread(enrol)
        assert status == 0
        assert published in screen
        assert "top-secret" not in screen
        assert await stored(redis, keys) is not None

    async def test_a_key_that_is_not_confirmed_seals_nothing(
        self, environment: dict[str, str], redis: Redis, keys: Keys, published: str
    ) -> None:
        def refuse(answer: str) -> int:
            person = Person(environment, *ADD)
            person.type("[y/N] ", answer)
            return person.end()

        assert await asyncio.to_thread(refuse, "\n") == 1
        assert await asyncio.to_thread(refuse, "\x04") == 1  # Ctrl-D
        assert await stored(redis, keys) is None

    async def test_ctrl_d_at_the_password_is_an_empty_password(
        self, environment: dict[str, str], published: str
    ) -> None:
        def leave() -> int:
            person = Person(environment, *ADD, "--key-id", published)
            person.type("Password of ", "\x04")
            return person.end()

        assert await asyncio.to_thread(leave) == 2

    async def test_ctrl_c_at_a_prompt_ends_at_once(
        self, environment: dict[str, str], published: str
    ) -> None:
        def interrupt() -> int:
            person = Person(environment, *ADD)
            person.type("[y/N] ", "")
            person.interrupt()
            return person.end()

        assert await asyncio.to_thread(interrupt) == 130


async def test_while_the_key_is_changed_both_are_pinned(
    program: Any, redis: Redis, keys: Keys, private_key: X25519PrivateKey, published: str
) -> None:
    new = load_private_key(generate_private_key())
    both = f"{published},{public_part(new).key_id}"
    assert (await program(*ADD, text="secret", MT5_SEALING_KEY_ID=both)).status == 0
    before = await stored(redis, keys)
    await redis.set(keys.sealing_key, msgspec.json.encode(public_part(new)))
    assert (await program(*ADD, text="secret", MT5_SEALING_KEY_ID=both)).status == 0
    after = await stored(redis, keys)
    assert before is not None
    assert after is not None
    assert open_envelope(before, ACCOUNT, private_key).reveal() == "secret"
    assert open_envelope(after, ACCOUNT, new).reveal() == "secret"


async def test_a_refused_pin_names_what_to_pin(program: Any, published: str) -> None:
    ended = await program(*ADD, "--key-id", "0" * 32, text="secret")
    assert f"MT5_SEALING_KEY_ID={'0' * 32},{published}" in ended.err
    assert "mt5relay-worker keys" in ended.err


async def test_a_password_is_sealed_in_the_version_that_the_worker_opens(
    program: Any, redis: Redis, keys: Keys, private_key: X25519PrivateKey, published: str
) -> None:
    """The key that is published here is that of a worker from before version 2."""
    await program(*ADD, "--key-id", published, text="secret")
    assert b'"v":1' in (await stored(redis, keys) or b"")
    await redis.set(keys.sealing_key, msgspec.json.encode(public_part(private_key)))
    await program(*ADD, "--key-id", published, text="secret")
    assert b'"v":2' in (await stored(redis, keys) or b"")
