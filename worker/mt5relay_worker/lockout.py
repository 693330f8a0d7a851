"""Accounts whose authorization was refused cool down; the terminal does not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5Error

LOGIN = "login"
MOST_COOLING = 50  # reads of one account that are remembered


@dataclass(frozen=True, slots=True)
class LockoutPolicy:
    """Cool-downs in seconds; each further refusal doubles it up to the longest."""

    first_cooldown: float = 60.0
    longest_cooldown: float = 3600.0
    fault_threshold: int = 3  # so many different accounts refused in a row: it is not them


@dataclass(frozen=True, slots=True)
class Cooling:
    """Something of an account that is left alone until then, and the error that led to it."""

    why: MT5Error
    seconds: float
    until: float


@dataclass(slots=True)
class _Refusal:
    fingerprint: str
    cooldown: float
    until: float


_NOTHING: OrderedDict[Hashable, Cooling] = OrderedDict()


class Lockout:
    """Remembers refusals by account and credential; a changed credential starts with a clean slate.

    `-6` is not proof of a wrong password, so when several accounts in a row are refused, the
    terminal is suspected instead of them.
    """

    def __init__(self, policy: LockoutPolicy) -> None:
        self._policy = policy
        self._refusals: dict[AccountId, _Refusal] = {}
        self._barred: dict[AccountId, tuple[str, str]] = {}
        self._in_a_row: set[AccountId] = set()
        self._cooling: dict[AccountId, OrderedDict[Hashable, Cooling]] = {}

    def cool_down(self, account: AccountId, what: Hashable, why: MT5Error, now: float) -> Cooling:
        """Leave one thing of an account alone, its logins or a read, twice as long each time."""
        mine = self._cooling.setdefault(account, OrderedDict())
        earlier = mine.pop(what, None)
        seconds = self._policy.first_cooldown
        if earlier is not None:
            seconds = min(2 * earlier.seconds, self._policy.longest_cooldown)
        mine[what] = Cooling(why, seconds, now + seconds)
        if len(mine) > MOST_COOLING:
            mine.popitem(last=False)
        return mine[what]

    def has_cooled(self, account: AccountId) -> bool:
        """Whether anything of the account was ever left alone; cheap, for every visit."""
        return account in self._cooling

    def cooling(self, account: AccountId, what: Hashable, now: float) -> Cooling | None:
        """Why something of an account must be left alone still; None where it need not be."""
        found = self._cooling.get(account, _NOTHING).get(what)
        return found if found is not None and found.until > now else None

    def remaining(self, account: AccountId, fingerprint: str, now: float) -> float:
        """Seconds until the account may be tried again with this credential; 0: now."""
        refusal = self._refusals.get(account)
        if refusal is None or refusal.fingerprint != fingerprint:
            return 0.0
        return max(0.0, refusal.until - now)

    def refused(self, account: AccountId, fingerprint: str, now: float) -> float:
        """Note a refusal; returns the cool-down in seconds."""
        earlier = self._refusals.get(account)
        cooldown = self._policy.first_cooldown
        if earlier is not None and earlier.fingerprint == fingerprint:
            cooldown = min(2 * earlier.cooldown, self._policy.longest_cooldown)
        self._refusals[account] = _Refusal(fingerprint, cooldown, now + cooldown)
        self._in_a_row.add(account)
        return cooldown

    def bar(self, account: AccountId, fingerprint: str, why: str) -> None:
        """Refuse a credential until another is enrolled, or somebody unlocks the account."""
        self._barred[account] = (fingerprint, why)

    def why_barred(self, account: AccountId, fingerprint: str) -> str | None:
        """Why a login with this credential must not be tried; None where it may."""
        known, why = self._barred.get(account, ("", ""))
        return why if known == fingerprint else None

    def resealed(self, account: AccountId, before: str, fingerprint: str) -> None:
        """The same credential has another fingerprint now: that gives nobody a clean slate."""
        refusal = self._refusals.get(account)
        if refusal is not None and refusal.fingerprint == before:
            refusal.fingerprint = fingerprint
        if why := self.why_barred(account, before):
            self.bar(account, fingerprint, why)

    def accepted(self, account: AccountId) -> None:
        """Somebody got in, so the terminal is able to let people in."""
        self._refusals.pop(account, None)
        self._in_a_row.clear()
        if account in self._cooling:
            self._cooling[account].pop(LOGIN, None)

    def unlock(self, account: AccountId) -> bool:
        """Let an account be tried again at once; False where it was not locked out."""
        known = [of.pop(account, None) for of in (self._barred, self._refusals, self._cooling)]
        return any(one is not None for one in known)

    @property
    def suspects_terminal(self) -> bool:
        return len(self._in_a_row) >= self._policy.fault_threshold

    def acquit_accounts(self) -> None:
        """It was the terminal: nobody who was refused in this row is held to blame."""
        for account in self._in_a_row:
            self._refusals.pop(account, None)
        self._in_a_row.clear()

    def __len__(self) -> int:
        return len(self._refusals)

    def __repr__(self) -> str:
        return f"<Lockout {len(self)} accounts, {len(self._in_a_row)} refused in a row>"
