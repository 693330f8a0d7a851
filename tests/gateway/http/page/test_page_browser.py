"""The page in a real Chromium, before a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.gateway.http.page.browser import (
    Browser,
    Session,
    fresh_window,
    installed,
    running_browser,
)
from tests.servers import TESTER, as_user, running_server
from tests.system.conftest import System, prepared_system

from mt5relay_gateway.cli.store import free_port
from mt5relay_gateway.http import HttpSettings, http_app, running
from mt5relay_gateway.http.server import serving
from mt5relay_gateway.testing import a_health
from mt5relay_shared.errors import MT5Error
from mt5relay_shared.health import encode_health
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        installed() is None,
        reason="NO BROWSER: the status page is not tested; install Debian's chromium and"
        " chromium-driver",
    ),
]

ACCOUNT = "25115284@MetaQuotes-Demo"
OTHER = "50100002@Contoso-Live"
ENTER = "\ue007"
TAB = "\ue004"
LEFT = "\ue012"
IS_LIVE = "document.querySelector('#link').textContent === 'live'"
REMEMBER_STATES = """
window.seen = [];
const node = document.querySelector('#state');
const note = () => {
  if (window.seen.at(-1) !== node.textContent) window.seen.push(node.textContent);
};
new MutationObserver(note).observe(node, {childList: true, characterData: true, subtree: true});
note();
"""
BARS = "[...document.querySelectorAll('figure:first-child rect.bar')].map(r => r.outerHTML).join()"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Session]:
    with running_browser() as session:
        yield session


@pytest.fixture
async def browser(chromium: Session) -> AsyncIterator[Browser]:
    async with fresh_window(chromium) as browser:
        yield browser


@pytest.fixture
def unguarded(settings: HttpSettings, at_store: Callable[..., HttpSettings]) -> HttpSettings:
    """Without tokens, at one and the same port again and again."""
    url = settings.redis_url.get_secret_value()
    return at_store(url, http_auth="off", http_port=free_port())


@pytest.fixture
def enter(browser: Browser, address: str, token: Callable[..., Any]) -> Callable[..., Any]:
    """Open the page and type a token of one's own, as a person does; returns the token."""

    async def open_and_type(**options: Any) -> str:
        text: str = await token(**options)
        await browser.open(f"{address}/")
        await browser.until("document.activeElement.id === 'token'")
        await browser.press(*text, ENTER)
        await browser.until(IS_LIVE)
        return text

    return open_and_type


@pytest.fixture
async def healthy(worker: Any, redis: Redis, keys: Keys) -> None:
    """A worker that works, with two accounts, one of which was read."""
    health = msgspec.structs.replace(a_health(), logins_saved=3, errors_total=2)
    await worker.say_health(**encode_health(health))
    await redis.hset(keys.accounts, mapping={ACCOUNT: "sealed-1", OTHER: "sealed-2"})
    await worker.store_snapshot(ACCOUNT, age=5)


@pytest.fixture
def record(redis: Redis, keys: Keys, worker: Any) -> Callable[..., Any]:
    async def add(**event: Any) -> None:
        moment: dict[str, Any] = {"at_ms": time.time_ns() // 1_000_000, **event}
        await redis.xadd(keys.events, {"event": msgspec.json.encode(moment)})

    assert worker
    return add


# ---- an outage


@pytest.fixture
async def system(settings: HttpSettings, keys: Keys, tmp_path: Path) -> AsyncIterator[System]:
    url = settings.redis_url.get_secret_value()
    async with prepared_system(url, keys, tmp_path) as system:
        yield system


@contextlib.asynccontextmanager
async def _traffic(system: System, keys: Keys) -> AsyncGenerator[None]:
    """Backends that ask at random and let errors pass."""
    rng = random.Random(1)

    async def ask(client: Any) -> None:
        while True:
            with contextlib.suppress(MT5Error):
                await client.account_info(rng.choice(system.accounts), timeout=5)
            await asyncio.sleep(0.05)

    async with system.client(key_prefix=keys.prefix) as client:
        asking = [asyncio.create_task(ask(client)) for _ in range(3)]
        try:
            yield
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


async def test_it_shows_an_outage_and_the_recovery_as_they_happen(
    browser: Browser, system: System, keys: Keys, enter: Callable[..., Any]
) -> None:
    await system.start(MT5_CONNECTION_RETRY_DELAY="0.5", MT5_BREAKER_LONGEST_PAUSE="1")
    async with _traffic(system, keys):
        await enter()
        await browser.until("document.querySelector('#state').textContent === 'CONNECTED'")
        await browser.run(REMEMBER_STATES)
        await browser.until(f"{BARS}.length > 0")
        first = await browser.run(f"return {BARS}")
        answered = await browser.text("#tile-rate small")

        system.set_faults(broker_link_lost=True, broker_link_lost_answer_seconds=0)
        await browser.until("window.seen.includes('ERROR')")
        await browser.until("document.querySelector('#breaker').textContent === 'open'")
        await browser.until("document.querySelectorAll('rect.band.ERROR').length >= 4")
        assert "BROKER_UNAVAILABLE" in await browser.text("#trouble")
        assert "next try" in await browser.text("#breaker-retry")
        assert "→ ERROR" in await browser.text("#journal")
        assert await browser.run("return document.title") == "Error · mt5relay"

        system.set_faults()
        await browser.until("window.seen.at(-1) === 'CONNECTED'")
        await browser.until("document.querySelector('#breaker').textContent === 'closed'")
        await browser.until(f"{BARS} !== arguments[0]", first)
        await browser.until(
            "document.querySelector('#tile-rate small').textContent !== arguments[0]", answered
        )
        await browser.until("document.querySelector('#announce').textContent !== ''")
        journal = await browser.text("#journal")
    seen = await browser.run("return window.seen")
    assert _is_subsequence(["CONNECTED", "RECONNECTING", "ERROR", "CONNECTED"], seen)
    for line in ("CONNECTED → RECONNECTING", "RECONNECTING → ERROR", "RECONNECTING → CONNECTED"):
        assert line in journal
    for line in ("Breaker open", "Breaker half-open", "Breaker closed"):
        assert line in journal
    assert await browser.text("#fresh button") in {str(one) for one in system.accounts}
    assert await browser.complaints() == []


def _is_subsequence(wanted: list[str], seen: list[str]) -> bool:
    rest = iter(seen)
    return all(one in rest for one in wanted)


# ---- the link


@pytest.mark.usefixtures("healthy")
async def test_it_says_when_the_link_is_lost_and_when_it_is_back(
    browser: Browser, served: Any, unguarded: HttpSettings, record: Any, redis: Redis
) -> None:
    events = Keys(unguarded.terminal_id, unguarded.key_prefix).events
    await record(kind="state", **{"from": "DISCONNECTED"}, to="CONNECTED")
    async with served(unguarded) as address:
        await browser.open(f"{address}/")
        await browser.until(IS_LIVE)
        await browser.until("document.querySelectorAll('#journal li').length === 1")
        assert await browser.complaints() == []
    await browser.until("document.querySelector('#link').textContent.startsWith('link lost')")
    assert await browser.text("#announce") == "The link to the gateway is lost"
    assert await browser.text("#state") == "UNKNOWN"
    await redis.xtrim(events, maxlen=0)
    await record(kind="breaker", **{"from": "CLOSED"}, to="OPEN", cause="while nobody looked")
    async with served(unguarded):
        await browser.until(IS_LIVE)
        await browser.until("document.querySelectorAll('#journal li').length === 3")
        journal = await browser.text("#journal")
        assert "while nobody looked" in journal
        assert "Gap" in journal  # it went on where it was, and was told what it missed
        await browser.until("document.querySelector('#state').textContent === 'CONNECTED'")


async def test_it_does_not_pretend_to_know_while_redis_is_away(
    browser: Browser, at_store: Any, served: Any, keys: Keys
) -> None:
    with running_server("--appendonly", "yes", "--appendfsync", "always") as store:
        unguarded = at_store(store.url, http_auth="off")
        redis: Any = connect(as_user(store.url, TESTER), client_name="page-test")
        await redis.hset(keys.health, mapping=encode_health(a_health()))
        await redis.aclose()
        async with served(unguarded) as address:
            await browser.open(f"{address}/")
            await browser.until("document.querySelector('#state').textContent === 'CONNECTED'")
            store.kill()
            await browser.until("document.querySelector('#state').textContent === 'UNKNOWN'")
            assert "can't see how things are" in await browser.text("#notice")
            store.start()
            await browser.until("document.querySelector('#state').textContent === 'CONNECTED'")
            assert await browser.run("return document.querySelector('#notice').hidden")


@pytest.mark.usefixtures("worker")
async def test_a_worker_that_is_gone_and_one_that_comes_look_different(
    browser: Browser, redis: Redis, keys: Keys, worker: Any, enter: Any
) -> None:
    await enter()
    await browser.until("document.querySelector('#state').textContent === 'NO WORKER'")
    await worker.say_health(**encode_health(a_health()))
    await browser.until("document.querySelector('#state').textContent === 'CONNECTED'")
    await redis.delete(keys.health)
    await browser.until("document.querySelector('#hero').dataset.tone === 'bad'")
    assert await browser.complaints() == []


@pytest.mark.usefixtures("healthy")
async def test_it_works_below_a_path_of_another_application(
    browser: Browser, unguarded: HttpSettings
) -> None:
    relay = http_app(unguarded)
    outer = Starlette(routes=[Mount("/mt5", relay)], lifespan=running)
    outer.state.relay = relay.state.relay
    async with serving(outer, unguarded) as address:
        await browser.open(f"{address}/mt5")
        await browser.until(IS_LIVE)
        await browser.until("document.querySelectorAll('#fresh tr').length === 2")
        assert await browser.complaints() == []


# ---- tokens and what they may see


@pytest.mark.usefixtures("healthy")
async def test_a_token_stays_in_its_tab_and_out_of_the_address(
    browser: Browser, enter: Any
) -> None:
    text = await enter(name="operations")
    assert text not in await browser.run(
        "return location.href + document.documentElement.outerHTML"
    )
    assert text not in await browser.run(
        "return performance.getEntries().map(one => one.name).join()"
    )
    kept = await browser.run(
        "return [Object.values(sessionStorage), localStorage.length, document.cookie]"
    )
    assert kept == [[text], 0, ""]
    await browser.until("document.querySelector('#who').textContent === 'Token operations.'")
    await browser.run("document.querySelector('#forget').click()")
    await browser.until("document.activeElement.id === 'token'")
    assert await browser.run("return sessionStorage.length") == 0
    assert await browser.complaints() == []


async def test_a_token_that_is_not_known_is_asked_for_again(browser: Browser, address: str) -> None:
    await browser.open(f"{address}/")
    await browser.until("document.activeElement.id === 'token'")
    await browser.press(*"wrong", ENTER)
    await browser.until(
        "document.querySelector('#gate-error').textContent === 'This token is not known.'"
    )
    assert not await browser.run("return document.querySelector('#gate').hidden")


@pytest.mark.usefixtures("healthy")
async def test_logins_are_masked_unless_the_token_may_see_them(
    browser: Browser, redis: Redis, keys: Keys, record: Any, enter: Any
) -> None:
    await record(kind="state", to="ERROR", cause=f"login to {OTHER}: no link")
    await redis.hset(keys.health, "current_account", OTHER)
    turn = '{"waiting":2,"since_ms":1,"by_ms":2}'
    await redis.hset(keys.queue, mapping={OTHER: turn, ACCOUNT: turn})
    await enter(accounts=("*@MetaQuotes-Demo",))
    await browser.until("document.querySelectorAll('#fresh tr').length === 2")
    await browser.until("document.querySelectorAll('#queue tr').length === 2")
    page = await browser.run("return document.documentElement.outerHTML")
    assert "50100002" not in page
    assert "***02@Contoso-Live" in await browser.text("#journal")
    assert await browser.text("#current") == "***02@Contoso-Live"
    assert await browser.text("#fresh button") == ACCOUNT
    assert await browser.complaints() == []


@pytest.mark.usefixtures("healthy")
async def test_what_it_is_told_is_shown_as_text(browser: Browser, record: Any, enter: Any) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>1</script>"
    await record(kind="state", to="ERROR", cause=hostile)
    await enter()
    await browser.until("document.querySelectorAll('#journal li').length === 1")
    assert hostile in await browser.text("#journal")
    assert await browser.run("return document.querySelectorAll('#journal img').length") == 0
    assert await browser.complaints() == []


# ---- finding an account


@pytest.mark.usefixtures("healthy")
async def test_an_account_is_found_by_its_login_and_its_read_ages(
    browser: Browser, worker: Any, enter: Any
) -> None:
    await enter()
    await browser.until("document.querySelectorAll('#known option').length === 2")
    await browser.run("document.querySelector('#account').focus()")
    await browser.press(*"25115284", ENTER)
    await browser.until("document.querySelector('#found-body dl') !== null")
    assert await browser.text("#found-title") == ACCOUNT
    assert await browser.run("return document.activeElement.id") == "found-title"
    assert "77.00" in await browser.text("#found-body dl")
    aged = await browser.text("#found-body time")
    await browser.until(
        "document.querySelector('#found-body time').textContent !== arguments[0]", aged
    )
    assert worker.requests == []  # the terminal was not troubled
    assert await browser.complaints() == []
    await browser.run("document.querySelector('#account').select()")
    await browser.press(*"999", ENTER)
    await browser.until("document.querySelector('#found-body [role=alert]') !== null")


# ---- for everybody


UNNAMED = """
const named = node => node.labels?.length || node.getAttribute('aria-label') ||
  node.getAttribute('aria-labelledby') || node.textContent.trim();
return [...document.querySelectorAll('input, button, a, [tabindex="0"]')]
  .filter(node => !named(node)).map(node => node.outerHTML);
"""
LANDMARKS = """
return ['header', 'main', 'footer', 'nav[aria-label]', '[role=search]', 'h1', 'html[lang]',
  '[aria-live=polite]', 'section[aria-labelledby]'].filter(one => !document.querySelector(one));
"""
FAINT = """
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const behind = node => {
  for (; node; node = node.parentElement) {
    const found = numbers(getComputedStyle(node).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
  if (node.closest('.unseen, .skip')) continue;
  const style = getComputedStyle(node);
  const ink = node.closest('svg') ? style.fill : style.color;
  const [a, b] = [light(numbers(ink)), light(behind(node))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${walker.currentNode.data.trim()}`);
}
return faint;
"""


@pytest.mark.usefixtures("healthy")
async def test_it_can_be_used_by_keyboard_and_screen_reader(browser: Browser, enter: Any) -> None:
    await enter()
    await browser.until("document.querySelectorAll('#fresh tr').length === 2")
    assert await browser.run(UNNAMED) == []
    assert await browser.run(LANDMARKS) == []
    levels = await browser.run(
        "return [...document.querySelectorAll('h1, h2, h3')].map(node => Number(node.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    await browser.run("document.activeElement.blur(); document.querySelector('.skip').focus()")
    stops: list[str] = []
    for _ in range(12):
        await browser.press(TAB)
        stops.append(
            await browser.run("return document.activeElement.id || document.activeElement.tagName")
        )
        outline = await browser.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", stops
    assert {"account", "FIGURE"} <= set(stops)
    await browser.run("document.querySelector('figure').focus()")
    await browser.press(LEFT, LEFT)
    assert ": answered" in await browser.text("#readout")
    assert await browser.complaints() == []


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_legible_by_day_and_by_night_on_a_phone_and_on_a_desk(
    browser: Browser, address: str, record: Any, enter: Any, scheme: str
) -> None:
    for state in ("RECONNECTING", "ERROR", "CONNECTED"):
        await record(kind="state", to=state, cause="a cause")
    await browser.look(1280, 900, scheme)
    await browser.open(f"{address}/")
    assert await browser.run(FAINT) == []
    await enter()
    await browser.until("document.querySelectorAll('#fresh tr').length === 2")
    for width in (1280, 768, 360):
        await browser.look(width, 900, scheme)
        await browser.until("innerWidth === arguments[0]", width)
        assert await browser.run("return document.documentElement.scrollWidth") <= width
        assert await browser.run(FAINT) == []


async def test_several_terminals_are_chosen_between(
    browser: Browser, served: Any, unguarded: HttpSettings, redis: Redis, keys: Keys
) -> None:
    state = '{"state":"active","since_ms":1}'
    fleet = unguarded.fleet_keys
    await redis.hset(fleet.terminals, mapping={"main": state, "spare": state})
    await redis.set(fleet.version, "1")
    health: dict[Any, Any] = {**encode_health(a_health())}
    await redis.hset(keys.health, mapping=health)
    await redis.hset(Keys("spare", keys.prefix).health, mapping={**health, "worker_id": "spare-1"})
    async with served(unguarded) as address:
        await browser.open(f"{address}/")
        await browser.until("document.querySelectorAll('#terminals input').length === 2")
        await browser.until("document.querySelector('#worker').textContent === 'fake'")
        await browser.run("document.querySelector('#terminals input[value=spare]').click()")
        await browser.until("document.querySelector('#worker').textContent === 'spare-1'")
        assert await browser.complaints() == []
