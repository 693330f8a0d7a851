"""Who types what a page shows, line by line, gets what the page says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from tests.docs.pages import Block, Command
from tests.docs.plays import PLAYED, play, runnable

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="the commands are a shell's"),
    pytest.mark.skipif(not shutil.which("redis-cli"), reason="on Debian, install redis-tools"),
    pytest.mark.skipif(not shutil.which("curl"), reason="on Debian, install curl"),
    pytest.mark.integration,
]


@pytest.mark.parametrize("page", PLAYED, ids=lambda page: page.parent.name)
def test_who_types_the_page_gets_what_it_shows(page: Path, tmp_path: Path) -> None:
    steps = runnable(page)
    if not steps:
        pytest.skip("the page has nothing to run")
    played = play(steps, tmp_path, PLAYED[page])
    assert played.status == 0, played.out[-6000:]
    for one, printed in zip(steps, played.printed(), strict=True):
        if isinstance(one, Block):
            assert "Traceback" not in "\n".join(printed)
        elif one.shown:
            assert first_difference(one, printed) is None


def first_difference(command: Command, printed: list[str]) -> str | None:
    """The first shown line that was not printed, in order; figures and names of this run aside."""
    left = [masked(line) for line in printed]
    for shown in command.shown:
        if shown.strip() == "…":
            continue
        wanted = re.escape(masked(shown).removesuffix("…").rstrip())
        matching = [at for at, line in enumerate(left) if re.match(wanted, line)]
        if not matching:
            return f"{shown!r} was not printed, but:\n" + "\n".join(printed)
        left = left[matching[0] + 1 :]
    return None


def masked(line: str) -> str:
    """Without what differs from run to run: ids, numbers, folders, spaces, what is busy now."""
    line = re.sub(r"\b[0-9a-f]{32}\b", "ID", line)
    line = re.sub(r"/\S*/mt5relay-demo-\w+", "FOLDER", line)
    line = re.sub(r"\b(switching|idle|reading|starting)\b", "BUSY", line)
    line = re.sub(r"\baccount (?:\d+@[\w-]+|-)$", "account SOMEBODY", line)
    line = re.sub(r"\bp(50|95) (?:[\d.]+ s|-)", r"p\1 TIME", line)
    line = re.sub(r"^(\d+@[\w-]+) .*", r"\1", line)  # the rest of a row are figures
    line = re.sub(r"(?<![@\w])[\d.,]*\d\b", "0", line)
    return " ".join(line.split())


def test_the_comparison_notices_what_is_not_printed() -> None:
    shown = ("store: origin bundled Valkey, terminal demo", "accounts: enrolled 25", "…")
    block = Block(next(iter(PLAYED)), 1, "console", "")
    command = Command(block, "x", shown)
    assert first_difference(command, ["store: origin bundled Valkey, terminal demo"]) is not None
    assert first_difference(command, [*shown[:2], "more"]) is None
    assert first_difference(command, [shown[1], shown[0]]) is not None
