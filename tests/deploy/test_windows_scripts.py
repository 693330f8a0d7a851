"""The PowerShell scripts and the start settings of a terminal."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.conftest import DEPLOY, package, run_tool, tool

from mt5relay_shared.keys import check_terminal_id
from mt5relay_shared.settings import EXIT_SETTINGS

pytestmark = pytest.mark.integration

SCRIPTS = sorted((DEPLOY / "windows").glob("*.ps1"))
NAMES = [script.name for script in SCRIPTS]
ANALYSIS = (
    "if (-not (Get-Module -ListAvailable PSScriptAnalyzer)) {{ exit 99 }};"
    " $found = Invoke-ScriptAnalyzer -Path '{}' -Severity Warning, Error;"
    " $found | Format-List; exit @($found).Count"
)


def errors_in(node: Any) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point[0] + 1}: {node.text[:60]!r}"
    for child in node.children:
        yield from errors_in(child)


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_script_can_be_parsed(script: Path) -> None:
    grammar = package("tree_sitter_powershell", "pip install tree-sitter tree-sitter-powershell")
    trees = package("tree_sitter", "pip install tree-sitter tree-sitter-powershell")
    tree = trees.Parser(trees.Language(grammar.language())).parse(script.read_bytes())
    assert list(errors_in(tree.root_node)) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_the_script_analyzer_finds_nothing(script: Path) -> None:
    shell = tool("pwsh", "PowerShell is not a package of Debian")
    ran = run_tool(shell, "-NoProfile", "-Command", ANALYSIS.format(script))
    if ran.returncode == 99:
        pytest.skip("PSScriptAnalyzer is not installed: Install-Module PSScriptAnalyzer")
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_script_explains_itself_and_stops_at_the_first_error(script: Path) -> None:
    text = script.read_text("utf-8")
    assert ".SYNOPSIS" in text
    assert "$ErrorActionPreference = 'Stop'" in text
    assert "Set-StrictMode" in text
    assert text.isascii(), "PowerShell 5.1 reads a file without a mark in the host's code page"


def test_a_worker_is_started_again_on_anything_but_0_and_wrong_settings() -> None:
    text = (DEPLOY / "windows" / "start-worker.ps1").read_text("utf-8")
    assert f"$settled = @(0, {EXIT_SETTINGS})" in text


def test_scripts_take_the_terminal_ids_that_the_relay_takes() -> None:
    for script in SCRIPTS:
        for pattern in re.findall(r"ValidatePattern\('(.+?)'\)", script.read_text("utf-8")):
            for name in ("main", "t-2.eu_1", "x" * 64):
                assert re.match(pattern, check_terminal_id(name))
            assert not re.match(pattern, "x" * 65)
            assert not re.match(pattern, "a b")


def test_a_terminal_keeps_no_account_and_lets_programs_in() -> None:
    settings = configparser.ConfigParser(strict=True)
    settings.optionxform = str  # type: ignore[assignment,method-assign]
    settings.read(DEPLOY / "terminal" / "terminal.ini", "ascii")
    assert "Password" not in settings["Common"]
    assert settings["Common"]["KeepPrivate"] == "0"
    assert settings["Experts"]["Enabled"] == "1"
    assert settings["Experts"]["Account"] == "0", "a change of account would switch programs off"
