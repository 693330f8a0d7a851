"""Logins that a caller may not see are masked, wherever they stand."""

from __future__ import annotations

import re

from mt5relay_gateway.http.tokens import Token

_LOGIN = re.compile(r"[0-9]{1,19}@[^\s,;:'\"]{0,62}[^\s,;:'\".]")
SHOWN = 2  # digits


def masked(account: str) -> str:
    """E.g. `***84@MetaQuotes-Demo`."""
    login, at, server = account.partition("@")
    return f"***{login[-SHOWN:]}{at}{server}"


def shown_account(account: str | None, caller: Token) -> str | None:
    if account is None or caller.may_see(account):
        return account
    return masked(account)


def shown_text(text: str | None, caller: Token) -> str | None:
    """A message of the worker, with the accounts in it as the caller may see them."""
    if text is None or not caller.accounts:
        return text
    return _LOGIN.sub(lambda found: shown_account(found[0], caller) or "", text)
