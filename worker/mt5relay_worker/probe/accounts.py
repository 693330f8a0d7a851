"""Whose logins are measured, and their passwords: from a file, or asked for; never arguments."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mt5relay_shared.accounts import AccountId, check_entered_password
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.secret_input import read_secret_line
from mt5relay_worker.probe.messages import Credential

_SHOWN_DIGITS = 4


class ListedAccount(msgspec.Struct, frozen=True):
    """An account of a file; its `repr` does not show the password, which may be missing."""

    login: int
    server: str
    password: str | None = None

    @property
    def account(self) -> AccountId:
        return AccountId(self.login, self.server)

    def __repr__(self) -> str:
        return f"<ListedAccount {self.login}@{self.server}>"


class _File(msgspec.Struct, frozen=True):
    accounts: tuple[ListedAccount, ...]


def read_file(path: Path, *, is_invented: bool = False) -> tuple[ListedAccount, ...]:
    """The accounts of a JSON file: `{"accounts": [{"login": 1, "server": "…", "password": "…"}]}`.

    A simulator's book is one too. Where it holds passwords nobody but its owner may read it, unless
    they are invented; on Windows the folder's permissions decide.

    Raises:
        MT5ValidationError: naming the file and the remedy, never quoting a password.
    """
    try:
        accounts = msgspec.json.decode(path.read_bytes(), type=_File).accounts
        is_open = os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError as error:
        raise MT5ValidationError(f"--accounts: {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MT5ValidationError(f"--accounts: {path}: {error}") from None
    if is_open and not is_invented and any(one.password is not None for one in accounts):
        raise MT5ValidationError(
            f"--accounts: others may read the passwords in {path}; keep it to its owner with"
            f" `chmod 600 {path}`"
        )
    return accounts


def named(texts: Iterable[str]) -> tuple[ListedAccount, ...]:
    """Accounts as `LOGIN@SERVER`.

    Raises:
        MT5ValidationError: naming the one that is none.
    """
    accounts = (AccountId.parse(text) for text in texts)
    return tuple(ListedAccount(account.login, account.server) for account in accounts)


def check_accounts(listed: Sequence[ListedAccount]) -> list[AccountId]:
    """Check everything but missing passwords, before anybody is asked for one.

    Raises:
        MT5ValidationError: there is none, one twice, or one that no terminal could use.
    """
    accounts = [one.account for one in listed]
    if not accounts:
        raise MT5ValidationError(
            "accounts: none is given; name them as LOGIN@SERVER, or a file with --accounts"
        )
    if len(set(accounts)) < len(accounts):
        raise MT5ValidationError("accounts: one is given twice; give each once")
    for one in listed:
        if one.password is not None:
            _check(one.account, one.password)
    return accounts


def with_passwords(listed: Sequence[ListedAccount], *, asks: bool) -> list[Credential]:
    """Every account with its password: the file's, else asked for without echo, or else the next
    line of standard input.

    Raises:
        MT5ValidationError: one is missing, or the terminal could not use it.
    """
    return [
        Credential(
            one.login,
            one.server,
            one.password if one.password is not None else _ask(one.account, asks=asks),
        )
        for one in listed
    ]


def _ask(account: AccountId, *, asks: bool) -> str:
    try:
        password = (
            getpass.getpass(f"Password of {account}: ")
            if asks
            else read_secret_line(sys.stdin.buffer)
        )
    except EOFError:
        password = ""
    _check(account, password)
    return password


def _check(account: AccountId, password: str) -> None:
    try:
        check_entered_password(password)
    except MT5ValidationError as error:
        raise MT5ValidationError(f"{account}: {error}") from None


def masked(account: AccountId) -> str:
    """The account for a report that others may read: at most half of the login's digits.

    >>> masked(AccountId(25115284, "MetaQuotes-Demo"))
    '2511****@MetaQuotes-Demo'
    """
    login = str(account.login)
    return f"{login[: min(_SHOWN_DIGITS, len(login) // 2)]}****@{account.server}"


def masked_apart(accounts: Sequence[AccountId]) -> list[str]:
    """As `masked`, with its number in the list where that would stand for several."""
    names = [masked(account) for account in accounts]
    times = Counter(names)
    return [
        f"{name} #{number}" if times[name] > 1 else name
        for number, name in enumerate(names, start=1)
    ]
