"""What the page is told beside the live news, and its files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from tests.limits import HANG_LIMIT

from mt5relay_gateway.http import HttpSettings
from mt5relay_gateway.http.monitor import Sight
from mt5relay_gateway.http.page.files import STATIC
from mt5relay_gateway.http.page.overview import MOST_SHOWN, Freshness, stalest
from mt5relay_gateway.http.page.recorder import KEPT_MS, Recorder
from mt5relay_gateway.testing import a_health
from mt5relay_shared.health import encode_health
from mt5relay_shared.keys import Keys

pytestmark = pytest.mark.integration

ACCOUNT = "25115284@MetaQuotes-Demo"
OTHER = "50100002@Contoso-Live"
FILES = sorted(file.name for file in STATIC.iterdir())
SCRIPTS = sorted(STATIC.glob("*.js"))


@pytest.fixture
async def enrolled(redis: Redis, keys: Keys, worker: Any) -> None:
    """Two accounts, of which one was read."""
    await redis.hset(keys.accounts, mapping={ACCOUNT: "sealed-1", OTHER: "sealed-2"})
    await worker.store_snapshot(ACCOUNT, age=5)


@pytest.fixture
async def buried(redis: Redis, keys: Keys) -> None:
    question = (
        f'{{"v":1,"id":"r1","account":"{OTHER}","operation":"orders","timeout_ms":1000,'
        '"arguments":{}}'
    )
    error = f'{{"code":"POISONED","message":"login to {OTHER}: it crashed the worker"}}'
    for request in (question, "no JSON"):
        letter: dict[Any, Any] = {
            "entry": "1-1",
            "request": request,
            "error": error,
            "deliveries": "3",
        }
        await redis.xadd(keys.dead, letter)


@pytest.mark.usefixtures("enrolled")
async def test_it_tells_how_fresh_each_account_is(http: httpx.AsyncClient) -> None:
    response = await http.get("/page/overview")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    (terminal,) = response.json()["terminals"]
    assert terminal["enrolled"] == 2
    read, never = terminal["accounts"]
    assert read["account"] == ACCOUNT
    assert 4_000 < terminal["now_ms"] - read["as_of_ms"] < 60_000
    assert never == {"account": OTHER, "as_of_ms": None}
    assert "sealed" not in response.text


@pytest.mark.usefixtures("buried")
async def test_it_tells_the_dead_letters_and_not_what_can_t_be_read_of_them(
    http: httpx.AsyncClient,
) -> None:
    (terminal,) = (await http.get("/page/overview")).json()["terminals"]
    unreadable, readable = terminal["letters"]
    assert terminal["dead"] == 2
    assert (readable["account"], readable["operation"]) == (OTHER, "orders")
    assert (readable["code"], readable["deliveries"]) == ("POISONED", 3)
    assert (unreadable["account"], unreadable["operation"]) == (None, None)


@pytest.mark.usefixtures("enrolled", "buried")
async def test_logins_that_the_token_may_not_see_are_masked(
    address: str, token: Callable[..., Any]
) -> None:
    headers = {"authorization": f"Bearer {await token(accounts=('*@MetaQuotes-Demo',))}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=HANG_LIMIT) as caller:
        told = (await caller.get("/page/overview")).text
    assert ACCOUNT in told
    assert "***02@Contoso-Live" in told
    assert "50100002" not in told
    assert '"sees_all":false' in told


@pytest.mark.parametrize("path", ["/page/overview", "/page/history"])
async def test_figures_need_a_token(address: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as stranger:
        assert (await stranger.get(path)).status_code == 401
        assert (await stranger.post(path)).status_code == 405


async def test_the_gateway_remembers_from_the_first_look_on(
    http: httpx.AsyncClient, worker: Any, eventually: Any
) -> None:
    await worker.say_health(**encode_health(a_health()))
    assert (await http.get("/page/history")).json() == {}

    async def is_kept() -> bool:
        kept = (await http.get("/page/history")).json()
        return bool(kept) and kept["main"][0]["state"] == "CONNECTED"

    await eventually(is_kept)


def test_what_is_older_than_a_quarter_of_an_hour_is_forgotten() -> None:
    recorder = Recorder()
    for at_ms in (0, 1_000, KEPT_MS + 500):
        recorder.add([Sight("main", a_health(), at_ms, 0), Sight("b", None, at_ms, 0)])
    kept = recorder.kept()
    assert [one.at_ms for one in kept["main"]] == [1_000, KEPT_MS + 500]
    assert {one.state for one in kept["b"]} == {None}


async def test_a_recorder_outlives_redis_and_ends_with_the_gateway(
    at_store: Any, served: Any
) -> None:
    settings = at_store("redis://127.0.0.1:1/0", http_auth="off")
    async with (
        served(settings) as address,
        httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as caller,
    ):
        assert (await caller.get("/page/history")).json() == {}
        assert (await caller.get("/page/overview")).status_code == 503
        recorders = [one for one in asyncio.all_tasks() if one.get_name().endswith("recorder")]
        assert recorders
        assert not any(one.done() for one in recorders)
    await asyncio.wait(recorders, timeout=HANG_LIMIT)
    assert all(one.done() for one in recorders)


def test_the_stalest_come_first_and_those_never_read_last() -> None:
    found = [Freshness("never", None), Freshness("new", 20), Freshness("old", 10)]
    assert [one.account for one in stalest(found)] == ["old", "new", "never"]
    assert len(stalest([Freshness(f"{i}", i) for i in range(MOST_SHOWN + 1)])) == MOST_SHOWN


# ---- files


@pytest.mark.parametrize("name", ["", *(f"page/{name}" for name in FILES if name != "index.html")])
async def test_files_are_open_and_may_reach_nothing_else(address: str, name: str) -> None:
    async with httpx.AsyncClient(timeout=HANG_LIMIT) as stranger:
        response = await stranger.get(f"{address}/{name}")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "": "text/html"}
    kind = response.headers["content-type"]
    assert kind.startswith(kinds[name.rpartition(".")[2]])


@pytest.mark.parametrize(
    "path", ["/page/../files.py", "/page/%2e%2e/files.py", "/page/files.py", "/page/", "/page/x.js"]
)
async def test_nothing_but_the_files_is_served(address: str, path: str) -> None:
    async with httpx.AsyncClient(timeout=HANG_LIMIT) as stranger:
        response = await stranger.get(f"{address}{path}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_browser_that_has_a_file_is_not_sent_it_again(address: str) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=HANG_LIMIT) as caller:
        first = await caller.get("/page/main.js")
        again = await caller.get("/page/main.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304


async def test_the_page_knows_whether_a_token_is_needed(
    at_store: Any, served: Any, settings: HttpSettings, address: str
) -> None:
    async with httpx.AsyncClient(timeout=HANG_LIMIT) as stranger:
        assert 'data-auth="tokens"' in (await stranger.get(address)).text
        url = settings.redis_url.get_secret_value()
        async with served(at_store(url, http_auth="off")) as unguarded:
            assert 'data-auth="off"' in (await stranger.get(unguarded)).text


class _Document(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links += [text for name in ("href", "src") if (text := named.get(name))]
        self.inline += [name for name in named if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)
        if (own := named.get("id")) is not None:
            self.ids.append(own)


def test_the_document_has_nothing_inline_and_links_to_this_gateway_alone() -> None:
    document = _Document()
    document.feed((STATIC / "index.html").read_text("utf-8"))
    assert document.inline == []
    assert [link for link in document.links if re.match(r"[a-z]+:|/", link)] == []
    assert len(document.ids) == len(set(document.ids))
    for link in document.links:
        if link.startswith("page/"):
            assert (STATIC / link.removeprefix("page/")).is_file(), link


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_set_text_only_and_find_what_they_import(script: Any) -> None:
    text = script.read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(", text)
    assert "localStorage" not in text
    for imported in re.findall(r'from "\./([^"]+)"', text):
        assert (STATIC / imported).is_file()
