"""Bearer tokens: what they may do, how they are made, and how one is recognised.

A token is `mt5relay_<id>_<secret>`. Only the SHA-256 of the whole text is kept: the secret has 256
random bits, so a slow hash would protect nothing more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.secret import Secret

MAX_PATTERNS = 100
MAX_PATTERN = 128  # characters
MAX_TOKEN = 128  # characters; more is refused unread
MAX_RATE = 1_000_000  # requests a second

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_TOKEN = re.compile(r"mt5relay_([0-9a-f]{16})_")
_NOBODY = "0" * 64  # compared with, where a token's id is unknown


class Scope(StrEnum):
    """What a token may do: ask, change credentials, command the worker."""

    READ = "read"
    ENROLL = "enroll"
    OPERATE = "operate"


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a token. `accounts` are patterns with `*` and `?`; none means every account.

    `rate` is requests a second: 0 for no limit, None for the gateway's default.
    """

    id: str
    name: str
    digest: str
    scopes: tuple[Scope, ...]
    created_at_ms: int
    accounts: tuple[str, ...] = ()
    rate: float | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def may_see(self, account: AccountId | str) -> bool:
        text = str(account)
        return not self.accounts or any(fnmatchcase(text, pattern) for pattern in self.accounts)


def new_token(
    name: str,
    scopes: Collection[Scope],
    now_ms: int,
    *,
    accounts: Collection[str] = (),
    rate: float | None = None,
) -> tuple[Token, Secret]:
    """Make a token: what to keep, and what to hand out once.

    Raises:
        MT5ValidationError: naming the parameter and what it should be.
    """
    _check(name, scopes, accounts, rate)
    token_id = secrets.token_hex(8)
    text = f"mt5relay_{token_id}_{secrets.token_urlsafe(32)}"
    kept = Token(
        id=token_id,
        name=name,
        digest=_digest(text),
        scopes=tuple(sorted(set(scopes))),
        created_at_ms=now_ms,
        accounts=tuple(accounts),
        rate=rate,
    )
    return kept, Secret(text)


def _check(
    name: str, scopes: Collection[Scope], accounts: Collection[str], rate: float | None
) -> None:
    if not _NAME.match(name):
        raise MT5ValidationError(
            f"name: {name[:80]!r} is not 1 to 64 letters, digits, dots, dashes or underscores"
        )
    if not scopes:
        raise MT5ValidationError(f"scopes: give at least one of {', '.join(Scope)}")
    if len(accounts) > MAX_PATTERNS:
        raise MT5ValidationError(f"accounts: more than {MAX_PATTERNS} patterns")
    for pattern in accounts:
        if not pattern or len(pattern) > MAX_PATTERN:
            raise MT5ValidationError(
                f"accounts: a pattern has 1 to {MAX_PATTERN} characters, e.g. *@MetaQuotes-Demo"
            )
    if rate is not None and not 0 <= rate <= MAX_RATE:
        raise MT5ValidationError(f"rate: {rate} is not between 0 and {MAX_RATE} requests a second")


def recognised(known: Mapping[str, Token], text: str) -> Token | None:
    """The token that a caller presents, in a time that tells nothing about the right one."""
    if len(text) > MAX_TOKEN:
        return None
    token = known.get(token_id(text))
    kept = token.digest if token else _NOBODY
    is_genuine = hmac.compare_digest(_digest(text).encode(), kept.encode())
    return token if is_genuine else None


def token_id(text: str) -> str:
    """The part of a token that is no secret; empty where it is none."""
    match = _TOKEN.match(text)
    return match[1] if match else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


ANYBODY = Token(  # where authentication is off
    id="anybody", name="anybody", digest=_NOBODY, scopes=tuple(Scope), created_at_ms=0
)
