"""The unmodified MetaTrader5 package against the simulator's pipe: two faces of one terminal.

    bash deploy/wine/setup.sh DIR && DIR/winpip msgspec
    DIR/winpy deploy/wine/real_package.py           # in the root of the checkout
    python deploy/wine/real_package.py              # on Windows, with MetaTrader5 and msgspec

First every function is called on the package over the pipe and on the simulator's module face, at
one frozen moment, and what they return is compared value by value; differences that are known are
shown with their reason. Then the faults are switched on one by one, while the package is attached.
Prints one line for each thing seen and exits 1 if one was not as it must be. Takes a minute. Serves
a path in a temporary folder of its own; no terminal is started or touched.
"""

# ruff: noqa: ANN401, S101, S603, PLC0415 - the package has no types; processes and asserts are ours;
# what Windows alone has is imported where it is needed
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "worker"), str(ROOT / "shared"), str(ROOT)]

from mt5relay_worker.simulator import (  # noqa: E402 - needs the paths above
    Book,
    Faults,
    SimulatedMetaTrader5,
    dump_book,
    generate_book,
    load_book,
)

FROZEN_AT = 1_750_000_000.25
DAY = 86_400
NOW = int(FROZEN_AT)
STAGE_SECONDS = 2.0
HANG_SECONDS = 1.5  # of no answer; a call that returns takes milliseconds
# The rows of "Where the two faces differ" (simulator/pipe/README.md), by their first cell: what the
# comparison meets, call by call, and what it does not come across.
KNOWN = {
    "order_calc_profit(7, 'EURUSD', 1.0, 1.1, 1.2)": "the text of a refused value",
    "order_calc_margin(7, 'EURUSD', 1.0, 1.1)": "the text of a refused value",
}
NOT_COMPARED = {
    "nobody known",
    "calls on a terminal that died",
    "an order's deals",
    "very long answers",
    "a date of 0",
    "journal lines of a slow login",
}


class Findings:
    """What was seen, and whether it was as it must be."""

    def __init__(self) -> None:
        self.right = 0
        self.known = 0
        self.wrong: list[str] = []

    def note(self, what: str, seen: object, *, is_right: bool) -> None:
        say(f"{'ok   ' if is_right else 'WRONG'}  {what}: {seen}")
        if is_right:
            self.right += 1
        else:
            self.wrong.append(what)

    def expect(self, what: str, seen: object, expected: object) -> None:
        is_right = seen == expected
        self.note(what, seen if is_right else f"{seen}, not {expected}", is_right=is_right)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# -- the other side -------------------------------------------------------------------------------


def serve_frozen(program: Path, book_file: Path) -> None:
    """A server whose clock stands still, so that prices do."""
    from mt5relay_worker.simulator.pipe.exchange import Exchange
    from mt5relay_worker.simulator.pipe.folder import claim_folder
    from mt5relay_worker.simulator.pipe.names import pipe_name
    from mt5relay_worker.simulator.pipe.terminal import PipeTerminal
    from mt5relay_worker.simulator.pipe.windows import PipeServer

    path = claim_folder(program)
    terminal = PipeTerminal(
        load_book(book_file), path, faults=Faults(scale=0), clock=lambda: FROZEN_AT
    )
    server = PipeServer(pipe_name(path), Exchange(terminal))
    say("serving")
    server.serve()


@contextmanager
def process(*words: str | Path, awaits: str) -> Iterator[subprocess.Popen[str]]:
    """A Python of ours; entered once it has printed a line that begins so."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:3])}
    started = subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert started.stdout is not None
        for line in started.stdout:
            if line.startswith(awaits):
                break
        else:
            raise RuntimeError(f"{words[:3]} ended with status {started.wait(10)}")
        yield started
    finally:
        started.kill()
        started.wait(10)


# -- the same answers -----------------------------------------------------------------------------


def compare(package: Any, scratch: Path, book: Book, findings: Findings) -> None:
    """Every function, on both faces, at one moment."""
    program, book_file = scratch / "frozen" / "terminal64.exe", scratch / "book.json"
    dump_book(book, book_file)
    with process(__file__, "serve", program, book_file, awaits="serving"):
        other = SimulatedMetaTrader5(
            book, faults=Faults(scale=0), clock=lambda: FROZEN_AT, sleep=lambda _: None
        )
        for name, args, kwargs in calls(other, str(program.resolve()), book):
            ours, theirs = (answer(face, name, args, kwargs) for face in (other, package))
            what = shown(name, args, kwargs)
            if ours == theirs:
                findings.right += 1
            elif what in KNOWN:
                findings.known += 1
                say(f"known  {what}: {KNOWN[what]}")
            else:
                findings.note(what, f"package {theirs}, module face {ours}", is_right=False)
        say(f"       {findings.right} calls agree, {findings.known} differ as known")
        conformance(package, str(program.resolve()), book, findings)


def conformance(package: Any, path: str, book: Book, findings: Findings) -> None:
    """The conformance table in a process of its own, on a terminal in which somebody is."""
    account = book.accounts[0]
    is_in = package.initialize(
        path, login=account.login, password=account.password, server=account.server
    )
    package.shutdown()
    findings.expect("logged in for the conformance table", is_in, True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:3])}
    words = [sys.executable, __file__, "conform", path]
    done = subprocess.run(words, env=environment, timeout=300, check=False)
    findings.expect("conformance table, exit status", done.returncode, 0)


def conform(path: str) -> int:
    """Run the table. Of what is only not run there, the last line is enough."""
    from tests.conformance.runner import check, load_real_package, report

    text, status = report(check(load_real_package(path)), "conformance")
    say(text if status else f"       {text.splitlines()[-1]}")
    return status


def answer(face: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    function = getattr(face, name)
    try:
        # A package written in C tells no keywords from an empty dictionary of them.
        found = function(*args, **kwargs) if kwargs else function(*args)
    except Exception as error:
        found = f"raises {type(error).__mro__[-3].__name__}"
    return plain(found), face.last_error()


def plain(found: Any) -> Any:
    """With the names of types and fields, so that these are compared too."""
    if hasattr(found, "_asdict"):
        values = {name: plain(value) for name, value in found._asdict().items()}
        return type(found).__name__, values
    if hasattr(found, "dtype"):
        return found.dtype.names, [tuple(row) for row in found.tolist()]
    if isinstance(found, tuple):
        return tuple(plain(one) for one in found)
    return found


def shown(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    words = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{name}({', '.join(words)})"


def calls(
    mt5: SimulatedMetaTrader5, path: str, book: Book
) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """In order: each sees what the ones before it did, on both faces."""
    yield "initialize", (path,), {}
    for name in ("version", "terminal_info", "account_info", "positions_get", "symbols_total"):
        yield name, (), {}
    yield "history_deals_get", (1, NOW), {}
    for account in book.accounts:
        named = {"password": account.password, "server": account.server}
        yield "login", (account.login,), named
        yield from reads(mt5)
        yield "login", (account.login,), named | {"password": "wrong"}
        yield "login", (account.login,), named | {"server": "Nowhere"}
        yield "login", (1,), named
        yield "account_info", (), {}
    yield from prices()
    yield from trades(mt5)
    first = book.accounts[0]
    yield (
        "initialize",
        (path,),
        {"login": first.login, "password": first.investor_password, "server": first.server},
    )
    yield "account_info", (), {}
    yield "order_send", ({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0},), {}
    yield (
        "initialize",
        (path,),
        {"login": first.login, "password": "wrong", "server": first.server},
    )
    for _ in range(2):
        for name in ("account_info", "symbols_total", "symbols_get"):
            yield name, (), {}
        yield "shutdown", (), {}


def reads(mt5: SimulatedMetaTrader5) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    yield "account_info", (), {}
    for kind in ("positions", "orders"):
        found = getattr(mt5, f"{kind}_get")()
        yield f"{kind}_total", (), {}
        yield f"{kind}_get", (), {}
        for group in (
            "*USD*",
            "EUR*,!EURJPY",
            "NOPE",
            "*,!*",
            "",
            "USD",
            " EUR*",
            "!EUR*",
            "EUR*,",
            "eur*",
        ):
            yield f"{kind}_get", (), {"group": group}
        for symbol in ("EURUSD", "NOPE", ""):
            yield f"{kind}_get", (), {"symbol": symbol}
        for ticket in (1, *(one.ticket for one in found)):
            yield f"{kind}_get", (), {"ticket": ticket}
    for kind in ("deals", "orders"):
        past = getattr(mt5, f"history_{kind}_get")(1, NOW)
        for span in ((1, NOW), (NOW - 9 * DAY, NOW - 2 * DAY), (NOW, 1), (-1.5, NOW + 0.5)):
            yield f"history_{kind}_total", span, {}
            yield f"history_{kind}_get", span, {}
        for group in ("*USD*,!EUR*", ""):
            yield f"history_{kind}_get", (1, NOW), {"group": group}
        for one in past[:6]:
            number = one.order if kind == "deals" else one.ticket
            yield f"history_{kind}_get", (), {"ticket": number}
            yield f"history_{kind}_get", (), {"position": one.position_id}


def prices() -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    for group in ((), ("*USD*",), ("*,!EUR*",), ("NOPE",), ("",), ("EURUSD,XAU*",)):
        yield "symbols_get", group, {}
    for word in ("*USD*", ""):
        yield "symbols_get", (), {"group": word}
    for name in ("EURUSD", "XAUUSD", "NOPE", ""):
        yield "symbol_info", (name,), {}
        yield "symbol_info_tick", (name,), {}
        yield "market_book_get", (name,), {}
        yield "market_book_add", (name,), {}
        yield "market_book_get", (name,), {}
        yield "market_book_release", (name,), {}
        yield "market_book_get", (name,), {}
        yield "symbol_select", (name, False), {}
        yield "symbol_info_tick", (name,), {}
        yield "symbol_select", (name,), {}
        for timeframe in (1, 16_385, 16_408, 32_769, 49_153, 7):
            yield "copy_rates_from_pos", (name, timeframe, 0, 5), {}
            yield "copy_rates_from", (name, timeframe, NOW - DAY, 5), {}
            yield "copy_rates_range", (name, timeframe, NOW - 3_600, NOW), {}
            yield "copy_rates_range", (name, timeframe, NOW - 3_600.5, NOW - 0.5), {}
        for flags in (-1, 1, 2):
            yield "copy_ticks_from", (name, NOW - 60, 5, flags), {}
            yield "copy_ticks_from", (name, NOW - 60.5, 5, flags), {}
            yield "copy_ticks_range", (name, NOW - 9.5, NOW - 0.5, flags), {}
            yield "copy_ticks_range", (name, NOW - 9, NOW, flags), {}
    for number in (-1, 0, 3):
        yield "copy_rates_from_pos", ("EURUSD", 1, number, 2), {}
        yield "copy_rates_from_pos", ("EURUSD", 1, 0, number), {}
        yield "copy_ticks_from", ("EURUSD", NOW - 60, number, -1), {}


def trades(mt5: SimulatedMetaTrader5) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    deal = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "magic": 7, "comment": "x"}
    for change in (
        {},
        {"type": 1},
        {"volume": 0.003},
        {"volume": 99.0},
        {"symbol": "NOPE"},
        {"sl": 9.0},
        {"action": 99},
        {"action": 5, "type": 2, "price": 0.9},
        {"action": 5, "type": 2, "price": 9.0},
        {"action": 8, "order": 1},
        {"action": 6, "position": 1},
    ):
        yield "order_check", (deal | change,), {}
        yield "order_send", (deal | change,), {}
    for held in mt5.positions_get() or ():
        side = {"type": 1 - held.type, "position": held.ticket, "volume": held.volume}
        yield "order_send", (deal | side | {"symbol": held.symbol},), {}
    yield "positions_get", (), {}
    yield "orders_get", (), {}
    yield "history_deals_get", (1, NOW + DAY), {}
    for action in (0, 1, 7):
        yield "order_calc_margin", (action, "EURUSD", 1.0, 1.1), {}
        yield "order_calc_profit", (action, "EURUSD", 1.0, 1.1, 1.2), {}
    yield "order_calc_margin", (0, "NOPE", 1.0, 1.1), {}


# -- the faults -----------------------------------------------------------------------------------


class Lab:
    """A served terminal whose faults can be changed, and the package attached to it."""

    def __init__(self, package: Any, program: Path, faults: Path, book: Book) -> None:
        self.mt5 = package
        self.path = str(program.resolve())
        self.book = book
        self._faults = faults

    def set(self, **faults: object) -> None:
        """Switch faults; the file is replaced in one step, and seen within a tenth of a second."""
        new = self._faults.with_suffix(".new")
        new.write_text(json.dumps({"scale": 0} | faults), "utf-8")
        for _ in range(40):
            try:  # Windows refuses while the other side reads it
                os.replace(new, self._faults)
                break
            except PermissionError:
                time.sleep(0.05)
        time.sleep(0.3)

    def fresh(self, who: int = 0) -> None:
        """No faults, attached, logged in."""
        self.set()
        self.mt5.shutdown()
        self.initialize()
        self.login(who)

    def initialize(self, timeout: int = 5_000) -> tuple[bool, int]:
        done = self.mt5.initialize(self.path, timeout=timeout)
        return done, self.mt5.last_error()[0]

    def login(self, who: int, password: str | None = None, timeout: int = 5_000) -> int:
        account = self.book.accounts[who]
        self.mt5.login(
            account.login,
            password=account.password if password is None else password,
            server=account.server,
            timeout=timeout,
        )
        return int(self.mt5.last_error()[0])

    def shown(self) -> int:
        info = self.mt5.account_info()
        return -1 if info is None else self.number(info.login)

    def number(self, login: int) -> int:
        """The place of an account in the book; -2 for nobody."""
        found = [at for at, account in enumerate(self.book.accounts) if account.login == login]
        return found[0] if found else -2

    def code(self) -> int:
        return int(self.mt5.last_error()[0])


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def faults_reach_the_package(package: Any, scratch: Path, book: Book, findings: Findings) -> None:
    program, faults = scratch / "faulty" / "terminal64.exe", scratch / "faults.json"
    book_file = scratch / "book.json"
    words = ("-m", "mt5relay_worker.simulator", "--serve", program, "--book", book_file)
    data = scratch / "data"
    with process(*words, "--faults", faults, "--data-folder", data, awaits="MetaTrader5.init"):
        lab = Lab(package, program, faults, book)
        for check in CHECKS:
            lab.fresh()
            check(lab, findings)
        lab.set()
        silence(lab, scratch, findings)
        package.shutdown()
        text = "".join(log.read_text("utf-16") for log in data.glob("logs/*.log"))
        findings.note(
            "journal", f"{len(text.splitlines())} lines", is_right="terminal synchronized" in text
        )


def wrong_password(lab: Lab, findings: Findings) -> None:
    findings.expect("wrong password", (lab.login(1, "wrong"), lab.shown()), (-6, 0))


def slow_authorization(lab: Lab, findings: Findings) -> None:
    slow = {"scale": 1, "login_same_server": {"median": 1.5, "p95": 1.50001}}
    slow["login_other_server"] = slow["login_same_server"]
    lab.set(**slow)
    code, seconds = timed(lambda: lab.login(1))
    findings.note("slow login", f"{code} after {seconds:.2f} s", is_right=code == 1 < seconds)
    code, seconds = timed(lambda: lab.login(2, timeout=500))
    findings.note("slower than its time-out", f"{code}, {seconds:.2f} s", is_right=code == -10005)
    findings.expect("which happens nevertheless", lab.shown(), 2)


def login_times_out(lab: Lab, findings: Findings) -> None:
    for ends_on, expected in (("old", 0), ("new", 1), ("none", -2)):
        lab.fresh()
        lab.set(scale=1, login_timeout_probability=1, login_timeout_ends_on=ends_on)
        seen = (lab.login(1, timeout=600), lab.shown())
        findings.expect(f"login times out, ends on {ends_on}", seen, (-10005, expected))


def initialize_codes(lab: Lab, findings: Findings) -> None:
    lab.set(initialize_too_soon_seconds=2)
    lab.mt5.shutdown()
    time.sleep(0.2)
    findings.expect("initialize too soon", lab.initialize(), (False, -6))
    lab.set(scale=1, initialize_timeout_probability=1)
    findings.expect("initialize times out", lab.initialize(700), (False, -10005))
    lab.set(recompile_seconds=3)
    findings.expect("recompile, too long", lab.initialize(300), (False, -10005))
    findings.expect("recompile, waited for", lab.initialize(9_000), (True, 1))
    lab.set(algo_off_after_switch=True)
    lab.login(0)
    lab.login(1)
    findings.expect("algo off", lab.mt5.terminal_info().trade_allowed, False)
    findings.expect("next initialize", lab.initialize(500), (False, -10005))
    findings.expect("the one after it", lab.initialize(500), (True, 1))


def stages(lab: Lab, findings: Findings) -> None:
    lab.set(stale_login_probability=1, stale_login_seconds=STAGE_SECONDS)
    seen = [lab.login(1), lab.shown()]
    time.sleep(STAGE_SECONDS)
    findings.expect("A, the old account", [*seen, lab.shown()], [1, 0, 1])
    lab.set(account_info_none_seconds=STAGE_SECONDS)
    lab.login(0)
    seen = [lab.shown(), lab.code()]
    time.sleep(STAGE_SECONDS)
    findings.expect("A, no account", [*seen, lab.shown()], [-1, -1, 0])
    lab.set(margin_zero_seconds=STAGE_SECONDS)
    lab.login(1)
    seen = [lab.mt5.account_info().margin_free == 0]
    time.sleep(STAGE_SECONDS)
    findings.expect("B, no margin", [*seen, lab.mt5.account_info().margin_free > 0], [True] * 2)
    lab.set(lists_empty_seconds=STAGE_SECONDS)
    lab.login(0)
    seen = [lab.mt5.positions_get(), lab.mt5.orders_total()]
    time.sleep(STAGE_SECONDS)
    findings.expect("C, empty lists", [*seen, bool(lab.mt5.positions_get())], [(), 0, True])
    lab.set(history_short_seconds=STAGE_SECONDS)
    lab.login(0)
    short = lab.mt5.history_deals_total(1, (1 << 31) - 1)
    time.sleep(STAGE_SECONDS)
    full = lab.mt5.history_deals_total(1, (1 << 31) - 1)
    findings.note("D, short history", f"{short} of {full}", is_right=short < full)


def behind_our_back(lab: Lab, findings: Findings) -> None:
    lab.set(account_changed_probability=1)
    seen = {lab.shown() for _ in range(8)}
    findings.note("account changed behind our back", sorted(seen), is_right=len(seen) > 1)


def death(lab: Lab, findings: Findings) -> None:
    lab.set(terminal_dies_every_switches=1)
    code = lab.login(1)
    info = lab.mt5.account_info()
    first, again = lab.code(), (lab.mt5.positions_get(), lab.code())
    is_right = code == 1 and info is None and first in LINK_ERRORS and again[1] in LINK_ERRORS
    findings.note("terminal dies", f"login {code}, then {first}, {again[1]}", is_right=is_right)
    lab.set()
    findings.expect("restart", (lab.initialize(), lab.shown()), ((True, 1), 1))


def update(lab: Lab, findings: Findings) -> None:
    before = lab.mt5.terminal_info().build
    lab.set(update_outage_seconds=2.5)
    time.sleep(1.5)
    lab.mt5.account_info()
    findings.note("update", lab.code(), is_right=lab.code() in LINK_ERRORS)
    findings.expect("back after it", lab.initialize(), (True, 1))
    after = lab.mt5.version()[1]
    findings.note("with a higher build", f"{before}, {after}", is_right=after > before)


def missing(lab: Lab, findings: Findings) -> None:
    lab.set(terminal_missing=True)
    lab.mt5.account_info()
    findings.note("terminal gone", lab.code(), is_right=lab.code() in LINK_ERRORS)
    seen, seconds = timed(lab.initialize)
    text = f"{seen}, {lab.mt5.last_error()[1]!r}, {seconds:.1f} s"
    findings.note("no terminal", text, is_right=seen == (False, -10003))
    lab.set()
    findings.expect("installed again", lab.initialize(), (True, 1))


def broker(lab: Lab, findings: Findings) -> None:
    lab.set(scale=1, broker_link_lost=True, broker_link_lost_answer_seconds=0.5)
    code, seconds = timed(lambda: lab.login(1))
    findings.note("link lost", f"{code}, {seconds:.1f} s", is_right=code == -10005 and seconds < 4)
    seen = (lab.mt5.terminal_info().connected, lab.shown(), bool(lab.mt5.positions_get()))
    findings.expect("old account still served", seen, (False, 0, True))
    lab.set(throttle_logins_per_minute=2, throttle_minutes=0.02)
    codes = [lab.login(0) for _ in range(4)]
    findings.note("throttle", codes, is_right=codes[0] == 1 and -6 in codes)
    time.sleep(1.5)


def trade_api(lab: Lab, findings: Findings) -> None:
    lab.set(trade_api_disabled=True)
    lab.mt5.order_calc_margin(0, "EURUSD", 1.0, 1.1)
    findings.expect("trade api disabled", lab.code(), -8)
    lab.set(saved_password_accepted=True)
    findings.expect("saved password", lab.login(0, "wrong"), 1)


def silence(lab: Lab, scratch: Path, findings: Findings) -> None:
    """A call that never returns can only be ended with its process; then all is well again."""
    for function in ("account_info", "positions_get", "initialize"):
        lab.set(calls_that_hang=[function])
        with process(__file__, "ask", lab.path, function, awaits=f"asking {function}") as asker:
            try:
                asker.wait(HANG_SECONDS)
                hung = False
            except subprocess.TimeoutExpired:
                hung = True
        findings.expect(f"{function} never returns", hung, True)
        lab.set()
        findings.expect("the next one is served", lab.initialize(), (True, 1))


LINK_ERRORS = frozenset({-10001, -10002, -10004})
CHECKS = (
    wrong_password,
    slow_authorization,
    login_times_out,
    initialize_codes,
    stages,
    behind_our_back,
    death,
    update,
    missing,
    broker,
    trade_api,
)


def ask(path: str, function: str) -> None:
    """In a process of its own: attach, then make one call. Says which it makes before it does."""
    import MetaTrader5

    steps = {"initialize": lambda: MetaTrader5.initialize(path)}
    for name in dict.fromkeys(("initialize", function)):
        say(f"asking {name}")
        steps.get(name, getattr(MetaTrader5, name))()


def main() -> int:
    try:
        import MetaTrader5
    except ImportError as error:
        say(f"{error}: this needs Windows, or the rig, with MetaTrader5 in it")
        return 2
    findings = Findings()
    book = generate_book(4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        scratch = Path(made)
        say(f"-- the same answers from MetaTrader5 {MetaTrader5.__version__} over the pipe")
        compare(MetaTrader5, scratch, book, findings)
        say("-- the faults, over the pipe")
        faults_reach_the_package(MetaTrader5, scratch, book, findings)
    say(f"{findings.right} right, {findings.known} known differences, {len(findings.wrong)} wrong")
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", program, book_file]:
            serve_frozen(Path(program), Path(book_file))
        case ["conform", path]:
            sys.exit(conform(path))
        case ["ask", path, function]:
            ask(path, function)
        case _:
            sys.exit(main())
