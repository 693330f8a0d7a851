"""`/docs`: the description as one page of HTML, without scripts and without the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import msgspec

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{overflow:auto;background:var(--soft);padding:.75rem;border-radius:.4rem}
article{border-top:1px solid var(--line);padding:1rem 0}
h2{font-size:1.05rem;overflow-wrap:anywhere}
h2 b{display:inline-block;min-width:4.5rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;border-bottom:1px solid var(--line);padding:.3rem .5rem}
td:first-child{white-space:nowrap}
nav li{overflow-wrap:anywhere}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def docs_page(described: Mapping[str, Any]) -> str:
    """Render an OpenAPI description."""
    info = described["info"]
    operations = list(_operations(described))
    links = "".join(
        f'<li><a href="#{escape(one["operationId"])}"><code>{escape(method)} {escape(path)}</code>'
        f"</a> {escape(one['summary'])}</li>"
        for method, path, one in operations
    )
    articles = "".join(_article(*one) for one in operations)
    schemas = "".join(
        _schema(name, schema) for name, schema in described["components"]["schemas"].items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f'<p>{escape(info["description"])} Made from <a href="openapi.json">openapi.json</a>.'
        " Where a scope is named, send <code>Authorization: Bearer</code> and a token, as"
        " <code>mt5relay tokens add</code> makes them.</p>"
        f"<nav><ul>{links}</ul></nav><main>{articles}<h1>Schemas</h1>{schemas}</main></body></html>"
    )


def _operations(described: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _article(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<article id="{escape(operation["operationId"])}"><h2><b>{escape(method)}</b>'
        f" <code>{escape(path)}</code></h2><p>{escape(operation['summary'])}."
        f" {_marked(operation.get('description', ''))}</p>"
    ]
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(one['name'])}</code>{' *' if one['required'] else ''}</td>"
            f"<td>{escape(one['in'])}</td><td>{_marked(one['description'])}</td>"
            f"<td><code>{escape(_brief(one['schema']))}</code></td></tr>"
            for one in parameters
        )
        parts.append(
            "<table><tr><th>parameter</th><th>in</th><th>meaning</th><th>form</th></tr>"
            f"{rows}</table>"
        )
    if body := operation.get("requestBody"):
        content = body["content"]["application/json"]
        parts.append(f"<h3>Body</h3>{_json(content['example'])}")
    for status, response in operation["responses"].items():
        if int(status) < 400:
            parts.append(f"<h3>{escape(status)}: {_marked(response['description'])}</h3>")
            for media_type, content in response.get("content", {}).items():
                parts.append(f"<p><code>{escape(media_type)}</code> {_reference(content)}</p>")
                if "example" in content:
                    parts.append(_json(content["example"]))
    return f"{''.join(parts)}</article>"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"{_json(schema)}</details>"
    )


def _reference(content: Mapping[str, Any]) -> str:
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f'<a href="#schema-{escape(name)}">{escape(name)}</a>' if name else ""


def _brief(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " ".join(schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_brief(one) for one in schema["anyOf"])
    bounds = [f"{name} {schema[name]}" for name in ("minimum", "maximum") if name in schema]
    return ", ".join([schema.get("format", schema["type"]), *bounds])


def _json(value: object) -> str:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return f"<pre>{escape(text)}</pre>"


def _marked(text: str) -> str:
    """Backquotes become code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{one}</code>" if i % 2 else one for i, one in enumerate(pieces))
