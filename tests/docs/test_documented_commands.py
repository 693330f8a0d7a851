"""Whatever command the documentation shows: its program knows each word, and somebody runs it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from cyclopts import CycloptsError
from tests.docs.not_run import NOT_RUN
from tests.docs.pages import OURS, PAGES, ROOT, Command, all_commands, blocks, spans, words_of
from tests.docs.plays import PLAYED

from mt5relay_gateway.cli.app import app as gateway_app
from mt5relay_shared.messages import decode_reply
from mt5relay_worker.cli import app as worker_app

pytestmark = pytest.mark.integration

APPS: dict[str, Any] = {"mt5relay": gateway_app, "mt5relay-worker": worker_app}
MODULES = {  # of `run.py NAME`, what reads the arguments
    "simulate": "tests.simulation.run",
    "chaos": "tests.chaos.chaos",
    "hostile": "tests.hostile.hostile",
    "rehearse": "tests.rehearsal.rehearse",
    "conformance": "tests.conformance.runner",
    "bench": "bench",
}
SHOWN = [one for one in all_commands() if words_of(one.text)]
IDS = [f"{one.block.page.parent.name}-{index}" for index, one in enumerate(SHOWN)]


@cache
def run_script() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("run_script_of_docs", ROOT / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def help_of(module: str) -> str:
    asked = [sys.executable, "-m", module, "--help"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command of ours; None for nothing, and for other programs."""
    program, *rest = words
    if program in APPS:
        return _complaint_of_app(APPS[program], rest)
    if words[:2] == ["python3", "run.py"]:
        return _complaint_of_run(words[2], words[3:])
    return None


def _complaint_of_app(app: Any, words: list[str]) -> str | None:
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return " ".join(str(error).split())
    return None


def _complaint_of_run(name: str, words: list[str]) -> str | None:
    if name not in run_script().COMMANDS:
        return f"run.py has no {name}"
    if name == "demo":
        return _complaint_of_app(gateway_app, ["demo", *words])
    if name not in MODULES:
        return None  # pytest's
    known = help_of(MODULES[name])
    unknown = [word for word in words if word.startswith("--") and word not in known]
    return f"run.py {name} does not know {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("command", SHOWN, ids=IDS)
def test_a_command_is_one_that_its_program_understands(command: Command) -> None:
    assert complaint(words_of(command.text)) is None, command.place


@pytest.mark.parametrize("command", SHOWN, ids=IDS)
def test_a_command_is_run_by_a_test_or_says_why_not(command: Command) -> None:
    is_listed = any(command.text.startswith(start) for start in NOT_RUN)
    is_played = command.block.page in PLAYED and not is_listed
    assert is_listed or is_played, f"{command.place} is neither played nor in not_run.py"


@pytest.mark.parametrize("start", NOT_RUN)
def test_nothing_is_excused_that_is_not_shown(start: str) -> None:
    assert any(one.text.startswith(start) for one in SHOWN)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_commands_within_sentences_exist_with_their_options(page: Path) -> None:
    wrong = {span: said for span in spans(page) if (said := complaint_of_span(span)) is not None}
    assert wrong == {}


def complaint_of_span(span: str) -> str | None:
    """A sentence may leave out what follows the command: that is not missed."""
    plain = re.sub(r"\s*(…|\.\.\.)\s*", " ", span).replace("|", " ").strip()
    program = next(one for one in OURS if plain.startswith(f"{one} "))
    rest = plain.removeprefix(program).split()
    if program == "python3 run.py":
        return _complaint_of_run(rest[0], rest[1:])
    said = _complaint_of_app(APPS[program], rest)
    is_unknown = said is not None and said.startswith("Unknown")
    return said if is_unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_blocks_of_python_and_json_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        elif block.language == "json":
            for one in re.split(r"\n\n+", block.text.strip()):
                msgspec.json.decode(one)


def test_the_replies_that_the_contract_shows_are_replies() -> None:
    text = (ROOT / "shared" / "README.md").read_text("utf-8").split("## Reply", 1)[1]
    found = re.search(r"```json\n(.*?)```", text, flags=re.S)
    assert found is not None
    replies = [decode_reply(one) for one in re.split(r"\n\n+", found[1].strip())]
    assert [type(one).__name__ for one in replies] == ["OkReply", "ErrorReply"]


@pytest.mark.parametrize(
    "words",
    [
        ["mt5relay", "nope"],
        ["mt5relay", "demo", "--nope"],
        ["mt5relay-worker", "probe", "--nope"],
        ["python3", "run.py", "chaos", "--nope"],
        ["python3", "run.py", "nope"],
    ],
    ids=" ".join,
)
def test_a_command_that_there_is_not_is_noticed(words: list[str]) -> None:
    assert complaint(words) is not None
