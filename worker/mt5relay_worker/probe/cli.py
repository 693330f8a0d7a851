"""`mt5relay-worker probe`, as typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.probe.command import Wanted, run_probe
from mt5relay_worker.settings import WorkerSettings

EXIT_FAILURE = 1


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
    """As `cli.PROBE_HELP` says.

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
