"""Every Redis key, spelled once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError

WORKER_GROUP = "worker"
WORKER_CONSUMER = "worker"  # one consumer: what one worker left pending, the next finds as its own

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")
_TERMINAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


def check_terminal_id(terminal: str) -> str:
    """Return the id, or raise: it becomes part of a hash tag, so braces and colons are out."""
    return _checked("terminal", terminal, _TERMINAL_ID, 64)


def check_prefix(prefix: str) -> str:
    """Return the first part of every key, or raise: likewise a part of the hash tag."""
    return _checked("key_prefix", prefix, _PREFIX, 32)


def _checked(parameter: str, text: object, pattern: re.Pattern[str], most: int) -> str:
    if not isinstance(text, str) or not pattern.match(text):
        raise MT5ValidationError(
            f"{parameter}: {text!r:.80} is not 1 to {most} letters, digits, dots,"
            " dashes or underscores"
        )
    return text


@dataclass(frozen=True)
class Keys:
    """The keys of one terminal. All share one hash tag, so a script may touch them together."""

    terminal: str
    prefix: str = "mt5"
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        check_terminal_id(self.terminal)
        check_prefix(self.prefix)
        object.__setattr__(self, "tag", f"{{{self.prefix}:{self.terminal}}}")

    @property
    def requests(self) -> str:
        return f"{self.tag}:requests"

    @property
    def commands(self) -> str:
        return f"{self.tag}:commands"

    def request(self, request_id: str) -> str:
        return f"{self.tag}:request:{request_id}"

    def reply(self, request_id: str) -> str:
        return f"{self.tag}:reply:{request_id}"

    def replies(self, gateway: str) -> str:
        return f"{self.tag}:replies:{gateway}"

    def snapshot(self, account: AccountId | str) -> str:
        return f"{self.tag}:snapshot:{account}"

    @property
    def accounts(self) -> str:
        return f"{self.tag}:accounts"

    @property
    def sealing_key(self) -> str:
        return f"{self.tag}:sealing-key"

    @property
    def lease(self) -> str:
        return f"{self.tag}:lease"

    @property
    def fence(self) -> str:
        return f"{self.tag}:fence"

    @property
    def running(self) -> str:
        return f"{self.tag}:running"

    @property
    def health(self) -> str:
        return f"{self.tag}:health"

    @property
    def queue(self) -> str:
        return f"{self.tag}:queue"

    @property
    def logins(self) -> str:
        return f"{self.tag}:logins"

    @property
    def timings(self) -> str:
        return f"{self.tag}:timings"

    @property
    def shares(self) -> str:
        return f"{self.tag}:shares"

    @property
    def events(self) -> str:
        return f"{self.tag}:events"

    @property
    def dead(self) -> str:
        return f"{self.tag}:dead"


@dataclass(frozen=True)
class FleetKeys:
    """The registry of terminals that serve accounts together. All share one hash tag."""

    prefix: str = "mt5"
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        object.__setattr__(self, "tag", f"{{{self.prefix}}}")

    @property
    def version(self) -> str:
        return f"{self.tag}:version"

    @property
    def terminals(self) -> str:
        return f"{self.tag}:terminals"

    @property
    def pins(self) -> str:
        return f"{self.tag}:pins"

    @property
    def tokens(self) -> str:
        return f"{self.tag}:tokens"

    def submitted(self, request_id: str) -> str:
        return f"{self.tag}:submitted:{request_id}"

    @property
    def webhooks(self) -> str:
        return f"{self.tag}:webhooks"

    def webhook_claim(self, request_id: str) -> str:
        return f"{self.tag}:webhook-claim:{request_id}"

    def undelivered(self, request_id: str) -> str:
        return f"{self.tag}:undelivered:{request_id}"
