"""`mt5relay accounts`: credentials, sealed so that only the terminal process can read them."""

from __future__ import annotations

import asyncio
import getpass
import sys
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from mt5relay_gateway.cli.connection import redis_commands
from mt5relay_gateway.cli.enrolment import Enrolled, Enrolment, check_credentials, check_pin
from mt5relay_gateway.cli.exits import CommandError
from mt5relay_gateway.cli.output import AsJson, print_json, print_view, printable, utc_text
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.accounts import MAX_PASSWORD_UNITS, AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import SealingKey
from mt5relay_shared.secret import Secret
from mt5relay_shared.settings import load_settings

LONGEST_LINE = 8 * MAX_PASSWORD_UNITS  # characters; more can only be the wrong file

app = App(name="accounts", help="Enrol, list and remove the credentials of accounts.")


@app.command
def add(
    account: str,
    /,
    *,
    key_id: str | None = None,
    stdin: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Enrol an account, or change its password. The password is asked for without echo.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
        key_id: The key id that `mt5relay-worker keygen` printed. Default: MT5_SEALING_KEY_ID.
        stdin: Read the password as one line of standard input, as happens without a terminal.
    """
    # Not a coroutine: a running event loop would swallow the first Ctrl-C at the prompt.
    settings = load_settings(GatewaySettings)
    identity = AccountId.parse(account)
    key = asyncio.run(_published_key(settings))
    interactive = sys.stdin.isatty() and not stdin
    if pinned := key_id or settings.sealing_key_id:
        check_pin(key, pinned)
    elif interactive:
        _confirm(key)
    else:
        raise _unpinned(key)
    password = _ask_password(identity) if interactive else _read_line()
    check_credentials(identity, password)
    asyncio.run(_enrol(settings, identity, password, key))
    print(f"enrolled {identity} for key {key.key_id}")


async def _published_key(settings: GatewaySettings) -> SealingKey:
    async with redis_commands(settings) as redis:
        return await Enrolment(redis, settings.keys).published_key()


async def _enrol(
    settings: GatewaySettings, account: AccountId, password: Secret, key: SealingKey
) -> None:
    async with redis_commands(settings) as redis:
        await Enrolment(redis, settings.keys).add(account, password, key)


def _unpinned(key: SealingKey) -> MT5ValidationError:
    return MT5ValidationError(
        f"sealing key: the published one is {key.key_id}, but nothing says that it is the worker's;"
        " compare it with what `mt5relay-worker keygen` printed, then give --key-id or set"
        " MT5_SEALING_KEY_ID"
    )


def _confirm(key: SealingKey) -> None:
    print(f"The published sealing key is {key.key_id}.")
    try:
        answer = input("Is that what `mt5relay-worker keygen` printed? [y/N] ")
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
    return Secret(sys.stdin.readline(LONGEST_LINE).rstrip("\r\n"))


@app.command(name="list")
async def list_accounts(*, as_json: AsJson = False) -> None:
    """List the enrolled accounts; passwords can't be shown."""
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        enrolled = await Enrolment(redis, settings.keys).all()
    if as_json:
        for one in enrolled:
            print_json(_fields(one))
    elif enrolled:
        print_view(_table(enrolled))
    else:
        print("no accounts are enrolled")


def _fields(enrolled: Enrolled) -> dict[str, str | None]:
    envelope = enrolled.envelope
    if envelope is None:
        return {"account": enrolled.account, "key_id": None, "sealed_at": None}
    return {
        "account": enrolled.account,
        "key_id": envelope.key_id,
        "sealed_at": utc_text(envelope.sealed_at_ms),
    }


def _table(enrolled: list[Enrolled]) -> Table:
    table = Table("account", "key id", "sealed at")
    for one in enrolled:
        table.add_row(*(printable(text or "unreadable") for text in _fields(one).values()))
    return table


@app.command
async def remove(account: str, /) -> None:
    """Remove an account's credential.

    Args:
        account: LOGIN@SERVER, e.g. 25115284@MetaQuotes-Demo.
    """
    identity = AccountId.parse(account)
    settings = load_settings(GatewaySettings)
    async with redis_commands(settings) as redis:
        await Enrolment(redis, settings.keys).remove(identity)
    print(f"removed {identity}")
