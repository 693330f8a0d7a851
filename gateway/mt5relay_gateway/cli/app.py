"""The command line as a whole, and the one place where failures become words and exit codes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError

from mt5relay_gateway.cli import accounts, breaker, dead, terminals, tokens
from mt5relay_gateway.cli.ask import ask
from mt5relay_gateway.cli.demo import demo
from mt5relay_gateway.cli.doctor import doctor
from mt5relay_gateway.cli.events import events
from mt5relay_gateway.cli.exits import FAILURE, INTERRUPTED, OK, UNAVAILABLE, USAGE, CommandError
from mt5relay_gateway.cli.gateway import gateway
from mt5relay_gateway.cli.health import health
from mt5relay_gateway.cli.output import printable
from mt5relay_gateway.cli.queue import queue
from mt5relay_gateway.cli.store import NoStoreError
from mt5relay_gateway.cli.support_bundle import support_bundle
from mt5relay_gateway.cli.top import top
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared import __version__
from mt5relay_shared.errors import MT5Error, MT5ValidationError, RedisUnavailableError
from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.settings import load_settings

app = App(
    name="mt5relay",
    help="Look-ups of MetaTrader 5 accounts, and the operation of the worker that answers them."
    " Settings come from the environment or from a file .env; see .env.example.",
    version=__version__,
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
for command in (ask, health, top, queue, events, doctor, support_bundle, demo):
    app.command(command)
for group in (accounts.app, terminals.app, breaker.app, dead.app, tokens.app):
    app.command(group)
app.command(gateway)


def main() -> NoReturn:
    """Run the command that the process was started for, and exit with its status."""
    _never_fail_on_a_character()
    _configure_logs()
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _reader_left()
    sys.exit(status)


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit status; a failure is one line on standard error."""
    try:
        return _status(app(words))
    except CycloptsError as error:
        return _failed(USAGE, " ".join(str(error).split()))
    except MT5ValidationError as error:
        return _failed(USAGE, str(error))
    except RedisUnavailableError as error:
        return _failed(UNAVAILABLE, str(error))
    except MT5Error as error:
        return _failed(FAILURE, _described(error))
    except (CommandError, NoStoreError) as error:
        return _failed(FAILURE, str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_left()


def _status(result: object) -> int:
    return result if isinstance(result, int) else OK


def _failed(status: int, explanation: str) -> int:
    print(f"mt5relay: {printable(explanation)}", file=sys.stderr)
    return status


def _described(error: MT5Error) -> str:
    when = "" if error.retry_after is None else f"; try again in {error.retry_after:.3g} s"
    return f"{error.code}: {error}{when}"


def _configure_logs() -> None:
    """Only errors, unless MT5_LOG_LEVEL asks for more: a command speaks for itself."""
    try:
        settings = load_settings(GatewaySettings)
    except MT5ValidationError:  # the command will say so
        return configure_logs(level="error")
    level = settings.log_level if "log_level" in settings.model_fields_set else "error"
    return configure_logs(settings.log_format, level)


def _never_fail_on_a_character() -> None:
    """A console's encoding may lack a letter of a trader's name; a question mark is enough then."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _reader_left() -> int:
    """Whoever read our output has seen enough; the interpreter must not try to flush the rest."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILURE
