"""The terminal process: holds the binding, opens credentials, does what the worker's frames say.

It runs apart because the binding holds the interpreter lock while it waits and cannot be
interrupted: only killing the process ends a call. One thread makes every call on the binding, as
the binding demands; another reads the pipe, and ends the process when the worker is gone.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_file import read_private_keys
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.simulator import BookError, SimulatedMetaTrader5, load_book
from mt5relay_worker.terminal.exclusive import TerminalLock
from mt5relay_worker.terminal.failure import IdentityError, ServerNameError, TerminalError
from mt5relay_worker.terminal.journal import Journal, open_journal
from mt5relay_worker.terminal.metatrader5 import Binding, MetaTrader5Adapter, load_metatrader5
from mt5relay_worker.terminal.options import TerminalOptions
from mt5relay_worker.terminal.protocol import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    Answer,
    Command,
    Detach,
    Done,
    Enrolled,
    Failed,
    Forget,
    Hello,
    Initialize,
    Initialized,
    Probe,
    Probed,
    Read,
    Reading,
    ReadKeys,
    ReadResult,
    Reseal,
    Resealed,
    Visit,
    Visited,
    command_decoder,
    frame,
    frame_length,
    options_decoder,
)
from mt5relay_worker.terminal.seen_file import SeenFile
from mt5relay_worker.terminal.switching import SwitchLimits, VerifiedSwitch
from mt5relay_worker.terminal.tick_watch import TickWatch
from mt5relay_worker.terminal.vault import ReplayedCredentialError, Vault

FrameT = TypeVar("FrameT")

NEVER_READY_KEPT = 1_000  # reads
VISIT_BUDGET_BYTES = MAX_FRAME_BYTES // 2


class TerminalHost:
    """Carries out commands, one at a time, on the thread that calls `handle`.

    `find_journal` is given the terminal's data folder whenever the terminal was attached,
    `read_keys` is asked when the keys are to be read anew. `investor_only` answers nothing of an
    account that could trade. What is not ready yet (bars that load, a symbol's first price) is
    asked for again for `not_ready_limit` seconds a visit; once only, if that was in vain.
    """

    def __init__(
        self,
        terminal: MetaTrader5Adapter,
        switch: VerifiedSwitch,
        vault: Vault,
        path: str | None,
        *,
        find_journal: Callable[[str], Journal | None] = open_journal,
        ticks: TickWatch | None = None,
        read_keys: Callable[[], KeyRing] | None = None,
        investor_only: bool = False,
        not_ready_limit: float = 5.0,
    ) -> None:
        self._terminal = terminal
        self._switch = switch
        self._vault = vault
        self._path = path
        self._find_journal = find_journal
        self._ticks = ticks or TickWatch(terminal)
        self._read_keys = read_keys
        self._investor_only = investor_only
        self._not_ready_limit = not_ready_limit
        self._never_ready: OrderedDict[tuple[AccountId, str, str], None] = OrderedDict()

    def handle(self, command: Command, tell: Callable[[Answer], None] = lambda _: None) -> Answer:
        """Do what is asked; whatever the terminal does wrong becomes a `Failed`.

        A visit that is traced tells each read before it is made.
        """
        try:
            return self._carry_out(command, tell)
        except ServerNameError as error:
            return Failed(error.code, error.message, about_credential="server_name")
        except IdentityError as error:
            return Failed(error.code, error.message, error.mt5, identity_mismatch=True)
        except TerminalError as error:
            return Failed(error.code, error.message, error.mt5)
        except _TradingRightsError as error:
            return Failed("INVALID_STATE", str(error), about_credential="trading_rights")
        except ReplayedCredentialError as error:
            return Failed("INVALID_STATE", error.message, about_credential="replayed")
        except MT5ValidationError as error:
            return Failed("INVALID_STATE", error.message)
        except Exception as error:  # a command is a unit of work; without its text, see `_made`
            return Failed("INTERNAL", f"{command!r}: {type(error).__name__} was raised")

    def _carry_out(self, command: Command, tell: Callable[[Answer], None]) -> Answer:
        match command:
            case Initialize():
                return self._initialize(command)
            case Visit():
                return self._visit(command, tell if command.traced else lambda _: None)
            case Probe():
                return self._probe()
            case Forget():
                self._vault.forget(_accounts(command.accounts))
                return Done()
            case Enrolled():
                self._vault.only_these_are_enrolled(_accounts(command.accounts))
                return Done()
            case ReadKeys():
                return self._read_keys_anew()
            case Reseal():
                account = AccountId(command.login, command.server)
                return Resealed(self._vault.reseal(account, command.envelope))
            case Detach():
                self._switch.forget()
                self._terminal.shutdown()
                return Done()

    def _initialize(self, command: Initialize) -> Initialized:
        self._switch.forget()
        self._terminal.initialize(self._path, command.timeout_ms)
        state = self._terminal.state()
        self._refuse_another_terminal(state.path)
        self._switch.follow(self._find_journal(state.data_path))
        return Initialized(state.build, self._terminal.package_version())

    def _refuse_another_terminal(self, attached_to: str) -> None:
        """`initialize` has been seen to attach to whatever terminal was running."""
        if self._path is None or not attached_to:
            return
        wanted = os.path.normcase(os.path.dirname(self._path))
        if os.path.normcase(attached_to) != wanted:
            self._terminal.shutdown()
            raise TerminalError(
                "MT5_INIT_FAILED", f"attached to the terminal in {attached_to}, not in {wanted}"
            )

    def _read_keys_anew(self) -> Hello:
        if self._read_keys is not None:
            self._vault.ring = self._read_keys()
        return _hello(self._vault.ring)

    def _visit(self, visit: Visit, tell: Callable[[Answer], None]) -> Visited:
        account = AccountId(visit.login, visit.server)
        was_open = self._vault.opened_as(account)
        try:
            password = self._vault.password(account, visit.fingerprint, visit.envelope)
            if was_open is not None and was_open.password is password:
                self._switch.renew(account, was_open.fingerprint, visit.fingerprint)
            return self._log_in_and_read(account, password, visit, tell)
        except (TerminalError, MT5ValidationError, _TradingRightsError):
            self._vault.forget([account])  # it is in no session: nobody would say so later
            raise

    def _log_in_and_read(
        self,
        account: AccountId,
        password: Secret,
        visit: Visit,
        tell: Callable[[Answer], None],
    ) -> Visited:
        began = self._switch.now()
        switched = not self._switch.is_on(account, visit.fingerprint)
        if switched:
            self._switch.switch(account, visit.fingerprint, password, visit.timeout_ms)
        switch_ms = (self._switch.now() - began) * 1000
        self._require_investor(account)
        results = within_budget(self._make(account, visit.reads, tell, is_seen=not switched))
        self._require_investor(account)
        # In a traced visit the last read that was told is held responsible for whatever follows.
        if not visit.traced:
            self._ticks.look(account, symbols_in(visit.reads))
        return Visited(
            visit.login,
            visit.server,
            switched,
            switch_ms,
            self._switch.synchronized,
            results,
            server_utc_offset=self._ticks.offset(visit.server),
        )

    def _require_investor(self, account: AccountId) -> None:
        """Looked at before the reads and after them: an investor's login never has these rights,
        a trader's may lack them while the broker has trading disabled."""
        if self._investor_only and self._terminal.account_info().trade_allowed:
            self._switch.forget()
            raise _TradingRightsError(
                f"{account} is enrolled with a password that can trade, and MT5_INVESTOR_ONLY is"
                f" set; enrol it with its investor password: `mt5relay accounts add {account}`"
            )

    def _make(
        self,
        account: AccountId,
        reads: Iterable[Read],
        tell: Callable[[Answer], None],
        *,
        is_seen: bool,
    ) -> Iterator[ReadResult]:
        """Read by read; between two of them one look at who is logged in is enough."""
        give_up_at = self._switch.now() + self._not_ready_limit  # for all reads of the visit
        for index, read in enumerate(reads):
            tell(Reading(index))
            # A symbol that never gets a price must not take the terminal for so long each time.
            key = (account, read.operation, repr(read.arguments))
            was_waited_for = key in self._never_ready
            result = self._switch.read(
                account,
                read,
                is_seen=is_seen,
                give_up_at=None if was_waited_for else give_up_at,
            )
            self._note_ready(key, is_ready=result.kind != "not_ready")
            is_seen = result.data is not None
            yield result

    def _note_ready(self, key: tuple[AccountId, str, str], *, is_ready: bool) -> None:
        if is_ready:
            self._never_ready.pop(key, None)
            return
        self._never_ready[key] = None
        if len(self._never_ready) > NEVER_READY_KEPT:
            self._never_ready.popitem(last=False)

    def _probe(self) -> Probed:
        state = self._terminal.state()
        identity = self._identity_if_readable()
        if identity is not None and state.connected:
            self._ticks.look(identity)
        return Probed(
            connected=state.connected,
            trade_allowed=state.trade_allowed,
            login=identity.login if identity else 0,
            server=identity.server if identity else "",
            data_feed_ok=state.connected and state.ping_ms > 0,
            ping_ms=state.ping_ms,
            terminal_build=state.build,
        )

    def _identity_if_readable(self) -> AccountId | None:
        """One account whose record can't be read says nothing about the terminal."""
        try:
            return self._terminal.identity()
        except TerminalError as error:
            if error.code != "INTERNAL":
                raise
            return None


class _TradingRightsError(Exception):
    """An account that may only be looked at could trade."""


def _accounts(pairs: Iterable[tuple[int, str]]) -> list[AccountId]:
    return [AccountId(*pair) for pair in pairs]


def symbols_in(reads: Iterable[Read]) -> list[str]:
    """The symbols that reads ask for; some may not exist."""
    named = (read.arguments.get("symbol") for read in reads)
    return [symbol for symbol in named if isinstance(symbol, str)]


def no_journal(data_folder: str) -> None:
    """For a worker that is told to leave the journal alone."""


def within_budget(results: Iterable[ReadResult]) -> list[ReadResult]:
    """Refuse what does not fit into one frame: one huge history must not look like a lost link."""
    kept: list[ReadResult] = []
    left = VISIT_BUDGET_BYTES
    for result in results:
        size = len(result.data or b"")
        if size > left:
            kept.append(
                ReadResult(
                    kind="error",
                    took_ms=result.took_ms,
                    code="VALIDATION_FAILED",
                    message=f"the answer has {size} bytes; narrow the range",
                )
            )
        else:
            left -= size
            kept.append(result)
    return kept


def read_frames(stream: BinaryIO, deliver: Callable[[Command | None], None]) -> None:
    """Read commands until the pipe closes or can't be understood; then deliver None, once."""
    try:
        while (command := _read_frame(stream, command_decoder)) is not None:
            deliver(command)
    finally:
        deliver(None)


def _read_frame(stream: BinaryIO, decoder: msgspec.msgpack.Decoder[FrameT]) -> FrameT | None:
    """What comes next, or None where the pipe closed, be it in the middle of something."""
    prefix = stream.read(LENGTH_BYTES)
    if len(prefix) < LENGTH_BYTES:
        return None
    length = frame_length(prefix)
    body = stream.read(length)
    return decoder.decode(body) if len(body) == length else None


def make_binding(options: TerminalOptions) -> Binding:
    """The real package, or the simulator with the book and the faults that settings name."""
    if options.terminal == "metatrader5":
        return load_metatrader5()
    if options.simulator_book is None:
        raise MT5ValidationError(
            "setting MT5_SIMULATOR_BOOK: it is missing; it should be: a JSON file of accounts,"
            " needed because MT5_TERMINAL is `simulated`"
        )
    return SimulatedMetaTrader5(
        load_book(Path(options.simulator_book)),
        faults_file=_path(options.simulator_faults),
        speed=options.simulator_speed,
        data_folder=_path(options.simulator_data),
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def make_host(options: TerminalOptions, binding: Binding) -> tuple[TerminalHost, Hello]:
    ring = read_private_keys(options)
    seen = SeenFile(Path(options.seen_file))
    seen.open()
    terminal = MetaTrader5Adapter(binding, portable=options.terminal_portable)
    limits = SwitchLimits(
        identity=options.identity_timeout,
        hydration=options.hydration_timeout,
        sync=options.sync_timeout,
    )
    switch = VerifiedSwitch(terminal, limits)
    host = TerminalHost(
        terminal,
        switch,
        Vault(ring, seen, accepts_v1=options.old_envelopes == "accept"),
        options.terminal_path,
        find_journal=open_journal if options.journal == "auto" else no_journal,
        read_keys=lambda: read_private_keys(options),
        investor_only=options.investor_only,
        not_ready_limit=options.sync_timeout,
    )
    warnings = [] if seen.trouble is None else [f"old credentials can't be told: {seen.trouble}"]
    return host, _hello(ring, warnings)


def _hello(ring: KeyRing, warnings: Sequence[str] = ()) -> Hello:
    key = ring.current
    return Hello(
        key.key_id, key.public_key, key.envelope_version, ring.key_ids, warnings=list(warnings)
    )


def main(make: Callable[[TerminalOptions], Binding] = make_binding) -> None:
    _leave_interrupts_to_the_worker()
    pipe_in, pipe_out = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not break the frames
    options = _read_frame(pipe_in, options_decoder)
    if options is None:
        return  # the worker is gone
    path = _path(options.terminal_path)
    try:
        lock = TerminalLock(path) if path else None
        if lock is not None:
            lock.acquire()  # for as long as this process lives
        host, hello = make_host(options, make(options))
    except (MT5ValidationError, TerminalError, BookError) as error:
        _write(pipe_out, Failed("MT5_INIT_FAILED", str(error)))  # the worker tells everybody
        return
    serve(host, hello, pipe_in, pipe_out, gone=lambda: os._exit(0))


def _leave_interrupts_to_the_worker() -> None:
    """Ctrl-C reaches every process of a console; the visit under way is the worker's to finish."""
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def serve(
    host: TerminalHost,
    hello: Hello,
    pipe_in: BinaryIO,
    pipe_out: BinaryIO,
    *,
    gone: Callable[[], None],
) -> None:
    """Answer frames until the worker closes the pipe.

    `gone` is called on the reading thread the moment the pipe closes, even while a call on the
    binding hangs: a terminal process must not outlive its worker.
    """
    commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()

    def deliver(command: Command | None) -> None:
        commands.put(command)
        if command is None:
            gone()

    reader = threading.Thread(target=read_frames, args=(pipe_in, deliver), daemon=True)
    reader.start()
    _write(pipe_out, hello)
    while (command := commands.get()) is not None:
        _write(pipe_out, host.handle(command, lambda answer: _write(pipe_out, answer)))


def _write(pipe: BinaryIO, answer: Answer) -> None:
    try:
        encoded = frame(answer)
    except Exception as error:
        kind = f"{type(answer).__name__}: {type(error).__name__}"
        encoded = frame(Failed("INTERNAL", f"the answer can't be encoded: {kind}"))
    pipe.write(encoded)
    pipe.flush()


if __name__ == "__main__":
    main()
