"""Looks at a server as a user who may not see everything: what is refused is said, not raised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from redis import exceptions as foreign
from redis.asyncio import Redis

from mt5relay_gateway.batch import filled
from mt5relay_shared.scripts import Argument

T_co = TypeVar("T_co", covariant=True)
ResultT = TypeVar("ResultT")

_REFUSED_COMMAND = re.compile(r"'([\w|-]+)' command")


class NotSeenError(Exception):
    """What was asked of a look that saw nothing."""

    def __init__(self, unseen: Unseen) -> None:
        super().__init__(unseen.reason)
        self.unseen = unseen


@dataclass(frozen=True, slots=True)
class Seen(Generic[T_co]):
    """What was seen."""

    value: T_co

    def then(self, read: Callable[[T_co], ResultT]) -> Look[ResultT]:
        """What it says when it is read; unreadable is not seen."""
        try:
            return Seen(read(self.value))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return Unseen(f"the answer can't be read ({type(error).__name__})")


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why nothing was seen."""

    reason: str
    is_refused: bool = False

    @property
    def value(self) -> Any:  # noqa: ANN401 - there is none
        raise NotSeenError(self)

    def then(self, read: Callable[..., object]) -> Unseen:
        del read
        return self


Look = Seen[T_co] | Unseen
Command = tuple[Argument, ...]

_AT_ONCE = 500  # commands in one pipeline

UNREACHED = Unseen("Redis was not reached")


class Looks:
    """Asks one server, as one user."""

    def __init__(self, redis: Redis, user: str) -> None:
        self._redis: Any = redis  # redis-py types its answers for every protocol at once
        self._user = user

    async def at(self, *command: Argument) -> Look[Any]:
        """The answer, or why there is none: refused to this user, failed, or no connection."""
        try:
            return Seen(await self._redis.execute_command(*command))
        except foreign.RedisError as error:
            return self._unseen(command, error)

    async def at_each(self, commands: Sequence[Command]) -> list[Look[Any]]:
        """As `at`, of many commands in few round trips."""
        looks: list[Look[Any]] = []
        for first in range(0, len(commands), _AT_ONCE):
            asked = commands[first : first + _AT_ONCE]
            looks += map(self._look, asked, await self._answers(asked))
        return looks

    async def _answers(self, commands: Sequence[Command]) -> Sequence[object]:
        pipeline = filled(self._redis.pipeline(transaction=False), *commands)
        try:
            return cast("Sequence[object]", await pipeline.execute(raise_on_error=False))
        except foreign.RedisError as error:
            return [error] * len(commands)

    def _look(self, command: Command, answer: object) -> Look[Any]:
        if isinstance(answer, foreign.RedisError):
            return self._unseen(command, answer)
        return Seen(answer)

    def _unseen(self, command: Command, error: foreign.RedisError) -> Unseen:
        match error:
            case foreign.NoPermissionError():
                named = _REFUSED_COMMAND.search(str(error))
                what = named.group(1) if named else str(command[0]).lower()
                return Unseen(f"user {self._user} may not {what.replace('|', ' ')}", True)
            case foreign.ResponseError():
                return Unseen(f"Redis says to {command[0]!s}: {error}")
            case _:
                return Unseen(f"Redis did not answer: {error}")


def texts(answer: object) -> dict[str, str]:
    """A hash of bytes as text; what is no UTF-8 is replaced."""
    found = cast("Mapping[bytes, bytes]", answer)
    return {text(name): text(value) for name, value in found.items()}


def text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
