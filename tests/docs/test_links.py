"""Every link of every page leads somewhere, and the reader's path is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
NOT_OURS = {
    ".run",
    ".git",
    ".venv",
    "node_modules",
    ".hypothesis",
    ".pytest_cache",
    "build",
    "dist",
}
PATH = [  # in the order in which a newcomer reads
    "README.md",
    "deploy/README.md",
    "deploy/RUNBOOK.md",
    "shared/README.md",
    "docs/ARCHITECTURE.md",
]
FIRST_SCREEN = 35  # lines


def pages() -> list[Path]:
    found = [
        page for page in ROOT.rglob("*.md") if not NOT_OURS & set(page.relative_to(ROOT).parts)
    ]
    return sorted(found)


def links_of(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    return [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|srcset)="([^"]+)"', text)]


def leads_somewhere(page: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors_of(target))


def anchors_of(page: Path) -> set[str]:
    """As the usual web views of a repository make them of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    linked = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in linked]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [link for link in links_of(page) if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PATH[1:])
def test_each_page_of_the_path_is_linked_from_the_first(page: str) -> None:
    assert page in {link.partition("#")[0] for link in links_of(ROOT / PATH[0])}


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        local = (link.partition("#")[0] for link in links_of(page) if "://" not in link)
        ahead += [(page.parent / one).resolve() for one in local if one]
    lost = {str(page.relative_to(ROOT)) for page in pages() if page not in seen}
    assert {page for page in lost if not page.startswith("tests/")} == set()


def test_the_first_screen_says_what_it_is_for_whom_and_how_to_try_it() -> None:
    top = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:FIRST_SCREEN])
    for needed in ("account look-ups", "For whom", "python3 run.py demo"):
        assert needed in top


def test_the_architecture_fits_into_one_sitting() -> None:
    assert len((ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8").splitlines()) <= 200


def test_a_link_that_leads_nowhere_is_noticed() -> None:
    page = ROOT / "README.md"
    assert not leads_somewhere(page, "deploy/NOWHERE.md")
    assert not leads_somewhere(page, "#nowhere")
    assert leads_somewhere(page, "deploy/RUNBOOK.md#circuit_open")
