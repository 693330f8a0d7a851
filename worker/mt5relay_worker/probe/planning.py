"""Which account to log in to next, so that every kind of login is measured alike often. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

from mt5relay_shared.accounts import AccountId


class Kind(StrEnum):
    """A login by what the terminal showed before it."""

    SAME_ACCOUNT = "same_account"
    SAME_SERVER = "same_server"
    OTHER_SERVER = "other_server"
    NOBODY = "nobody"


def kind_of(before: AccountId | None, account: AccountId) -> Kind:
    if before is None:
        return Kind.NOBODY
    if before == account:
        return Kind.SAME_ACCOUNT
    return Kind.SAME_SERVER if before.server == account.server else Kind.OTHER_SERVER


def possible_kinds(accounts: Sequence[AccountId]) -> set[Kind]:
    """What logins between these accounts can be."""
    pairs = ((before, account) for before in accounts for account in accounts)
    return {kind_of(before, account) for before, account in pairs}


def next_account(
    accounts: Sequence[AccountId],
    before: AccountId | None,
    measured: Mapping[Kind, int],
    visits: Mapping[AccountId, int],
) -> AccountId:
    """The account whose login from here was measured least, of several the least visited.

    Logins from nobody come as they come. A server that can only be left is left the sooner, since
    logins within one are measured only on a server with two accounts.

    Raises:
        ValueError: there is no account.
    """
    if not accounts:
        raise ValueError("no accounts, so no next one")
    peers = Counter(account.server for account in accounts)

    def preference(account: AccountId) -> tuple[int, int, int]:
        is_dead_end = peers[account.server] == 1
        return measured.get(kind_of(before, account), 0), is_dead_end, visits.get(account, 0)

    return min(accounts, key=preference)
