"""The differences that the README lists are those that the comparison under Windows allows."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import cast

from mt5relay_worker.simulator import pipe

README = Path(pipe.__file__).parent / "README.md"
COMPARISON = Path(__file__).parents[4] / "deploy" / "wine" / "real_package.py"


def listed() -> list[str]:
    section = README.read_text("utf-8").partition("## Where the two faces differ")[2]
    return re.findall(r"^\| ([^|]+?) \|", section.partition("\n## ")[0], re.MULTILINE)[1:]


def constant(name: str) -> object:
    """Read, not imported: the script changes where Python looks for modules."""
    for statement in ast.parse(COMPARISON.read_text("utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return ast.literal_eval(value)
            case _:
                continue
    raise LookupError(name)


def test_every_listed_difference_is_allowed_and_no_other() -> None:
    known = set(cast("dict[str, str]", constant("KNOWN")).values())
    not_compared = cast("set[str]", constant("NOT_COMPARED"))
    assert sorted(known | not_compared) == sorted(listed())
    assert not known & not_compared
