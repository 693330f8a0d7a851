"""The worker's command: `mt5relay-worker run`, `keygen` and `probe`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import stamina.instrumentation
from cyclopts import App, Parameter

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.logs import configure_logs, get_logger
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.credentials import write_private_key
from mt5relay_worker.lease import LeaseLostError
from mt5relay_worker.lease_keeper import LeaseKeeper
from mt5relay_worker.probe.command import Wanted, run_probe
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.signals import stop_on_end_of_input, stop_on_signals
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.worker import Worker

EXIT_FAILURE = 1
EXIT_DEFECT = 70  # EX_SOFTWARE
EXIT_LEASE_LOST = 75  # EX_TEMPFAIL: start me again

app = App(name="mt5relay-worker", help="Serve one MetaTrader 5 terminal's requests.")
log = get_logger("cli")


@app.command
def run(*, stop_on_eof: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Work until stopped by Ctrl-C, SIGTERM, or with --stop-on-eof the end of standard input.

    Settings come from the environment or `.env`; `.env.example` lists them. Exit status: 0 after a
    graceful stop, 70 for a defect or when the worker stood still for longer than MT5_STALL_LIMIT,
    75 when another worker took over, 78 for wrong settings.
    """
    settings = load_settings_or_exit(WorkerSettings)
    configure_logs(settings.log_format, settings.log_level)
    stamina.instrumentation.set_on_retry_hooks([])  # the default one logs call arguments
    try:
        asyncio.run(_run(settings, stop_on_eof=stop_on_eof))
    except LeaseLostError:
        return EXIT_LEASE_LOST
    except Exception:  # the top of the process: say what happened as one structured line
        log.exception("worker.crashed")
        return EXIT_DEFECT
    return 0


async def _run(settings: WorkerSettings, *, stop_on_eof: bool) -> None:
    terminal = TerminalProcess(start_limit=settings.start_limit)
    worker = Worker(settings, terminal, keeper=LeaseKeeper)
    if stop_on_eof:
        stop_on_end_of_input(worker.stop)
    with stop_on_signals(worker.stop):
        log.info("worker.started", terminal=settings.terminal_id, binding=settings.terminal)
        await worker.run()
    log.info("worker.stopped")


@app.command
def keygen(
    *,
    out: Path = Path("mt5relay.key"),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Make the key pair that credentials are sealed with; the private part stays on this host.

    Args:
        out: where the private key goes; an existing file is never overwritten.
        json: print one JSON object.
    """
    try:
        key = write_private_key(out)
    except MT5ValidationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command prints
        return EXIT_FAILURE
    if json:
        print(msgspec.json.encode({"file": str(out), "key_id": key.key_id}).decode())  # noqa: T201
    else:
        print(  # noqa: T201
            f"private key: {out} (keep it on this host, readable by its owner only)\n"
            f"fingerprint: {key.key_id}\n"
            f"Pin it where accounts are enrolled: MT5_SEALING_KEY_ID={key.key_id}"
        )
    return 0


@app.command
def probe(
    *account: str,
    accounts: Path | None = None,
    logins: int = 24,
    pause: float = 5.0,
    watch: float = 5.0,
    time_limit: float = 900.0,
    attaches: int = 5,
    out: Path = Path("mt5relay-probe.json"),
    yes: Annotated[bool, Parameter(negative=())] = False,
    stdin: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure this host's terminal: how long logins take, when data is there, what fails.

    Stop the worker first: the probe takes its terminal. It says how many logins it will make, asks,
    and writes a report without secrets that the simulator can imitate. Give two accounts on one
    server and one on another to measure every kind of login. MT5_TERMINAL=simulated is for a look.

    Passwords are those of the file, or are asked for without echo; never arguments. Exit status: 0
    when everything was measured, 1 when not, 78 for wrong settings, 130 after Ctrl-C.

    Args:
        account: LOGIN@SERVER, as many as you like.
        accounts: a JSON file that its owner alone may read, of the form
            {"accounts": [{"login": 25115284, "server": "MetaQuotes-Demo", "password": "..."}]}.
        logins: how many to make, 1 to 1000.
        pause: seconds between two of them, 0 to 3600.
        watch: seconds to look at the terminal after each, 0 to 120; less where the journal says
            that everything is there.
        time_limit: seconds after which no login begins, 1 to 14400.
        attaches: how often to let go of the terminal and attach again at the end, 0 to 50.
        out: where the report goes; an existing file is never overwritten.
        yes: do not ask whether to go on.
        stdin: read each password as a line of standard input, as happens without a terminal.
    """
    settings = load_settings_or_exit(WorkerSettings)
    wanted = Wanted(
        accounts=account,
        accounts_file=accounts,
        logins=logins,
        pause=pause,
        watch=watch,
        time_limit=time_limit,
        attaches=attaches,
        out=out,
        is_agreed=yes,
        from_stdin=stdin,
    )
    try:
        return run_probe(settings, wanted)
    except MT5ValidationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command prints
        return EXIT_FAILURE


def main() -> None:
    sys.exit(app(result_action="return_value"))
