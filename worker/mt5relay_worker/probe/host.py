"""The measuring process: takes the terminal's lock, is told the plan, and tells what it measured.

The lock is the one that a worker's terminal process holds, so no probe runs beside a worker.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.probe.interpreter_lock import TickingThread
from mt5relay_worker.probe.messages import Event, Plan, Ready, Refused, line, plan_decoder
from mt5relay_worker.probe.prober import Limits, Prober
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.simulator import BookError
from mt5relay_worker.terminal.exclusive import TerminalLock
from mt5relay_worker.terminal.failure import TerminalError
from mt5relay_worker.terminal.host import make_binding, no_journal
from mt5relay_worker.terminal.journal import open_journal
from mt5relay_worker.terminal.metatrader5 import Binding


def main() -> None:
    _leave_interrupts_to_the_command()
    settings = load_settings_or_exit(WorkerSettings)
    configure_logs(settings.log_format, settings.log_level)
    pipe_in, pipe_out = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not break the messages
    try:
        lock = TerminalLock(settings.terminal_path) if settings.terminal_path else None
        if lock is not None:
            lock.acquire()  # for as long as this process lives
        binding = make_binding(settings.terminal_options)
    except (MT5ValidationError, TerminalError, BookError) as error:
        _write(pipe_out, Refused(str(error)))
        return
    _write(pipe_out, Ready())
    plan = pipe_in.readline()
    if plan:  # else nobody wants it any more
        threading.Thread(target=_end_with, args=(pipe_in,), daemon=True).start()
        _measure(settings, binding, plan_decoder.decode(plan), pipe_out)


def _measure(settings: WorkerSettings, binding: Binding, plan: Plan, pipe_out: BinaryIO) -> None:
    with TickingThread() as ticking:
        Prober(
            binding,
            plan,
            lambda event: _write(pipe_out, event),
            path=str(settings.terminal_path) if settings.terminal_path else None,
            limits=Limits(
                call_timeout=settings.connection_timeout,
                attach=settings.start_limit,
                step=settings.call_limit,
            ),
            silence=ticking,
            portable=settings.terminal_portable,
            find_journal=open_journal if settings.journal == "auto" else no_journal,
        ).run()


def _end_with(pipe_in: BinaryIO) -> None:
    """End when the command is gone, even while a call hangs, unless that holds the interpreter.

    Past the buffer of `pipe_in`, whose lock would not let the process end by itself.
    """
    os.read(pipe_in.fileno(), 1)
    os._exit(0)


def _leave_interrupts_to_the_command() -> None:
    """Ctrl-C reaches every process of a console; the command reports what was measured so far."""
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _write(pipe: BinaryIO, event: Event) -> None:
    pipe.write(line(event))
    pipe.flush()


if __name__ == "__main__":
    main()
