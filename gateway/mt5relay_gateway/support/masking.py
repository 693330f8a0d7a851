"""Takes out of text and data what must not leave: secrets, amounts of money, account numbers.

Pure. What is collected is chosen field by field already; this is the second line, and the only one
for log files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError

MASK = "[masked]"
SHORTEST_SECRET = 6  # characters; a shorter known secret would blot out ordinary words
SHORTEST_LOGIN = 4  # digits; a shorter one is only known for one beside its server

_HIDDEN_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|authorization|cookie|credential"
    r"|private[_-]?key|ciphertext|signature|nonce"
)
_MONEY_NAMES = (
    r"balance|equity|margin\w*|profit|credit|assets|liabilities|price\w*|volume\w*|commission\w*"
    r"|swap|fee|sl|tp|bid|ask|open|high|low|close"
)
_PERSONAL_NAMES = r"(?:trader|holder|client|account)_?name|comment|company|email|phone"

_SECRET_KEY = re.compile(rf"(?:^|.*_)(?:{_HIDDEN_NAMES})s?$", re.IGNORECASE)
_MONEY_KEY = re.compile(rf"(?:{_MONEY_NAMES})$", re.IGNORECASE)
_PERSONAL_KEY = re.compile(rf"(?:{_PERSONAL_NAMES})$", re.IGNORECASE)
_LOGIN_KEY = re.compile(r"(?:login|account|login_number|account_number)$", re.IGNORECASE)

_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;}\])]+)"""
_IS = r"""(["']?\s*[=:]\s*)"""
_PATTERNS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"\b([a-zA-Z][\w+.-]{0,30}://)[^/\s@]*@"), rf"\1{MASK}@"),
    (re.compile(r"mt5relay_[0-9a-f]{16}_[\w-]+"), MASK),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(rf"({_HIDDEN_NAMES}){_IS}{_VALUE}", re.IGNORECASE), rf"\1\2{MASK}"),
    (re.compile(rf"\b({_MONEY_NAMES}){_IS}[\"']?-?\d[\d.,]*", re.IGNORECASE), rf"\1\2{MASK}"),
    (re.compile(rf"\b({_PERSONAL_NAMES}){_IS}{_VALUE}", re.IGNORECASE), rf"\1\2{MASK}"),
    (
        re.compile(r"\b((?:market )?(?:deal|order|position))\b.*\b(?:buy|sell)\b.*", re.I),
        rf"\1 {MASK}",
    ),
    (re.compile(r"\b[0-9a-fA-F]{33,}\b"), MASK),  # 32 digits are a key's or a trace's id
    (
        re.compile(
            r"(?<![\w+/])(?=[\w+/]*\d)(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])[A-Za-z0-9+/]{40,}={0,2}"
        ),
        MASK,
    ),
    (re.compile(r"(?i)([a-z]:(?:\\+|/)Users(?:\\+|/))[^\\/\s\"']+"), r"\1…"),
    (re.compile(r"(/home/)[^/\s\"':]+"), r"\1…"),
)
_ACCOUNT = re.compile(r"(?<![\w.])(\d{1,19})@([\w.-]*\w)")
_LOGIN = re.compile(r"(?<=')\d{4,19}(?=')|(?<=\blogin )\d{4,19}|(?<=\blogin of )\d{4,19}")
"""An account that is not known, as the terminal's journal and errors write it."""


class Masker:
    """Masks alike throughout one bundle: the same account has the same name everywhere.

    Args:
        accounts: those that are known, as `login@server`; each is called `account-N@server`.
        secrets: texts that occur nowhere, in whatever surroundings.
        keeps_numbers: account numbers stay as they are.
    """

    def __init__(
        self, accounts: Collection[str], secrets: Collection[str], *, keeps_numbers: bool = False
    ) -> None:
        self._keeps_numbers = keeps_numbers
        self._names: dict[int, str] = {}
        self._secrets = _spellings(secrets)
        for account in sorted(map(_parsed, accounts), key=lambda one: (one[1], one[0])):
            self._name(account[0])
        known = (str(login) for login in self._names)
        logins = sorted((one for one in known if len(one) >= SHORTEST_LOGIN), key=len, reverse=True)
        self._logins = re.compile(rf"(?<!\d)(?:{'|'.join(logins)})(?!\d)") if logins else None

    def text(self, text: str) -> str:
        """A text without what must not leave."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text if self._keeps_numbers else self._without_numbers(text)

    def data(self, value: object, name: str = "") -> Any:  # noqa: ANN401 - JSON has every shape
        """Data for JSON without what must not leave; `name` is the field that holds it."""
        if _SECRET_KEY.match(name) and not isinstance(value, bool | None):
            return MASK if value != "" else ""
        match value:
            case None | bool():
                return value
            case int() | float():
                return self._number(value, name)
            case str():
                return self._string(value, name)
            case Mapping():
                found = cast("Mapping[object, object]", value)
                return {self.text(str(key)): self.data(one, str(key)) for key, one in found.items()}
            case Sequence():
                return [self.data(one, name) for one in cast("Sequence[object]", value)]
            case _:
                return self.text(str(value))

    def log_line(self, line: str) -> str:
        """A line of a log: JSON field by field, anything else as text."""
        if line.lstrip().startswith("{"):
            try:
                return json.dumps(self.data(json.loads(line)), ensure_ascii=False)
            except (ValueError, RecursionError):
                pass
        return self.text(line)

    def _number(self, value: float, name: str) -> object:
        if _MONEY_KEY.match(name):
            return MASK
        if not isinstance(value, int) or self._keeps_numbers:
            return value
        is_known = value in self._names and len(str(value)) >= SHORTEST_LOGIN
        return self._name(value) if is_known or _LOGIN_KEY.match(name) else value

    def _string(self, value: str, name: str) -> str:
        if _PERSONAL_KEY.match(name) or (_MONEY_KEY.match(name) and _is_number(value)):
            return MASK
        if _LOGIN_KEY.match(name) and value.isdigit() and not self._keeps_numbers:
            return self._name(int(value))
        return self.text(value)

    def _without_numbers(self, text: str) -> str:
        replaced = _ACCOUNT.sub(lambda found: f"{self._name(int(found[1]))}@{found[2]}", text)
        for logins in (self._logins, _LOGIN):
            if logins is not None:
                replaced = logins.sub(lambda found: self._name(int(found[0])), replaced)
        return replaced

    def _name(self, login: int) -> str:
        return self._names.setdefault(login, f"account-{len(self._names) + 1}")


def _parsed(account: str) -> tuple[int, str]:
    try:
        identity = AccountId.parse(account)
    except MT5ValidationError:
        return 0, account
    return identity.login, identity.server


def _spellings(secrets: Collection[str]) -> list[str]:
    """Each secret as it may be written, the longest first."""
    ways: Sequence[Callable[[str], str]] = (
        str,
        lambda text: quote(text, safe=""),
        lambda text: json.dumps(text)[1:-1],
    )
    found = {way(one) for one in secrets if len(one) >= SHORTEST_SECRET for way in ways}
    return sorted(found, key=len, reverse=True)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d[\d.,]*", text))
