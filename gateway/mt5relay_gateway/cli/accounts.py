"""`mt5relay accounts`: credentials, sealed so that only the terminal process can read them."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from mt5relay_gateway.cli.commanding import command_worker
from mt5relay_gateway.cli.exits import CommandError
from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.cli.pinning import pin, unpin, where
from mt5relay_gateway.operating.connection import read_fleet, redis_commands
from mt5relay_gateway.operating.enrolment import (
    Enrolled,
    Enrolment,
    check_credentials,
    check_pin,
    split_pins,
)
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import AccountUnknownError, MT5ValidationError
from mt5relay_shared.keys import Keys
from mt5relay_shared.secret import Secret
from mt5relay_shared.secret_input import read_secret_line
from mt5relay_shared.settings import load_settings

app = App(name="accounts", help="Enrol accounts, and say which terminal serves them.")
for command in (pin, unpin, where):
    app.command(command)


@app.command
async def unlock(account: str, /, *, timeout: float = 10.0) -> None:
    """Let an account whose authorization was refused be tried again at once.

    A changed password unlocks it too: see `mt5relay accounts add`.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        timeout: Seconds to wait until the worker has obeyed.
    """
    await command_worker("account.unlock", timeout, str(AccountId.parse(account)))


@app.command
def add(
    account: str,
    /,
    *,
    key_id: str | None = None,
    terminal: str | None = None,
    stdin: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Enrol an account, or change its password. The password is asked for without echo.

    Where terminals are registered it is enrolled at each of them, draining ones too, so that any
    can take it over.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        key_id: The key id that `mt5relay-worker keygen` printed; of several terminals, separated
            by commas. Default: MT5_SEALING_KEY_ID.
        terminal: Only this terminal.
        stdin: Read the password as one line of standard input, as happens without a terminal.
    """
    # Not a coroutine: a running event loop would swallow the first Ctrl-C at the prompt.
    settings = load_settings(GatewaySettings)
    identity = AccountId.parse(account)
    sealing_keys = asyncio.run(_published_keys(settings, terminal))
    interactive = sys.stdin.isatty() and not stdin
    pinned = split_pins(key_id or settings.sealing_key_id)
    for name, key in sealing_keys.items():
        _check_trust(name, key, pinned, asks=interactive)
    password = _ask_password(identity) if interactive else _read_line()
    check_credentials(identity, password)
    asyncio.run(_enrol(settings, identity, password, sealing_keys))
    for name, key in sealing_keys.items():
        print(f"enrolled {identity} at terminal {name} for key {key.key_id}")


async def _terminals(settings: GatewaySettings, terminal: str | None) -> list[str]:
    """The one that was named; else all registered ones; without a registry the settings' own."""
    if terminal is not None:
        return [terminal]
    return sorted((await read_fleet(settings)).terminals) or [settings.terminal_id]


@contextlib.asynccontextmanager
async def _enrolment(settings: GatewaySettings, terminal: str) -> AsyncGenerator[Enrolment]:
    keys = Keys(terminal, settings.key_prefix)
    async with redis_commands(settings, keys) as redis:
        yield Enrolment(redis, keys)


async def _published_keys(settings: GatewaySettings, terminal: str | None) -> dict[str, SealingKey]:
    found: dict[str, SealingKey] = {}
    for name in await _terminals(settings, terminal):
        async with _enrolment(settings, name) as enrolment:
            found[name] = await enrolment.published_key()
    return found


async def _enrol(
    settings: GatewaySettings,
    account: AccountId,
    password: Secret,
    sealing_keys: Mapping[str, SealingKey],
) -> None:
    for terminal, key in sealing_keys.items():
        async with _enrolment(settings, terminal) as enrolment:
            await enrolment.add(account, password, key)


def _check_trust(terminal: str, key: SealingKey, pinned: list[str], *, asks: bool) -> None:
    if pinned:
        check_pin(terminal, key, pinned)
    elif asks:
        _confirm(terminal, key)
    else:
        raise MT5ValidationError(
            f"sealing key: the one published for terminal {terminal} is {key.key_id}, but nothing"
            " says that it is the worker's; compare it with what `mt5relay-worker keys` prints"
            f" where it runs, then give --key-id {key.key_id} or set MT5_SEALING_KEY_ID"
        )


def _confirm(terminal: str, key: SealingKey) -> None:
    print(f"The sealing key published for terminal {terminal} is {key.key_id}.")
    try:
        answer = input("Is that what `mt5relay-worker keygen` or `keys` printed? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("the sealing key was not confirmed; nothing was sealed")


def _ask_password(account: AccountId) -> Secret:
    try:
        return Secret(getpass.getpass(f"Password of {account}: "))
    except EOFError:
        return Secret("")


def _read_line() -> Secret:
    return Secret(read_secret_line(sys.stdin.buffer))


@app.command(name="list")
async def list_accounts(*, terminal: str | None = None, as_json: AsJson = False) -> None:
    """List the enrolled accounts; passwords can't be shown.

    Args:
        terminal: Only this terminal. Default: all registered ones.
        as_json: Print JSON, one object a line.
    """
    settings = load_settings(GatewaySettings)
    rows: list[dict[str, str | None]] = []
    for name in await _terminals(settings, terminal):
        async with _enrolment(settings, name) as enrolment:
            rows += [_fields(name, one) for one in await enrolment.all()]
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        print_view(_table(rows))
    else:
        print("no accounts are enrolled")


def _fields(terminal: str, enrolled: Enrolled) -> dict[str, str | None]:
    envelope = enrolled.envelope
    return {
        "account": enrolled.account,
        "terminal": terminal,
        "key_id": None if envelope is None else envelope.key_id,
        "sealed_at": None if envelope is None else utc_text(envelope.sealed_at_ms),
    }


def _table(rows: list[dict[str, str | None]]) -> Table:
    table = Table("account", "terminal", "key id", "sealed at")
    for row in rows:
        table.add_row(*(printable(text or "unreadable") for text in row.values()))
    return table


@app.command
async def remove(account: str, /, *, terminal: str | None = None) -> None:
    """Remove an account's credential.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        terminal: Only from this terminal. Default: from all registered ones.
    """
    identity = AccountId.parse(account)
    settings = load_settings(GatewaySettings)
    removed = False
    for name in await _terminals(settings, terminal):
        async with _enrolment(settings, name) as enrolment:
            removed |= await enrolment.remove(identity)
    if not removed:
        raise AccountUnknownError(f"{identity}: no credential is enrolled")
    print(f"removed {identity}")
