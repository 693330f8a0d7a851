"""What the users of `deploy/redis/users.acl` may do to which keys, read from the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

USERS = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
READING = frozenset(
    {
        *("exists", "get", "hget", "hgetall", "hkeys", "hlen", "hmget", "mget", "pttl"),
        *("xinfo|groups", "xlen", "xpending", "xrange", "xread", "xrevrange"),
        *("zrangebyscore", "zscore", "zcard", "type", "scan", "strlen", "memory|usage"),
    }
)


class Rule(NamedTuple):
    """A selector: what may be done to keys of one pattern."""

    pattern: str
    commands: tuple[str, ...]


@dataclass
class Grants:
    """What one user may do to keys; `access` is `reads` or `writes`."""

    rules: list[Rule] = field(default_factory=list[Rule])

    def patterns(self) -> list[str]:
        return list(dict.fromkeys(rule.pattern for rule in self.rules))

    def commands(self, key: str, access: str) -> list[str]:
        """Those for a key, or for a pattern itself."""
        wanted = access == "reads"
        return [
            command
            for rule in self.rules
            if key == rule.pattern or fnmatchcase(key, rule.pattern)
            for command in rule.commands
            if (command in READING) is wanted
        ]


def grants(file: Path = USERS) -> dict[str, Grants]:
    """By user. Rules outside of selectors name the keys of scripts, and are left out."""
    found: dict[str, Grants] = {}
    for line in file.read_text("utf-8").splitlines():
        _, user, rest = line.split(" ", 2)
        found[user] = Grants([rule for one in _selectors(rest) for rule in _rules(one)])
    return {user: given for user, given in found.items() if given.rules}


def _selectors(rest: str) -> Iterator[str]:
    for match in re.finditer(r"\(([^()]*)\)", rest):
        yield match[1]


def _rules(selector: str) -> Iterator[Rule]:
    words = selector.split()
    commands = tuple(word[1:] for word in words if word.startswith("+"))
    for word in words:
        if (place := word.find("~")) >= 0:
            yield Rule(word[place + 1 :], commands)
