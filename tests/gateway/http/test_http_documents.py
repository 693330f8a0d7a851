"""The description, and the page that shows it without the network."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from tests.limits import HANG_LIMIT

from mt5relay_gateway.http.docs import docs_page
from mt5relay_gateway.http.openapi import openapi
from mt5relay_gateway.http.routes import ENDPOINTS
from mt5relay_shared.operations import Operation

DESCRIBED = openapi(ENDPOINTS)
TEXT = json.dumps(DESCRIBED)


def test_every_endpoint_is_described() -> None:
    found = {
        (method.upper(), path) for path, methods in DESCRIBED["paths"].items() for method in methods
    }
    assert len(found) == len(ENDPOINTS)
    assert ("GET", "/v1/accounts/{account}/symbols/{symbol}/tick") in found
    names = {
        one["operationId"] for methods in DESCRIBED["paths"].values() for one in methods.values()
    }
    assert set(Operation) <= names


def test_every_reference_leads_somewhere_and_has_a_readable_name() -> None:
    schemas = DESCRIBED["components"]["schemas"]
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', TEXT))
    assert referred <= set(schemas)
    assert {"AccountInfoAnswer", "TradePositionListAnswer", "Problem", "TickRequest"} <= set(
        schemas
    )
    assert not [name for name in schemas if "mt5relay_shared" in name]


def test_what_needs_a_token_says_so_and_which_scope() -> None:
    for one in ENDPOINTS:
        path = one.path.replace(":path", "")
        described: dict[str, Any] = DESCRIBED["paths"][path][one.method.lower()]
        assert ("security" in described) == (one.scope is not None)
        if one.scope is not None:
            assert f"`{one.scope}`" in described["description"]
        if one.body is not None:
            assert described["requestBody"]["content"]["application/json"]["example"]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = dict(attrs)
        self.found += [text for name in ("href", "src") if (text := named.get(name))]
        if (own := named.get("id")) is not None:
            self.ids.add(own)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = docs_page(DESCRIBED)
    links = _Links()
    links.feed(page)
    inner = {link[1:] for link in links.found if link.startswith("#")}
    assert [link for link in links.found if not link.startswith("#")] == ["openapi.json"]
    assert inner <= links.ids
    assert not {"script", "link", "img", "iframe"} & links.tags


def test_the_page_escapes_what_it_shows() -> None:
    described = json.loads(TEXT)
    described["info"]["title"] = "<script>alert(1)</script>"
    assert "<script" not in docs_page(described)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_it_is_open_to_read(address: str, path: str) -> None:
    async with httpx.AsyncClient(timeout=HANG_LIMIT) as stranger:
        response = await stranger.get(f"{address}{path}")
    assert response.status_code == 200
    if path == "/docs":
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["content-type"] == "text/html; charset=utf-8"
    else:
        assert response.json()["openapi"] == "3.1.0"
