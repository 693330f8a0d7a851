"""Redis on another machine is reached over TLS, or in the clear by those alone who allowed it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.redis_client import connect
from mt5relay_shared.settings import RelaySettings, load_settings
from mt5relay_shared.transport import exposed_hosts, is_loopback

PASSWORD = "Planted-Secret"

LOOPBACK = (
    *("127.0.0.1", "127.8.9.10", "::1", "::1%lo", "::ffff:127.0.0.1"),
    *("localhost", "LocalHost", "localhost."),
)
ELSEWHERE = (
    *("10.0.0.1", "192.168.1.5", "0.0.0.0", "::", "fe80::1", "::ffff:10.0.0.1"),  # noqa: S104
    *("redis", "redis.internal", "localhost.example.com", "127.1", "mylocalhost", ""),
)

ON_THIS_MACHINE = (
    "redis://127.0.0.1:6379/0",
    "redis://127.200.0.1",
    "redis://localhost/1",
    "redis://[::1]:6379/0",
    "redis:///0",
    "unix:///run/redis.sock",
    "unix://user:password@/run/redis.sock?db=1",
    "redis+sentinel://127.0.0.1:26379,localhost,[::1]:26381/main",
    "redis+cluster://localhost:7000,127.0.0.1:7001",
)
OVER_TLS = (
    "rediss://redis.internal:6380/0",
    "rediss+sentinel://a:1,b:2/main",
    "rediss+cluster://10.0.0.1:7000",
)
IN_THE_CLEAR = {
    "redis://redis.internal:6379/0": ["redis.internal"],
    "redis://10.0.0.1": ["10.0.0.1"],
    "redis://[fd00::7]:6379/0": ["fd00::7"],
    "redis:///0?host=10.0.0.1": ["10.0.0.1"],
    "redis+sentinel://127.0.0.1:26379,b:26379/main": ["b"],
    "redis+sentinel://a,[::1]:1,[fd00::7],a:2/main": ["a", "fd00::7", "a"],
    "redis+cluster://10.0.0.1:7000,10.0.0.2:7000": ["10.0.0.1", "10.0.0.2"],
}


@pytest.mark.parametrize("host", LOOPBACK)
def test_what_cannot_leave_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_what_may_leave_it(host: str) -> None:
    """Names are not looked up: what they mean is up to others."""
    assert not is_loopback(host)


@pytest.mark.parametrize("url", [*ON_THIS_MACHINE, *OVER_TLS])
def test_nothing_is_exposed(url: str) -> None:
    assert exposed_hosts(url) == []


@pytest.mark.parametrize("url", IN_THE_CLEAR)
def test_every_host_beyond_this_machine_is_found(url: str) -> None:
    assert exposed_hosts(url) == IN_THE_CLEAR[url]


def with_password(url: str) -> str:
    return url.replace("://", f"://user:{PASSWORD}@", 1)


@pytest.mark.parametrize("url", IN_THE_CLEAR)
def test_a_setting_is_refused_with_the_remedy_and_without_the_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", with_password(url))
    with pytest.raises(MT5ValidationError) as refused:
        load_settings(RelaySettings)
    said = str(refused.value)
    assert all(word in said for word in ("REDIS_URL", "rediss://", *IN_THE_CLEAR[url]))
    assert "MT5_ALLOW_PLAINTEXT_REDIS=true" in said
    assert PASSWORD not in said


@pytest.mark.parametrize("url", IN_THE_CLEAR)
def test_who_allows_it_is_let_through(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", with_password(url))
    monkeypatch.setenv("MT5_ALLOW_PLAINTEXT_REDIS", "true")
    assert load_settings(RelaySettings).allow_plaintext_redis


@pytest.mark.parametrize("url", IN_THE_CLEAR)
async def test_the_library_refuses_it_too(url: str) -> None:
    with pytest.raises(MT5ValidationError, match="allow_plaintext=True") as refused:
        connect(with_password(url), client_name="test")
    assert PASSWORD not in str(refused.value)
    await connect(with_password(url), client_name="test", allow_plaintext=True).aclose()


def test_a_url_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="REDIS_URL: it can't be read") as refused:
        RelaySettings(redis_url=SecretStr(f"redis://user:{PASSWORD}@host:none/0"))
    assert PASSWORD not in str(refused.value)


# ---- Where those who are asked say to go --------------------------------------------------------


@pytest.fixture
async def sentinel() -> AsyncIterator[int]:
    """The port of one that names a master on another machine."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"HELLO\r\n":
                writer.write(b"%1\r\n+proto\r\n:3\r\n")
            if line.upper() == b"GET-MASTER-ADDR-BY-NAME\r\n":
                writer.write(b"*2\r\n$9\r\n192.0.2.1\r\n$4\r\n6379\r\n")
            if line == b"SETINFO\r\n":
                writer.write(b"+OK\r\n")
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_master_on_another_machine_is_not_reached_in_the_clear(sentinel: int) -> None:
    url = f"redis+sentinel://user:{PASSWORD}@127.0.0.1:{sentinel}/main"
    redis: Any = connect(url, client_name="test")
    with pytest.raises(RedisConnectionError, match=r"192\.0\.2\.1:6379 is in charge") as refused:
        await redis.ping()
    assert "rediss+" in str(refused.value)
    assert PASSWORD not in str(refused.value)
    await redis.aclose()
