"""What the command and its measuring process say to each other: JSON, one message a line.

The passwords cross here and nowhere else, from the command to the process. Nothing that comes back
names an account but by its number in the plan, or holds anything of an account's data. Times are
seconds; `at` counts from the beginning of the plan.
"""

from __future__ import annotations

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.secret import Secret
from mt5relay_worker.probe.planning import Kind


class Credential(msgspec.Struct, frozen=True):
    """Its `repr` does not show the password."""

    login: int
    server: str
    password: str

    @property
    def account(self) -> AccountId:
        return AccountId(self.login, self.server)

    @property
    def secret(self) -> Secret:
        return Secret(self.password)

    def __repr__(self) -> str:
        return f"<Credential {self.login}@{self.server}>"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. No login begins after `time_limit`.

    `pause` is between two logins, `watch` is how long the terminal is looked at after one, `poll`
    between two looks; `attaches` is how often it is let go of and attached to again at the end.
    """

    credentials: list[Credential]
    logins: int
    pause: float
    watch: float
    time_limit: float
    attaches: int
    poll: float = 0.02


class Failure(msgspec.Struct, frozen=True):
    """What `last_error()` said of calls that returned None or False; the text without names."""

    call: str
    code: int
    text: str
    times: int = 1


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The terminal is ours, and the package is there. Nothing was called yet."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """There will be no probe."""

    message: str


class Doing(msgspec.Struct, frozen=True, tag="doing"):
    """What comes next, and after how many seconds without a word it must be taken to hang."""

    what: str
    limit: float
    login: int = 0
    account: int | None = None
    kind: Kind | None = None


class Attached(msgspec.Struct, frozen=True, tag="attached", kw_only=True):
    """`again` for those after the first, which may have started the terminal. `silence` is the
    longest time in which no other thread of the process ran."""

    at: float
    again: bool
    took: float
    is_done: bool
    silence: float | None = None
    build: int | None = None
    package: str | None = None
    has_journal: bool = False
    failures: list[Failure] = []


class LoggedIn(msgspec.Struct, frozen=True, tag="logged_in", kw_only=True):
    """`reason` is the journal's, of a login that failed."""

    at: float
    account: int
    kind: Kind
    took: float
    is_done: bool
    silence: float | None = None
    failures: list[Failure] = []
    reason: str = ""


class Watched(msgspec.Struct, frozen=True, tag="watched", kw_only=True):
    """Seconds from the login's return until it was seen, None where it was not.

    `lists` is the last change of how many positions and orders there are, `identity` where they
    never changed. `nobody_until` and `old_until` are when the account was seen to be no longer
    None, and no longer the old one, both None where that was never seen.
    """

    at: float
    identity: float | None
    margin: float | None
    lists: float | None
    journal: float | None
    has_lists: bool
    nobody_until: float | None
    old_until: float | None
    lost_account: bool
    failures: list[Failure] = []


class ReadAll(msgspec.Struct, frozen=True, tag="read_all", kw_only=True):
    """How long each call of a reading of everything took, by the package's function."""

    at: float
    took: dict[str, list[float]]
    failures: list[Failure] = []


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """`complete` if everything that was planned was measured; `why` says what ended it, and
    `failures` what failed last, where that is in no other event."""

    complete: bool
    why: str
    at: float = 0.0
    failures: list[Failure] = []


Event = Ready | Refused | Doing | Attached | LoggedIn | Watched | ReadAll | Finished

plan_decoder: msgspec.json.Decoder[Plan] = msgspec.json.Decoder(Plan)
event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def line(message: Plan | Event) -> bytes:
    return msgspec.json.encode(message) + b"\n"
