"""The guide as a script: its blocks of `bash`, and what a rehearsal puts in place of what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What the page `deploy/README.md` says under `Rehearse`, and nothing else.
PLACES = re.compile(
    r"(?<![\w./~])/(?=etc/mt5relay|etc/systemd/system|opt/mt5|run/mt5relay|var/lib/mt5relay)"
)
PORTS = (6380, 8080)

_HEADING = re.compile(r"^#+ (.+)$")
_FENCE = re.compile(r"^```(\w*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is that of its first command."""

    language: str
    text: str
    heading: str
    line: int

    def __str__(self) -> str:
        return f"{self.heading!r}, the block at line {self.line}"


@dataclass(frozen=True)
class Substitutions:
    """Other places and ports for the guide's. `root` stands for `/` of a host."""

    root: Path
    ports: Mapping[int, int] = field(default_factory=dict[int, int])

    def apply(self, text: str) -> str:
        """The text with the rehearsal's places and ports."""
        moved = PLACES.sub(f"{self.root}/", text)
        for guide, here in self.ports.items():
            moved = re.sub(rf"\b{guide}\b", str(here), moved)
        return moved

    def apply_below(self, directory: Path) -> None:
        """Apply to every text file; scratch copies only."""
        for file in directory.rglob("*"):
            if file.is_file():
                try:
                    before = file.read_text("utf-8")
                except UnicodeDecodeError:
                    continue
                if (after := self.apply(before)) != before:
                    file.write_text(after, "utf-8")


def blocks_of(page: str) -> Iterator[Block]:
    """Every fenced block of a page of Markdown, in order."""
    heading, language, lines, first = "", None, list[str](), 0
    for number, line in enumerate(page.splitlines(), 1):
        if language is None:
            if match := _HEADING.match(line):
                heading = match[1]
            elif match := _FENCE.match(line):
                language, lines, first = match[1], [], number + 1
        elif line == "```":
            yield Block(language, "\n".join(lines) + "\n", heading, first)
            language = None
        else:
            lines.append(line)


def script_of(page: str) -> list[Block]:
    """The blocks that a rehearsal carries out."""
    return [block for block in blocks_of(page) if block.language == "bash"]
