"""`mt5relay support-bundle`: one zip with everything that is needed to help, and nothing secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlsplit

from cyclopts import Parameter
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from mt5relay_gateway.cli.exits import CommandError
from mt5relay_gateway.cli.output import iso_text
from mt5relay_gateway.doctor.gathering import gather
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.support import bundle
from mt5relay_gateway.support.collecting import (
    DEAD_LETTERS,
    EVENTS,
    Members,
    accounts_in,
    of_facts,
    of_server,
    of_terminal,
    of_this_side,
)
from mt5relay_gateway.support.masking import MASK, Masker
from mt5relay_shared import __version__
from mt5relay_shared.settings import load_settings

_SECRET_VARIABLE = re.compile(
    r"(?:pass\w*|secret\w*|token\w*|credential\w*|private_?key|redis_url)$", re.IGNORECASE
)


async def support_bundle(
    *,
    out: Path = Path(),
    log: Annotated[list[Path] | None, Parameter(negative="")] = None,
    all_terminals: Annotated[bool, Parameter(name="--all", negative="")] = False,
    with_account_numbers: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write one zip with what is needed to help: findings, health, queue, events, settings, logs.

    Passwords, keys, tokens, balances and positions are not in it, and account numbers are replaced
    by stable names; README.txt inside says what is. Run it as the user operator: what another user
    may not see is missing. It only reads. Look through it before you give it away.

    Args:
        out: The file, or the folder for mt5relay-support-TIME.zip.
        log: A log file whose end is to go with it, masked line by line; may be given several times.
        all_terminals: All registered terminals.
        with_account_numbers: Keep account numbers.
    """
    settings = load_settings(HttpSettings)
    facts = await gather(settings, all_terminals=all_terminals)
    members: Members = {**of_this_side(settings), **of_facts(facts)}
    members |= await of_server(settings, facts)
    if facts.server.trouble is None:
        for terminal in facts.terminals:
            members |= await of_terminal(settings, facts.client.user, terminal.terminal)
    masker = Masker(
        accounts_in(facts), secrets_of(settings, os.environ), keeps_numbers=with_account_numbers
    )
    now = datetime.now(UTC)
    file = _file(out, now)
    try:
        files = bundle.packed(members, log or (), masker, _readme(now, with_account_numbers))
        bundle.write(file, files)
    except OSError as error:
        raise CommandError(f"{error.filename or file}: {error.strerror}") from None
    print(file)


def _file(out: Path, now: datetime) -> Path:
    return out / f"mt5relay-support-{now:%Y%m%dT%H%M%SZ}.zip" if out.is_dir() else out


def _readme(now: datetime, with_account_numbers: bool) -> str:
    return bundle.README.format(
        at=iso_text(now),
        version=__version__,
        events=EVENTS,
        letters=DEAD_LETTERS,
        mask=MASK,
        accounts=bundle.KEPT_ACCOUNTS if with_account_numbers else bundle.MASKED_ACCOUNTS,
    )


def secrets_of(settings: BaseSettings, environment: Mapping[str, str]) -> set[str]:
    """What the settings and this process's environment keep secret, to be found anywhere."""
    fields = (getattr(settings, name) for name in type(settings).model_fields)
    found = {one.get_secret_value() for one in fields if isinstance(one, SecretStr)}
    found |= {value for name, value in environment.items() if _SECRET_VARIABLE.search(name)}
    return found | {word for one in found | {*environment.values()} for word in _passwords_in(one)}


def _passwords_in(text: str) -> Iterator[str]:
    """Of a URL, as it stands there and as it is meant."""
    if "://" not in text:
        return
    try:
        parts = urlsplit(text)
    except ValueError:  # not one after all
        return
    login, at, _ = parts.netloc.rpartition("@")
    in_query = parse_qs(parts.query).get("password", [])
    for word in (login.partition(":")[2] if at else "", *in_query):
        yield from {word, unquote(word)} - {""}
