"""The Lua scripts, each a step that must happen as a whole.

Keys and arguments of each stand at the top of its file in `scripts/`. They are called by digest; a
server that has forgotten a script (`SCRIPT FLUSH`, restart) is given the source again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

from redis.exceptions import NoScriptError

Argument = str | bytes | int


class CommandExecutor(Protocol):
    """As much of redis-py's client as a script needs."""

    def execute_command(self, *args: Any, **options: Any) -> Awaitable[Any]: ...  # noqa: ANN401


@dataclass(frozen=True)
class Script:
    """A script's source and its digest."""

    name: str
    source: str
    digest: str

    @classmethod
    def named(cls, name: str) -> Script:
        folder = resources.files("mt5relay_shared") / "scripts"
        source = (folder / f"{name}.lua").read_text("utf-8")
        return cls(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())

    def by_digest(self, keys: Sequence[str], arguments: Sequence[Argument]) -> tuple[Any, ...]:
        """The command that costs forty bytes and fails with NOSCRIPT where it is unknown."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)

    def by_source(self, keys: Sequence[str], arguments: Sequence[Argument]) -> tuple[Any, ...]:
        return ("EVAL", self.source, len(keys), *keys, *arguments)

    async def run(
        self, redis: CommandExecutor, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:  # noqa: ANN401 - each script answers in its own shape
        try:
            return await redis.execute_command(*self.by_digest(keys, arguments))
        except NoScriptError:
            return await redis.execute_command(*self.by_source(keys, arguments))


SUBMIT = Script.named("submit")
BEGIN = Script.named("begin")
COMPLETE = Script.named("complete")
ACQUIRE = Script.named("acquire")
RENEW = Script.named("renew")
RELEASE = Script.named("release")
EXCUSE = Script.named("excuse")
BURY = Script.named("bury")
ANNOUNCE = Script.named("announce")
PUBLISH = Script.named("publish")
RESEAL = Script.named("reseal")

AMEND = Script.named("amend")

ALL = (
    *(SUBMIT, BEGIN, COMPLETE, ACQUIRE, RENEW, RELEASE, EXCUSE, BURY),
    *(ANNOUNCE, PUBLISH, RESEAL, AMEND),
)
