"""The worker's command: `mt5relay-worker run`, `check`, `keygen`, `probe` and `record`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import stamina.instrumentation
from cyclopts import App, Parameter

from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.logs import get_logger
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.lease import LeaseLostError
from mt5relay_worker.lease_keeper import LeaseKeeper
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.signals import stop_on_end_of_input, stop_on_signals
from mt5relay_worker.terminal.process import TerminalProcess
from mt5relay_worker.worker import Worker

EXIT_DEFECT = 70  # EX_SOFTWARE
EXIT_LEASE_LOST = 75  # EX_TEMPFAIL: start me again

KEYGEN_HELP = "Make the key pair that seals credentials; the private part stays on this host."
ROTATE_HELP = """Change the key that credentials are sealed for, while the worker runs.

Run it where the worker runs, with the worker's settings and as its user, in three steps:

1. `rotate-key --prepare` makes the next key in MT5_PRIVATE_KEY_FILE, beside the current one. Pin
   both where accounts are enrolled, as it prints, and copy the file to standby hosts.
2. `rotate-key` makes it the current one. The running worker notices within seconds, publishes it,
   and seals every credential anew; nobody enrols again, no password leaves the terminal process.
   The old key is honoured on.
3. `rotate-key --retire` gives up the old key, but not while anything is sealed for it. Backups of
   Redis from before step 2 can't be used afterwards, unless you kept a copy of the old file.

Each may be repeated, and goes on where one was interrupted. Without pins, `rotate-key --retire`
does all of it. `mt5relay-worker keys` shows how far it is. Exit status: 0 when done, 1 when
something is left to do, which is said, 78 for wrong settings.
"""
KEYS_HELP = """Show which keys are held, and how many credentials are sealed for each.

Exit status: 0, or 1 where a credential is sealed for a key that is not held, or Redis or the file
can't be read.
"""
ACCEPT_HELP = """Take credentials that a restored backup of Redis brought back for new ones.

The worker refuses a credential that was replaced or removed before: somebody who can write to Redis
may have put it back. After you restored a backup yourself, say so with this command, where the
worker runs; a running worker goes by it at once.
"""
PROBE_HELP = """Measure this host's terminal: how long logins take, when data is there, what fails.

Stop the worker first: the probe takes its terminal. It says how many logins it will make, asks,
and writes a report without secrets that the simulator can imitate. Give two accounts on one
server and one on another to measure every kind of login. MT5_TERMINAL=simulated is for a look.

Passwords are those of the file, or are asked for without echo; never arguments. Exit status: 0
when everything was measured, 1 when not, 78 for wrong settings, 130 after Ctrl-C.
"""
RECORD_HELP = """Record what a real terminal answers to the MetaTrader5 package, until Ctrl-C.

Needs Windows. Serves a pipe of its own, passes everything on to the terminal, and writes it down,
so that what the simulator assumes can be checked against it. Use a demo account.

Masked before it is written: passwords are gone, with their length; logins become 10000001 and so
on; names, comments, paths and external ids become as many x; what can't be read is withheld.
What stays: amounts, prices, dates, tickets, symbols and the server's name. Look at the file before
you give it away.

Exit status: 0 when stopped, 1 where it can't record.
"""

CHECK_HELP = """Check what this host needs for a worker; say what mends what is wrong.

Looks at the terminal's program, the MetaTrader5 package, the private key's file, Redis as the
worker's user, the lease and the disk. Starts no terminal, logs in to nothing, changes nothing.

Exit status: 0 without a problem, also where there are warnings; 1 with a problem, and with
--strict with a warning too; 78 for wrong settings.
"""

app = App(name="mt5relay-worker", help="Serve one MetaTrader 5 terminal's requests.")
# By name, and described here: what they load would be a quarter of a worker's memory.
app.command("mt5relay_worker.key_command:keygen", help=KEYGEN_HELP)
app.command("mt5relay_worker.check_command:check", help=CHECK_HELP)
app.command("mt5relay_worker.key_rotation:rotate_key", name="rotate-key", help=ROTATE_HELP)
app.command("mt5relay_worker.key_rotation:show_keys", name="keys", help=KEYS_HELP)
app.command(
    "mt5relay_worker.key_rotation:accept_restored", name="accept-restored", help=ACCEPT_HELP
)
app.command("mt5relay_worker.probe.cli:probe", help=PROBE_HELP)
app.command("mt5relay_worker.record_command:record", help=RECORD_HELP)
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
    terminal = TerminalProcess(settings.terminal_options, start_limit=settings.start_limit)
    worker = Worker(settings, terminal, keeper=LeaseKeeper, on_standby=terminal.prepare)
    if stop_on_eof:
        stop_on_end_of_input(worker.stop)
    with stop_on_signals(worker.stop):
        log.info("worker.started", terminal=settings.terminal_id, binding=settings.terminal)
        await worker.run()
    log.info("worker.stopped")


def main() -> None:
    sys.exit(app(result_action="return_value"))
