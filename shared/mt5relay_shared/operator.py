"""What an operator and a running worker say to each other: commands, events, who waits."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from mt5relay_shared.decoding import TimeMs

CommandId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
CommandAccount = Annotated[str, msgspec.Meta(max_length=128)]
CommandName = Literal["breaker.reset", "breaker.probe", "account.unlock"]


class OperatorCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the commands stream. The event of the same id says what came of it.

    `account`, as `login@server`, is whom `account.unlock` is about.
    """

    id: CommandId
    command: CommandName
    account: CommandAccount | None = None


class Turn(msgspec.Struct, frozen=True):
    """A value of the hash `queue`: how many wait for an account, since when, and by when they will
    probably have been answered. Times in Redis server time."""

    waiting: int
    since_ms: TimeMs
    by_ms: TimeMs


class Event(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"source": "from", "target": "to"}
):
    """An entry of the events stream. `at_ms` is Redis server time; what does not apply is None."""

    at_ms: TimeMs
    kind: str
    source: str | None = None
    target: str | None = None
    detail: str | None = None
    cause: str | None = None
    id: str | None = None
    command: str | None = None
    result: str | None = None
    message: str | None = None
