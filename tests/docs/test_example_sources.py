"""The examples spell keys, fields, codes and script calls as the contract does; C# and Go parse."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.docs.reference import key_types

from mt5relay_shared.errors import ERROR_CODES
from mt5relay_shared.messages import Request
from mt5relay_shared.scripts import SUBMIT

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "shared" / "examples"
SUBMITTING = [
    EXAMPLES / "python" / "relay.py",
    EXAMPLES / "node" / "relay.js",
    EXAMPLES / "go" / "relay.go",
    EXAMPLES / "csharp" / "Relay.cs",
]
ALL = [EXAMPLES / "redis-cli.sh", *SUBMITTING]
NEEDED = {"v", "id", "account", "operation", "arguments", "timeout_ms"}

each = pytest.mark.parametrize("source", ALL, ids=lambda path: path.name)
each_that_submits = pytest.mark.parametrize("source", SUBMITTING, ids=lambda path: path.name)


def suffixes() -> set[str]:
    """The names of a terminal's keys, behind the tag."""
    return {key.split(":")[2] for key in key_types() if key.startswith("{mt5:T}:")}


def words_in(text: str) -> set[str]:
    """What stands in quotes, in any of these languages."""
    return {one for pair in re.findall(r"\"([^\"\n]*)\"|'([^'\n]*)'", text) for one in pair if one}


@each
def test_an_example_names_no_key_that_there_is_not(source: Path) -> None:
    text = source.read_text("utf-8")
    behind_a_tag = r"(?:tag\}?|\{_tag\}|\{self\._tag\})\"?\s*\+?\s*\"?:(?=[a-z])([a-z-]+)"
    called = r"self\._key\(\s*\"([a-z-]+)\""
    named = set(re.findall(behind_a_tag, text)) | set(re.findall(called, text))
    assert {"reply", "snapshot", "health", "events"} <= named
    assert named <= suffixes()


@each_that_submits
def test_the_script_is_told_its_keys_in_its_order(source: Path) -> None:
    heads = re.findall(r"^--.*?KEYS(.*?)-- ARGV", SUBMIT.source, flags=re.M | re.S)
    order = re.findall(r"(?<=\d )[a-z]+|[a-z]+(?=:<id>)", heads[0])
    assert order == ["requests", "lease", "health", "queue", "shares", "request", "reply"]
    named = "|".join(order)
    told = re.findall(rf"[\"'`:]({named})(?=[\"'`:])", source.read_text("utf-8"))
    assert any(told[at : at + len(order)] == order for at in range(len(told)))


@each_that_submits
def test_every_answer_of_the_script_is_understood(source: Path) -> None:
    words = re.findall(
        r"^--   ([a-z]+) +\S", SUBMIT.source.split("Answers a list", 1)[1], flags=re.M
    )
    assert {"stored", "attached", "accepted", "conflict", "refused"} == set(words)
    assert set(words) <= words_in(source.read_text("utf-8"))


@each
def test_a_request_has_the_fields_that_the_contract_knows(source: Path) -> None:
    text = source.read_text("utf-8").replace('\\"', '"')
    known = {field.encode_name for field in msgspec.structs.fields(Request)}
    assert known >= NEEDED
    for field in NEEDED:
        assert re.search(rf"\b{field}\b", text), field
    named = set(re.findall(r"\b[a-z]+_(?:ms|to|if_error_ms)\b", text))
    assert named <= known | {"retry_after_ms", "as_of_ms", "wait_ms", "at_ms"}


@each
def test_codes_are_those_of_the_contract(source: Path) -> None:
    codes = {word for word in words_in(source.read_text("utf-8")) if "_" in word and word.isupper()}
    settings = {"REDIS_URL", "MT5_TERMINAL_ID", "MT5_KEY_PREFIX", "SUBMIT_LUA"}
    assert {"REDIS_UNAVAILABLE", "DEADLINE_EXCEEDED"} <= codes | words_in_shell(source)
    assert codes - settings <= set(ERROR_CODES)


def words_in_shell(source: Path) -> set[str]:
    return set(re.findall(r"fail ([A-Z_]+)", source.read_text("utf-8")))


@pytest.mark.parametrize(
    ("source", "grammar"),
    [
        (EXAMPLES / "csharp" / "Relay.cs", "tree_sitter_c_sharp"),
        (EXAMPLES / "go" / "relay.go", "tree_sitter_go"),
    ],
    ids=lambda one: one.name if isinstance(one, Path) else "",
)
def test_what_can_not_be_built_everywhere_parses(source: Path, grammar: str) -> None:
    remedy = "pip install tree-sitter-c-sharp tree-sitter-go"
    if os.environ.get("CI"):
        __import__(grammar)
    tree_sitter: Any = pytest.importorskip("tree_sitter", reason=remedy)
    language: Any = pytest.importorskip(grammar, reason=remedy)
    parser = tree_sitter.Parser(tree_sitter.Language(language.language()))
    assert not parser.parse(source.read_bytes()).root_node.has_error
    assert parser.parse(source.read_bytes()[:-20]).root_node.has_error  # it would notice
