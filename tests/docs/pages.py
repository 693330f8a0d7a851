"""What stands in fenced blocks of the documentation, and the commands among it.

A block is marked with what it is: `sh` holds commands; `console` commands behind `$ ` and what they
print; `python` and `json` speak for themselves. A block without a mark is a drawing or a text,
but one in which every line begins with one of our programs holds commands too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(ROOT / folder / "README.md" for folder in ("shared", "gateway", "worker", "bench")),
    *sorted((ROOT / "tests").glob("*/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
"""`tests/deploy` and the rehearsal have those of `deploy/`."""

OURS = ("mt5relay", "mt5relay-worker", "python3 run.py")
COMMANDS = ("sh", "bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its opening fence."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def has_commands(self) -> bool:
        if self.language:
            return self.language in COMMANDS
        lines = [line for line in self.text.splitlines() if line.strip()]
        return bool(lines) and all(
            line.startswith(tuple(f"{one} " for one in OURS)) for line in lines
        )


@dataclass(frozen=True)
class Command:
    """A command as it stands there, without prompt and comment, and what is shown as its output."""

    block: Block
    text: str
    shown: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.block.place}: {self.text}"


def blocks(page: Path) -> Iterator[Block]:
    fence = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```$", flags=re.M | re.S)
    text = page.read_text("utf-8")
    for found in fence.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def commands(block: Block) -> list[Command]:
    if not block.has_commands:
        return []
    joined = block.text.replace("\\\n", " ")
    if block.language == "console":
        parts = re.split(r"^\$ ", joined, flags=re.M)
        assert not parts[0].strip(), f"{block.place}: it begins without `$ `"
        pairs = [part.partition("\n") for part in parts[1:]]
        return [
            Command(block, without_comment(text), tuple(shown.splitlines()))
            for text, _, shown in pairs
        ]
    lines = [without_comment(line) for line in joined.splitlines()]
    return [Command(block, line) for line in lines if line]


def without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def words_of(text: str) -> list[str]:
    """The words of a command, of the last part of a pipe; what is set before it is left out."""
    tokens = list(shlex.shlex(text, posix=True, punctuation_chars="|;&><()"))
    words = shlex.split(text.rsplit("|", 1)[-1]) if "|" in tokens else shlex.split(text)
    if words and (assigned := re.fullmatch(r"[A-Z_]+=\$\((.*)", text.split(" ", 1)[0])):
        words[0] = assigned[1]
        words = [word.removesuffix(")") for word in words]
    while words and re.fullmatch(r"[A-Z0-9_]+=.*", words[0]):
        words = words[1:]
    return words


def all_commands() -> list[Command]:
    return [one for page in PAGES for block in blocks(page) for one in commands(block)]


def spans(page: Path) -> list[str]:
    """Commands of ours between single backticks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    found = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    return [span for span in found if span.startswith(tuple(f"{one} " for one in OURS))]
