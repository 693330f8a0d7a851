"""What is installed is what the project asks for, pinned, and no more than a role needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tests.deploy.conftest import ROOT

pytestmark = pytest.mark.integration

ROLES = {
    "deploy/gateway/requirements.txt": "http",
    "deploy/windows/requirements.txt": "metatrader5",
    "tests/requirements.txt": "test",
}
PROJECT: Any = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REMEDY = "run `python3 deploy/lock.py`"
MODULES = {  # what tells that a package was loaded, where it is not its own name
    "cryptography": "cryptography.hazmat.bindings._rust",
    "opentelemetry-api": "opentelemetry.trace",
    "pydantic-settings": "pydantic_settings",
    "prometheus-client": "prometheus_client",
}
PROCESSES = {
    "client": "mt5relay_gateway",
    "gateway": "mt5relay_gateway.http.server",
    "commands": "mt5relay_gateway.cli.app",
    "worker": "mt5relay_worker.worker, mt5relay_worker.cli",
    "terminal": "mt5relay_worker.terminal.host",
}


def requirements_of(extra: str | None) -> Iterator[Requirement]:
    """The direct dependencies, with those of the project's own extras that an extra names."""
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for line in lines:
        found = Requirement(line)
        if found.name != PROJECT["name"]:
            yield found
        for inner in found.extras if found.name == PROJECT["name"] else ():
            yield from requirements_of(inner)


def pinned(file: str) -> dict[str, list[Version]]:
    """Versions by name; several where the markers differ."""
    text = (ROOT / file).read_text("utf-8").replace("\\\n", " ")
    found: dict[str, list[Version]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, version = re.match(r"([^=\[]+)(?:\[.*?\])?==(\S+)", line).groups()  # type: ignore[union-attr]
            found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


@pytest.mark.parametrize(("file", "extra"), ROLES.items())
def test_every_dependency_is_pinned_to_a_version_that_the_project_allows(
    file: str, extra: str
) -> None:
    found = pinned(file)
    for wanted in [*requirements_of(None), *requirements_of(extra)]:
        versions = found.get(canonicalize_name(wanted.name), [])
        assert versions, f"{wanted.name} is not in {file}: {REMEDY}"
        for version in versions:
            assert version in wanted.specifier, f"{wanted} is {version} in {file}: {REMEDY}"


@pytest.mark.parametrize("file", ROLES)
def test_every_line_has_hashes_and_none_names_an_index(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert "python3 deploy/lock.py" in text.splitlines()[0]
    assert "://" not in text
    for line in text.replace("\\\n", " ").splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"\S+==\S+ (; .*?)?( *--hash=sha256:[0-9a-f]{64})+ *", line), line


def test_no_role_has_what_only_tests_need() -> None:
    deployed = {*pinned("deploy/gateway/requirements.txt")}
    deployed |= {*pinned("deploy/windows/requirements.txt")}
    assert deployed.isdisjoint({"pytest", "hypothesis", "fakeredis", "mypy", "fastapi", "httpx"})
    assert "cryptography" in deployed


def table_rows(heading: str) -> list[list[str]]:
    """The rows of the table below a heading of DEPENDENCIES.md."""
    text = (ROOT / "DEPENDENCIES.md").read_text("utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_dependency_has_its_reason() -> None:
    every = {row[0] for row in table_rows("Every installation")}
    assert every == {one.name for one in requirements_of(None)}
    extras = {(row[0], row[1]) for row in table_rows("Extras")}
    own = {
        (one.name, extra)
        for extra in ("metatrader5", "http", "otel", "demo")
        for one in map(Requirement, PROJECT["optional-dependencies"][extra])
        if one.name != PROJECT["name"]
    }
    assert extras == own
    for row in (*table_rows("Every installation"), *table_rows("Extras")):
        assert len(row[-4]) > 10, f"{row[0]}: why is it there?"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_loads_no_dependency_that_is_not_said_to_be_its_own(process: str) -> None:
    rows = [*table_rows("Every installation"), *table_rows("Extras")]
    watched = {row[0]: MODULES.get(row[0], row[0]) for row in rows}
    code = f"import sys, {PROCESSES[process]}\nprint(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(ran.stdout.split())
    found = {name for name, module in watched.items() if module in loaded}
    said = {row[0] for row in rows if process in row[-3].split(", ")}
    assert found <= said
    assert "msgspec" in found
