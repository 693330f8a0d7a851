"""What SECURITY.md says is so: the limits are the code's, and the tests that it names are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
LIMITS = re.findall(r"^\| [^|]+ \| (?:about )?(\d+)[^|]* \| `([\w.]+)\.([A-Z_]+)` \|$", PAGE, re.M)


def test_the_page_has_a_limit_for_each_input() -> None:
    rows = PAGE.split("| input | limit | constant |")[1].split("\n\n")[0].strip().splitlines()
    assert len(LIMITS) == len(rows) - 1  # the line below the heading
    assert len(LIMITS) > 25


@pytest.mark.parametrize(("limit", "module", "name"), LIMITS, ids=[name for *_, name in LIMITS])
def test_a_limit_is_the_codes(limit: str, module: str, name: str) -> None:
    assert float(getattr(importlib.import_module(module), name)) == float(limit)


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", PAGE))
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_file_that_is_linked_is_there() -> None:
    linked = set(re.findall(r"\]\(([\w/.]+)\)", PAGE))
    assert [name for name in sorted(linked) if not (ROOT / name).exists()] == []


def test_each_of_the_readers_limits_is_on_the_page() -> None:
    """A limit of what is decoded that somebody adds is to be told too."""
    for module in ("mt5relay_shared.messages", "mt5relay_shared.decoding"):
        for name in vars(importlib.import_module(module)):
            if name.startswith("MAX_") and name != "MAX_UTC_OFFSET":
                assert f"`{module}.{name}`" in PAGE, name


def test_a_reply_may_be_as_large_as_what_the_terminal_process_may_send() -> None:
    from mt5relay_shared.messages import MAX_REPLY_BYTES
    from mt5relay_worker.terminal.host import VISIT_BUDGET_BYTES
    from mt5relay_worker.terminal.protocol import MAX_FRAME_BYTES

    assert VISIT_BUDGET_BYTES < MAX_FRAME_BYTES <= MAX_REPLY_BYTES
