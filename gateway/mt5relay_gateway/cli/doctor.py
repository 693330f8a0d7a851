"""`mt5relay doctor`: what is wrong, why that matters, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.text import Text

from mt5relay_gateway.cli.exits import FAILURE, OK
from mt5relay_gateway.cli.output import AsJson, console, iso_text, print_json, printable
from mt5relay_gateway.doctor.checks import examine
from mt5relay_gateway.doctor.gathering import gather
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared import __version__
from mt5relay_shared.findings import Finding, Level, has_failed, in_words, worst
from mt5relay_shared.keys import check_terminal_id
from mt5relay_shared.settings import load_settings

_STYLES = {
    Level.PROBLEM: "red",
    Level.WARNING: "yellow",
    Level.NOT_CHECKED: "dim",
    Level.OK: "green",
}


class Report(msgspec.Struct, frozen=True):
    """What `--json` prints. `status` is `ok`, `warning` or `problem`, the worst that was found."""

    version: str
    at: str
    status: Level
    user: str
    terminals: Sequence[str]
    findings: Sequence[Finding]


async def doctor(
    *,
    terminal: str | None = None,
    all_terminals: Annotated[bool, Parameter(name="--all", negative="")] = False,
    strict: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> int:
    """Examine Redis, the worker, the queue and the credentials; say what mends what is wrong.

    It only reads. What the user of REDIS_URL may not see is reported as not checked; the user
    operator may see all of it. Each refusal is an entry of Redis' ACL LOG.

    Exit status: 0 without a problem, also where there are warnings; 1 with a problem, and with
    --strict with a warning too; 2 for wrong usage or settings.

    Args:
        terminal: Its id, instead of MT5_TERMINAL_ID.
        all_terminals: All registered terminals.
        strict: Let warnings count as problems do.
        as_json: Print one JSON object: version, at, status, user, terminals and findings, each with
            check, level, found and, where it applies, why, remedy, command, terminal.
    """
    settings = load_settings(GatewaySettings)
    if terminal is not None:
        settings = settings.model_copy(update={"terminal_id": check_terminal_id(terminal)})
    facts = await gather(settings, all_terminals=all_terminals)
    findings = examine(facts)
    if as_json:
        print_json(
            Report(
                __version__,
                iso_text(datetime.now(UTC)),
                worst(findings),
                facts.client.user,
                [one.terminal for one in facts.terminals],
                findings,
            )
        )
    else:
        _print(findings)
    return FAILURE if has_failed(findings, strict=strict) else OK


def _print(findings: Sequence[Finding]) -> None:
    screen = console()
    for level, line in in_words(findings):
        style = _STYLES.get(level, "") if level is not None else "bold"
        screen.print(Text(printable(line), style=style), soft_wrap=True)
