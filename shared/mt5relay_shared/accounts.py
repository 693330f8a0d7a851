"""Who an account is: a login number at a broker's server."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import msgspec

from mt5relay_shared.errors import MT5ValidationError

MAX_LOGIN = (
    2**63 - 1
)  # the package sends an unsigned 64-bit number; JSON readers elsewhere are signed
MAX_SERVER_UNITS = 63  # UTF-16 units: the terminal's record holds 64 with the final NUL
MAX_PASSWORD_UNITS = 128  # far above the 16 that brokers allow; keeps an envelope small


class AccountId(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """The identity that is compared before and after every read: (server, login).

    Spelled `login@server`, e.g. `25115284@MetaQuotes-Demo`.
    """

    login: int
    server: str

    def __post_init__(self) -> None:
        check_login(self.login)
        check_server(self.server)

    @classmethod
    def parse(cls, text: str) -> AccountId:
        """Read `login@server`.

        Raises:
            MT5ValidationError: naming what is wrong and the form that is expected.
        """
        return _parsed(text)

    def __str__(self) -> str:
        return f"{self.login}@{self.server}"


@lru_cache(maxsize=4096)  # the same accounts are asked for again and again
def _parsed(text: str) -> AccountId:
    login, at, server = text.partition("@")
    if not at or not login.isascii() or not login.isdigit() or len(login) > len(str(MAX_LOGIN)):
        raise MT5ValidationError(
            f"account: {shorten(text)!r} is not LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo"
        )
    return AccountId(int(login), server)


def check_login(login: int) -> None:
    if not 1 <= login <= MAX_LOGIN:
        raise MT5ValidationError(f"login: {login} is not between 1 and {MAX_LOGIN}")


@lru_cache(maxsize=256)  # a broker has few servers, and each answer names one
def check_server(server: str) -> None:
    if not server or server != server.strip():
        raise MT5ValidationError(
            "server: give the broker's server name as the terminal shows it, without outer spaces"
        )
    if "@" in server or _has_control_characters(server):
        raise MT5ValidationError(f"server: {shorten(server)!r} has a character that no server has")
    if _utf16_units(server) > MAX_SERVER_UNITS:
        raise MT5ValidationError(
            f"server: {shorten(server)!r} is longer than {MAX_SERVER_UNITS} characters"
        )


def check_password(password: str) -> None:
    """Refuse what the package would refuse or silently change. Never quotes the password."""
    _check_usable(password)


def check_entered_password(password: str) -> None:
    """As `check_password`, and refuse what a person can't have meant to enter.

    Only where a password comes in: one that was sealed before must stay usable.
    """
    _check_usable(password)
    if _has_invisible_characters(password) or password != password.strip():
        raise MT5ValidationError(
            "password: it has an invisible character or a space at an end (perhaps from a pipe or a"
            " copied text, with a byte order mark); type it"
        )
    if "\ufffd" in password or password.startswith("\u00ef\u00bb\u00bf"):
        raise MT5ValidationError(
            "password: it was read in the wrong encoding; pipe it as UTF-8, or type it"
        )


def _check_usable(password: str) -> None:
    if not password:
        raise MT5ValidationError("password: it is empty; the terminal would use a saved one")
    if _has_control_characters(password):
        raise MT5ValidationError("password: it has a control character, perhaps a line break")
    if _utf16_units(password) > MAX_PASSWORD_UNITS:
        raise MT5ValidationError(f"password: it is longer than {MAX_PASSWORD_UNITS} characters")


def shorten(text: str, limit: int = 80) -> str:
    """Quote foreign text in an error without letting it fill the log."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def _has_control_characters(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


_FILLERS = frozenset("\u115f\u1160\u3164\ufe0e\ufe0f\uffa0\ufffe")


def _has_invisible_characters(text: str) -> bool:
    """Byte order marks, zero-width characters, fillers, and every space but the plain one."""
    return any(
        character in _FILLERS
        or (character != " " and unicodedata.category(character) in ("Cf", "Zs", "Zl", "Zp"))
        for character in text
    )


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
