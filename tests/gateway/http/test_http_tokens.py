"""Who may ask over HTTP, and how often."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
from tests.limits import HANG_LIMIT

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.problems import STATUS
from mt5relay_gateway.http.rate_limits import RateLimiter
from mt5relay_gateway.http.settings import is_loopback
from mt5relay_gateway.http.tokens import Scope, Token, new_token, recognised
from mt5relay_gateway.http.visibility import masked, shown_text
from mt5relay_shared.errors import ERROR_CODES, MT5ValidationError

PATH = "/v1/accounts/25115284@MetaQuotes-Demo"


async def test_without_a_token_nothing_is_told(address: str, worker: Any) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as stranger:
        for headers in (
            {},
            {"authorization": "Bearer"},
            {"authorization": "Basic dXNlcjpwYXNz"},
            {"authorization": f"Bearer mt5relay_{'0' * 16}_wrong"},
            {"authorization": "Bearer " + "x" * 5_000},
        ):
            for path in (PATH, "/metrics", "/v1/events", f"{PATH}/snapshot"):
                response = await stranger.get(path, headers=headers)
                assert response.status_code == 401
                assert response.headers["www-authenticate"].startswith("Bearer")
    assert worker.requests == []


async def test_a_token_may_do_what_its_scopes_say(
    http: httpx.AsyncClient, worker: Any, token: Any
) -> None:
    read = {"authorization": f"bearer {await token(Scope.READ)}"}
    enroll = {"authorization": f"Bearer {await token(Scope.ENROLL)}"}
    assert (await http.get(PATH, headers=read)).status_code == 200
    refused = await http.delete(f"{PATH}/credential", headers=read)
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert (await http.get(PATH, headers=enroll)).status_code == 403


async def test_a_token_may_see_the_accounts_that_it_names(
    http: httpx.AsyncClient, worker: Any, token: Any
) -> None:
    mine = {"authorization": f"Bearer {await token(accounts=('*@Contoso-Live', '7@*'))}"}
    for account, status in (("50100002@Contoso-Live", 200), ("7@X", 200), ("8@X", 403)):
        for path in ("", "/snapshot"):
            response = await http.get(f"/v1/accounts/{account}{path}", headers=mine)
            assert (response.status_code == 403) == (status == 403), account


async def test_a_revoked_token_is_refused_within_a_second(
    http: httpx.AsyncClient, worker: Any, redis: Any, settings: HttpSettings, eventually: Any
) -> None:
    assert (await http.get(PATH)).status_code == 200
    await redis.delete(settings.fleet_keys.tokens)

    async def is_refused() -> bool:
        return (await http.get(PATH)).status_code == 401

    await eventually(is_refused)


async def test_neither_redis_nor_the_log_nor_an_answer_holds_a_token(
    address: str, token: Any, text_of: Any, caplog: pytest.LogCaptureFixture, worker: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    text = await token(Scope.READ)
    secret = text.rpartition("_")[2]
    async with httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as caller:
        responses = [
            await caller.get(path, headers={"authorization": f"Bearer {text}"})
            for path in (PATH, "/metrics", "/nothing", f"{PATH}/deals")
        ]
    assert secret.encode() not in await text_of()
    assert secret not in caplog.text
    assert all(secret not in f"{one.headers}{one.text}" for one in responses)


async def test_the_rate_of_a_token_is_bounded_and_told(
    http: httpx.AsyncClient, worker: Any, token: Any
) -> None:
    slow = {"authorization": f"Bearer {await token(rate=1)}"}
    first = await http.get(PATH, headers=slow)
    at_once = await asyncio.gather(*(http.get(PATH, headers=slow) for _ in range(50)))
    assert first.status_code == 200
    assert {one.status_code for one in at_once} == {200, 429}
    refused = next(one for one in at_once if one.status_code == 429)
    assert first.headers["ratelimit-policy"] == '"token";q=2;w=2'
    assert first.headers["ratelimit"].startswith('"token";r=1;t=')
    assert refused.json()["code"] == "RATE_LIMITED"
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert (await http.get(PATH)).status_code == 200  # another token's is another matter
    assert "ratelimit" not in (await http.get(PATH)).headers


def test_a_bucket_refills() -> None:
    limiter = RateLimiter(rate=10, burst=2)
    caller = Token(id="a", name="a", digest="", scopes=(), created_at_ms=0)

    def wait(now: float) -> float:
        allowance = limiter.spend(caller, now)
        assert allowance is not None
        return allowance.retry_after

    assert [wait(0), wait(0), wait(0)] == [0, 0, pytest.approx(0.1)]
    assert wait(0.1) == 0
    assert wait(0.1) > 0
    assert [wait(60), wait(60)] == [0, 0]
    assert wait(60) > 0


async def test_without_authentication_only_this_machine_and_no_web_page_may_ask(
    settings: HttpSettings, served: Any, worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    off = settings.model_copy(update={"http_auth": "off"})
    async with (
        served(off) as address,
        httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as caller,
    ):
        assert (await caller.get(PATH)).status_code == 200
        rebound = await caller.get(PATH, headers={"host": "evil.example:80"})
        assert (rebound.status_code, rebound.json()["code"]) == (403, "FORBIDDEN")
        assert (await caller.get(PATH, headers={"host": "[::1]:80"})).status_code == 200
    assert "AUTHENTICATION_IS_OFF" in caplog.text


def test_without_authentication_nothing_but_loopback_is_listened_on() -> None:
    fields: dict[str, Any] = {"http_auth": "off"}
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert HttpSettings(**fields, http_host=host).http_auth == "off"
    for host in ("0.0.0.0", "10.0.0.1", "example.org"):  # noqa: S104 - refused
        with pytest.raises(ValueError, match="MT5_HTTP_HOST must be"):
            HttpSettings(**fields, http_host=host)
    with pytest.raises(MT5ValidationError, match="MT5_HTTP_HOST must be"):
        HttpSettings(**fields).listening_on("0.0.0.0", None)  # noqa: S104 - refused
    assert not is_loopback("")


def test_only_the_whole_token_is_recognised() -> None:
    kept, secret = new_token("a", [Scope.READ], 0)
    text = secret.reveal()
    known = {kept.id: kept}
    assert recognised(known, text) == kept
    for other in (text[:-1], f"{text}x", text.upper(), kept.id, "", f"mt5relay_{kept.id}_", "a_b"):
        assert recognised(known, other) is None, other
    assert text not in repr(kept)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("", {}, "name"),
        ("a b", {}, "name"),
        ("a", {"scopes": []}, "scopes"),
        ("a", {"accounts": [""]}, "accounts"),
        ("a", {"accounts": ["x" * 129]}, "accounts"),
        ("a", {"accounts": ["*"] * 101}, "accounts"),
        ("a", {"rate": -1}, "rate"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    name: str, options: dict[str, Any], word: str
) -> None:
    given: dict[str, Any] = {"scopes": [Scope.READ], **options}
    with pytest.raises(MT5ValidationError, match=f"^{word}: "):
        new_token(name, given.pop("scopes"), 0, **given)


def test_every_code_of_the_contract_has_a_status() -> None:
    assert set(ERROR_CODES) <= set(STATUS)
    assert all(400 <= status < 600 for status in STATUS.values())
    for code, spec in ERROR_CODES.items():
        assert not spec.retryable or STATUS[code] >= 500, code


def test_logins_are_masked_where_the_token_may_not_see_them() -> None:
    assert masked("25115284@MetaQuotes-Demo") == "***84@MetaQuotes-Demo"
    caller = Token(id="a", name="a", digest="", scopes=(), created_at_ms=0, accounts=("1@*",))
    text = "login to 25115284@MetaQuotes-Demo: refused, then 1@S."
    assert shown_text(text, caller) == "login to ***84@MetaQuotes-Demo: refused, then 1@S."
