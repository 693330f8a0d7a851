"""Sealed credentials on their way to the terminal process, which alone can open them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import anyio

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import envelope_fingerprint
from mt5relay_shared.errors import MT5StateError
from mt5relay_worker.terminal.process import Terminal
from mt5relay_worker.terminal.protocol import (
    Answer,
    Command,
    Enrolled,
    Hello,
    ReadKeys,
    Reseal,
    Resealed,
)


@dataclass(frozen=True, slots=True)
class Credential:
    """An account and its sealed credential, which only the terminal process can open."""

    account: AccountId
    envelope: bytes = field(repr=False)
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", envelope_fingerprint(self.envelope))


CredentialFault = Literal["replayed", "trading_rights", "server_name"]


class CredentialRefusedError(MT5StateError):
    """The credential itself is at fault, whatever the terminal does; it must be enrolled again."""

    why: CredentialFault


def credential_refused(message: str, why: CredentialFault) -> CredentialRefusedError:
    error = CredentialRefusedError(message)
    error.why = why
    return error


class CredentialTurns:
    """Turns on the terminal process that concern sealed credentials; no account is logged in to.

    Each does nothing while no terminal process runs: a new one reads the keys anyway.
    """

    def __init__(
        self,
        turn: anyio.Lock,
        terminal: Terminal,
        command: Callable[[Command], Awaitable[Answer]],
        introduced: Callable[[Hello], Awaitable[None]],
    ) -> None:
        self.key_ids: list[str] = []  # of the keys that are held, the current one first
        self._turn = turn
        self._terminal = terminal
        self._command = command
        self._introduced = introduced

    async def read_keys(self) -> list[str] | None:
        """Have the private keys read anew and the current one published; returns the ids of all.

        Raises:
            MT5Error: they can't be read; those read before are used on.
        """
        async with self._turn:
            hello = await self._ask(ReadKeys())
            if not isinstance(hello, Hello):
                return None
            await self._introduced(hello)
            return hello.key_ids

    async def reseal(self, credential: Credential) -> bytes | None:
        """Have a credential sealed anew for the current key.

        Raises:
            MT5Error: it does not open.
        """
        account = credential.account
        async with self._turn:
            answer = await self._ask(Reseal(account.login, account.server, credential.envelope))
        return answer.envelope if isinstance(answer, Resealed) else None

    async def only_these_are_enrolled(self, accounts: Iterable[AccountId]) -> bool:
        """Have the credentials of all others forgotten, and refused if they come back; False where
        that was not done.

        Raises:
            MT5Error: the terminal process did not answer.
        """
        pairs = [(account.login, account.server) for account in accounts]
        async with self._turn:
            return await self._ask(Enrolled(pairs)) is not None

    async def _ask(self, command: Command) -> Answer | None:
        return await self._command(command) if self._terminal.is_running else None
