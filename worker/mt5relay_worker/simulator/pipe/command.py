"""`python -m mt5relay_worker.simulator --serve PATH`: a terminal for the real package to find."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mt5relay_worker.simulator.book import Book, BookError, load_book
from mt5relay_worker.simulator.demo_book import generate_book
from mt5relay_worker.simulator.faults import Faults, FaultsError, load_faults
from mt5relay_worker.simulator.pipe.exchange import Exchange
from mt5relay_worker.simulator.pipe.folder import (
    FolderError,
    claim_folder,
    data_folder_of,
    lay_out,
    withdraw,
)
from mt5relay_worker.simulator.pipe.names import pipe_name
from mt5relay_worker.simulator.pipe.recording import Recorder
from mt5relay_worker.simulator.pipe.relay import PipeUpstream, Relay
from mt5relay_worker.simulator.pipe.terminal import PipeTerminal

EXIT_FAILURE = 1
NEEDS_WINDOWS = "a terminal's named pipe needs Windows (or Wine)"
USE_THE_MODULE = "elsewhere use SimulatedMetaTrader5 in place of the module, see the README"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to serve, and where."""

    program: Path
    book: Path | None = None
    accounts: int = 3
    faults: Path | None = None
    data_folder: Path | None = None
    seed: int = 0
    speed: float = 1.0
    terminal: Path | None = None
    record: Path | None = None


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 when stopped, 1 where it can't serve, 2 for wrong arguments."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    wanted = parse(words)
    try:
        serve(wanted)
    except (BookError, FaultsError, FolderError, OSError) as error:
        return _fail(str(error))
    return 0


def parse(words: Sequence[str] | None = None) -> Wanted:
    parser = argparse.ArgumentParser(
        prog="python -m mt5relay_worker.simulator",
        description="Serve the pipe of a simulated terminal, for the MetaTrader5 package.",
    )
    parser.add_argument(
        "--serve",
        metavar="PATH",
        type=Path,
        required=True,
        dest="program",
        help="the terminal64.exe that it stands for, in a folder of its own; made where missing",
    )
    parser.add_argument("--book", type=Path, help="servers, accounts, symbols; else invented ones")
    parser.add_argument("--accounts", type=int, default=3, help="how many accounts to invent")
    parser.add_argument("--faults", type=Path, help="a file of faults, read whenever it changes")
    parser.add_argument("--data-folder", type=Path, help="where the journal goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=1.0, help="divides latencies; 0 for none")
    parser.add_argument(
        "--terminal", type=Path, help="pass everything on to this real terminal, and record it"
    )
    parser.add_argument("--record", type=Path, help="where the recording goes: a new file")
    given = parser.parse_args(words)
    if (given.terminal is None) != (given.record is None):
        parser.error("--terminal and --record need each other")
    return Wanted(**vars(given))


def load(wanted: Wanted) -> tuple[Book, Faults]:
    """The book, and the faults to begin with.

    Raises:
        BookError, FaultsError: a file can't be used.
    """
    book = generate_book(wanted.accounts, seed=wanted.seed)
    faults = Faults()
    if wanted.book is not None:
        book = load_book(wanted.book)
    if wanted.faults is not None and wanted.faults.exists():
        faults = load_faults(wanted.faults)
    return book, faults


def greeting(program: str, book: Book, *, has_invented_book: bool) -> str:
    """The three lines that a user needs. A password is shown only where it was invented here."""
    lines = ["import MetaTrader5", f"MetaTrader5.initialize({program!r})"]
    if book.accounts:
        first = book.accounts[0]
        password = repr(first.password) if has_invented_book else "..."
        lines.append(
            f"MetaTrader5.login({first.login}, password={password}, server={first.server!r})"
        )
    return "\n".join(lines) + "\n"


def serve(wanted: Wanted) -> None:
    """Serve until Ctrl-C.

    Raises:
        BookError, FaultsError, FolderError: an argument can't be used.
        OSError: the pipe, the folder, or the file of the recording can't be had.
    """
    if wanted.terminal is not None and wanted.record is not None:
        record(wanted.program, wanted.terminal, wanted.record)
        return
    book, faults = load(wanted)
    if sys.platform == "win32":
        _simulate(wanted, book, faults)
    else:
        raise OSError(f"{NEEDS_WINDOWS}; {USE_THE_MODULE}")


def record(program: Path, terminal: Path, out: Path) -> None:
    """Pass on what comes for `program` to a real terminal until Ctrl-C, and write it down masked.

    Raises:
        FolderError: no simulated terminal can live where `program` is.
        OSError: the terminal, the pipe, or the file can't be had; the file must be a new one.
    """
    if sys.platform == "win32":
        upstream = pipe_name(str(terminal.resolve(strict=True)))
        served = claim_folder(program)
        with out.open("xb") as file:
            _record(served, upstream, file)
        _say(f"recorded in {out}: look at it before you give it away\n")
    else:
        raise OSError(NEEDS_WINDOWS)


if sys.platform == "win32":
    from mt5relay_worker.simulator.pipe.windows import PipeServer

    def _simulate(wanted: Wanted, book: Book, faults: Faults) -> None:
        program = claim_folder(wanted.program)
        data_folder = wanted.data_folder or data_folder_of(program, os.environ)
        terminal = PipeTerminal(
            book,
            program,
            faults=faults,
            faults_file=wanted.faults,
            data_folder=data_folder,
            seed=wanted.seed,
            speed=wanted.speed,
        )
        server = PipeServer(pipe_name(program), Exchange(terminal))
        lay_out(data_folder, program)
        _say(greeting(program, book, has_invented_book=wanted.book is None))
        try:
            _serve(server)
        finally:
            withdraw(data_folder)

    def _record(served: str, upstream: str, out: IO[bytes]) -> None:
        relay = Relay(lambda: PipeUpstream(upstream), Recorder(out, time.monotonic()))
        server = PipeServer(pipe_name(served), relay)
        _say(
            f"import MetaTrader5\nMetaTrader5.initialize({served!r})\n"
            "# log in and read, then end this with Ctrl-C\n"
        )
        _serve(server)

    def _serve(server: PipeServer) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            server.serve()


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _fail(why: str) -> int:
    sys.stderr.write(f"simulator: {why}\n")
    return EXIT_FAILURE
