"""The OpenAPI 3.1 description, made from the table of endpoints and the types of their bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from mt5relay_gateway.http.endpoint import Endpoint
from mt5relay_gateway.http.problems import MEDIA_TYPE, STATUS, Mt5LastError, Problem
from mt5relay_gateway.http.problems import problem_from as describe
from mt5relay_gateway.testing import (
    a_deal,
    a_position,
    a_rate,
    a_symbol,
    a_tick,
    an_account_info,
    an_order,
)
from mt5relay_shared import __version__
from mt5relay_shared.accounts import MAX_PASSWORD_UNITS
from mt5relay_shared.errors import NoWorkerError
from mt5relay_shared.operations import Operation
from mt5relay_shared.secret import Secret

_REFERENCE = "#/components/schemas/{name}"
_ANSWER = re.compile(r"AnswerBody_(list_)?(?:mt5relay_shared\.records\.)?(\w+?)_+$")
_CONVERTER = re.compile(r"\{(\w+):\w+\}")


def openapi(endpoints: Sequence[Endpoint], server: str = "/") -> dict[str, Any]:
    """Describe the endpoints; `server` is the path under which they are mounted."""
    kinds = list(_kinds(endpoints))
    schemas, components = msgspec.json.schema_components(
        kinds, schema_hook=_schema_of, ref_template=_REFERENCE
    )
    by_kind = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _CONVERTER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_kind)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "mt5relay",
            "version": __version__,
            "description": "Account look-ups for MetaTrader 5 accounts behind one terminal.",
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": dict(components),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    renamed: dict[str, Any] = _renamed(described)
    return renamed


def _kinds(endpoints: Sequence[Endpoint]) -> Iterable[Any]:
    yield Problem
    yield Mt5LastError
    seen: set[int] = set()
    for endpoint in endpoints:
        for kind in (endpoint.body, *(kind for _, kind in endpoint.answers.values())):
            if kind is not None and id(kind) not in seen:
                seen.add(id(kind))
                yield kind


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {
            "type": "string",
            "format": "password",
            "writeOnly": True,
            "minLength": 1,
            "maxLength": MAX_PASSWORD_UNITS,
        }
    raise NotImplementedError(f"{kind} has no schema")


def _operation(endpoint: Endpoint, schemas: Mapping[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.description:
        described["description"] = endpoint.description
    if endpoint.scope is not None:
        described["security"] = [{"token": []}]
        described["description"] = f"{endpoint.description} Scope: `{endpoint.scope}`.".strip()
    if endpoint.parameters:
        described["parameters"] = [
            {
                "name": one.name,
                "in": one.where,
                "description": one.description,
                "required": one.required,
                "schema": one.schema,
            }
            for one in endpoint.parameters
        ]
    if endpoint.body is not None:
        content = {"schema": schemas[id(endpoint.body)], "example": endpoint.body_example}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _responses(endpoint: Endpoint, schemas: Mapping[int, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, (media_type, kind) in endpoint.answers.items():
        response: dict[str, Any] = {"description": _DESCRIPTIONS.get(status, "An answer")}
        if media_type:
            content: dict[str, Any] = {} if kind is None else {"schema": schemas[id(kind)]}
            if status == 200 and (example := _example(endpoint)) is not None:
                content["example"] = example
            response["content"] = {media_type: content}
        responses[str(status)] = response
    for status in sorted(set(STATUS.values())):
        problem = {
            "description": "A problem; its `code` says which",
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}},
        }
        known = responses.setdefault(str(status), problem)
        if known is not problem:
            known.setdefault("content", {}).update(problem["content"])
    responses["503"]["content"][MEDIA_TYPE]["example"] = _PROBLEM_EXAMPLE
    return responses


_DESCRIPTIONS = {
    200: "The answer",
    202: "Accepted; collect the answer at `Location`",
    204: "Done",
    304: "The caller has these data already; the headers tell their age",
}
_PROBLEM_EXAMPLE = msgspec.to_builtins(
    describe(
        NoWorkerError("refused: nobody holds the lease", request_id="01JD0000000000000000000000")
    )
)
_DATA: dict[str, Any] = {
    Operation.ACCOUNT_INFO: an_account_info(),
    Operation.POSITIONS: [a_position()],
    Operation.ORDERS: [an_order()],
    Operation.DEALS: [a_deal()],
    Operation.HISTORY_ORDERS: [an_order(state=4)],
    Operation.SYMBOL: a_symbol(),
    Operation.TICK: a_tick(),
    Operation.RATES: [a_rate()],
}


def _example(endpoint: Endpoint) -> Any:  # noqa: ANN401 - JSON
    if endpoint.name not in _DATA:
        return None
    return {
        "account": "25115284@MetaQuotes-Demo",
        "operation": endpoint.name,
        "as_of": "2026-01-31T10:00:00.120000Z",
        "age_ms": 40,
        "source": "terminal",
        "stale": False,
        "reason": None,
        "synchronized": "confirmed",
        "server_utc_offset": 7200,
        "request_id": "01JD0000000000000000000000",
        "data": msgspec.to_builtins(_DATA[endpoint.name]),
    }


def _renamed(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Give the answers' schemas names that a person would."""
    if isinstance(node, dict):
        return {_name(key): _renamed(value) for key, value in cast(dict[str, Any], node).items()}
    if isinstance(node, list):
        return list(map(_renamed, cast(Iterable[Any], node)))
    if isinstance(node, str) and node.startswith("#/components/schemas/"):
        head, _, name = node.rpartition("/")
        return f"{head}/{_name(name)}"
    return node


def _name(name: str) -> str:
    match = _ANSWER.match(name)
    return f"{match[2]}{'List' if match[1] else ''}Answer" if match else name
