"""The runbook and the guide: every alert and code has its entry, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.conftest import DEPLOY, ROOT, yaml_documents

from mt5relay_gateway.cli.app import app
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_shared.errors import ERROR_CODES
from mt5relay_shared.settings import variable_of
from mt5relay_worker.settings import WorkerSettings

pytestmark = pytest.mark.integration

RUNBOOK = DEPLOY / "RUNBOOK.md"
PAGES = [RUNBOOK, *sorted(DEPLOY.glob("**/README.md"))]
IDS = [str(page.relative_to(DEPLOY)) for page in PAGES]
PARTS = ("**Meaning.**", "**First look.**", "**Remedy.**")
NOT_SETTINGS = {"MT5_TERMINAL_", *ERROR_CODES}


def entries() -> dict[str, str]:
    """The text under each third heading."""
    parts = re.split(r"^### (\S+)$", RUNBOOK.read_text("utf-8"), flags=re.M)[1:]
    texts = [re.split(r"^# ", text, flags=re.M)[0] for text in parts[1::2]]
    return dict(zip(parts[::2], texts, strict=True))


def alerts() -> set[str]:
    (found,) = yaml_documents(DEPLOY / "prometheus" / "rules.yml")
    return {rule["alert"] for group in found["groups"] for rule in group["rules"]}


def settings() -> set[str]:
    return {
        variable_of(kind, name)
        for kind in (HttpSettings, WorkerSettings)
        for name in kind.model_fields
    }


def test_every_alert_and_every_error_code_has_an_entry_and_nothing_else_has() -> None:
    assert set(entries()) == alerts() | set(ERROR_CODES)


@pytest.mark.parametrize("name", sorted(entries()))
def test_an_entry_says_what_it_means_where_to_look_and_what_mends_it(name: str) -> None:
    text = entries()[name]
    at = [text.find(part) for part in PARTS]
    assert -1 not in at
    assert at == sorted(at)
    assert all(len(said.strip()) > 10 for said in re.split(r"\*\*[\w ]+\.\*\*", text)[1:])


def test_every_refusal_of_the_http_gateway_has_its_row() -> None:
    pytest.importorskip("starlette", reason="pip install 'mt5relay[http]'")
    from mt5relay_gateway.http.problems import OWN_CODES

    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", RUNBOOK.read_text("utf-8"), flags=re.M))
    assert rows == set(OWN_CODES)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_exists(page: Path) -> None:
    """`mt5relay WORD [WORD]`, wherever a page names it."""
    named = re.findall(r"(?<![\w/.-])mt5relay ([a-z-]+)(?: ([a-z]+))?", code_in(page))
    unknown = [words for words in named if not is_command(*words)]
    assert unknown == []


def is_command(group: str, word: str) -> bool:
    commands: Any = app
    if group not in commands:
        return False
    known = [name for name in commands[group] if not name.startswith("-")]
    return not known or word in ("", *known)


def code_in(page: Path) -> str:
    """What stands between backticks, in lines of their own or not."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"```[^\n]*\n(.*?)```", text, flags=re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return "\n".join([*blocks, *spans])


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_setting_exists(page: Path) -> None:
    named = set(re.findall(r"\bMT5_[A-Z_]+\b", page.read_text("utf-8")))
    assert named - settings() - NOT_SETTINGS == set()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    broken = [link for link in links if not leads_somewhere(page, link)]
    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    if "://" in link:
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or anchor in anchors_of(target)


def anchors_of(page: Path) -> set[str]:
    """As the usual web views of a repository make them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`(deploy/[\w./@-]+)`", page.read_text("utf-8"))
    made = ("deploy/secrets", "deploy/installer")
    missing = [one for one in named if not one.startswith(made) and not (ROOT / one).exists()]
    assert missing == []
