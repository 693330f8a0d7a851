"""A real Chromium, driven by its own driver over WebDriver (W3C), for which httpx is enough."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any

import httpx
from tests.limits import HANG_LIMIT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root may not make one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
START_LIMIT = HANG_LIMIT


def installed() -> tuple[str, str] | None:
    """The paths of a browser and its driver, where both are installed."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which(DRIVER)
    return (browser, driver) if browser and driver else None


class Browser:
    """One window. Scripts are bodies of functions: they `return`."""

    def __init__(self, http: httpx.AsyncClient, session: str) -> None:
        self._http = http
        self._session = session

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        response = await self._http.request(
            method, f"/session/{self._session}{path}", json=body if method == "POST" else None
        )
        value = response.json()["value"]
        assert response.is_success, value
        return value

    async def open(self, url: str) -> None:
        await self._call("POST", "/url", {"url": url})

    async def run(self, script: str, *arguments: object) -> Any:
        body = {"script": script, "args": list(arguments)}
        return await self._call("POST", "/execute/sync", body)

    async def devtools(self, command: str, **parameters: object) -> Any:
        body = {"cmd": command, "params": parameters}
        return await self._call("POST", "/goog/cdp/execute", body)

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, as a person does."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        await self._call("POST", "/actions", {"actions": [source]})

    async def text(self, selector: str) -> str:
        found = await self.run(
            "return document.querySelector(arguments[0])?.textContent ?? ''", selector
        )
        return " ".join(str(found).split())

    async def until(self, condition: str, *arguments: object, limit: float = 20.0) -> Any:
        """Wait until an expression is true; returns what it then is."""
        give_up = time.monotonic() + limit
        while not (found := await self.run(f"return {condition}", *arguments)):
            if time.monotonic() > give_up:
                shown = await self.run("return document.body.innerText")
                raise AssertionError(f"never true: {condition}\n{shown}")
            await asyncio.sleep(0.05)
        return found

    async def complaints(self) -> list[str]:
        """What the console holds of errors and warnings; reading empties it."""
        entries = await self._call("POST", "/se/log", {"type": "browser"})
        return [
            f"{entry['level']} {entry['message']}"
            for entry in entries
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    async def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(await self._call("GET", "/screenshot"))

    async def look(self, width: int, height: int, scheme: str = "light", scale: float = 1) -> None:
        """Be a screen of this size, by day or by night."""
        await self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.devtools("Emulation.setEmulatedMedia", features=features)


@dataclass(frozen=True)
class Session:
    """A browser that runs, as its driver knows it."""

    driver: str
    id: str


@contextlib.contextmanager
def running_browser() -> Generator[Session]:
    """Start a browser with a profile of its own; nothing of it is left afterwards."""
    found = installed()
    assert found is not None, "no Chromium with its driver is installed"
    browser, driver = found
    with (
        tempfile.TemporaryDirectory(
            prefix="mt5relay-browser-", ignore_cleanup_errors=True
        ) as profile,
        _running_driver(driver) as address,
        httpx.Client(base_url=address, timeout=START_LIMIT, trust_env=False) as http,
    ):
        wished = {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": browser,
                "args": [*FLAGS, f"--user-data-dir={profile}"],
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        response = http.post("/session", json={"capabilities": {"alwaysMatch": wished}})
        assert response.is_success, response.text
        session = response.json()["value"]["sessionId"]
        try:
            yield Session(address, session)
        finally:
            http.delete(f"/session/{session}")


@contextlib.contextmanager
def _running_driver(driver: str) -> Generator[str]:
    process = subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "started successfully on port" in line:
                yield f"http://127.0.0.1:{int(line.rstrip().rstrip('.').rpartition(' ')[2])}"
                return
        raise AssertionError("the driver ended before it listened")
    finally:
        process.terminate()
        process.communicate()


@contextlib.asynccontextmanager
async def fresh_window(session: Session) -> AsyncGenerator[Browser]:
    """The window of the browser as nobody has used it; a page of another port knows no other's."""
    async with httpx.AsyncClient(
        base_url=session.driver, timeout=START_LIMIT, trust_env=False
    ) as http:
        browser = Browser(http, session.id)
        await browser.open("about:blank")
        await browser.look(1280, 900)
        await browser.complaints()
        yield browser
