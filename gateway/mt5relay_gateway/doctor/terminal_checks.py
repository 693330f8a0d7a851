"""Pure checks of one terminal: its worker, its queue, its credentials.

A part of the facts that was not seen ends a check with `NotSeenError`; whoever runs it says so.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from mt5relay_gateway.doctor.facts import Facts, Terminal
from mt5relay_gateway.doctor.judging import (
    Verdict,
    Verdicts,
    info,
    not_checked,
    ok,
    problem,
    span,
    warning,
)
from mt5relay_gateway.doctor.looks import NotSeenError, Seen, Unseen
from mt5relay_gateway.doctor.server_checks import admin_cli
from mt5relay_shared.envelopes import ENVELOPE_VERSION
from mt5relay_shared.fleet import Fleet, TerminalState
from mt5relay_shared.keys import WORKER_CONSUMER, WORKER_GROUP, Keys
from mt5relay_shared.wire_versions import common_version, parse_versions, spelled

OLDEST_PACKAGE = (5, 0, 5120)  # the oldest that was tried
NEWEST_PACKAGE = (5, 0, 6231)  # the one whose behaviour was measured
OLDEST_BUILD = 5120
MANY_WAITING = 1_000
LONG_WAIT_MS = 60_000
OVERDUE_MS = 30_000  # past its deadline a request is dropped within seconds
MOST_NAMED = 5  # accounts in one finding
STALE_SNAPSHOT_MS = 24 * 3_600_000

NOBODY = "no worker lives"

_START = "On the worker's host, start it and read its first log line:"


def _keys(terminal: Terminal) -> Keys:
    return Keys(terminal.terminal, terminal.prefix)


def _delete(facts: Facts, key: str) -> str:
    return admin_cli(facts.server, f"DEL '{key}'")


def _enrol_again(terminal: Terminal, accounts: Sequence[str]) -> str:
    return "\n".join(
        f"mt5relay accounts add {shlex.quote(account)} --terminal {terminal.terminal}"
        for account in accounts[:MOST_NAMED]
    )


def start_command(terminal: str) -> str:
    return (
        f"systemctl start mt5relay-worker@{terminal}  # systemd\n"
        f"Start-ScheduledTask -TaskName 'mt5relay worker {terminal}'  # Windows, PowerShell"
    )


def restart_command(terminal: str) -> str:
    task = f"-TaskName 'mt5relay worker {terminal}'"
    return (
        f"systemctl restart mt5relay-worker@{terminal}  # systemd\n"
        f"Stop-ScheduledTask {task}; Start-ScheduledTask {task}  # Windows, PowerShell"
    )


def log_command(terminal: str) -> str:
    return (
        f"journalctl -u mt5relay-worker@{terminal} -n 100  # systemd\n"
        "Get-Content worker.log -Tail 100  # Windows, in the worker's folder"
    )


def alive(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    if terminal.health.value:
        return [ok(f"{terminal.health.value.get('worker_id', 'a worker')} speaks")]
    held = isinstance(terminal.is_lease_held, Seen) and terminal.is_lease_held.value
    if held:
        return [
            problem(
                "a worker holds the lease and says nothing",
                "It was taken over seconds ago, or it stands still: requests wait.",
                "Look again in ten seconds. If it stays so, restart it:",
                restart_command(terminal.terminal),
            )
        ]
    return [
        problem(
            NOBODY,
            "Requests are refused with NO_WORKER; what is in the queue waits.",
            _START,
            start_command(terminal.terminal),
        )
    ]


def lease(facts: Facts, terminal: Terminal) -> Verdicts:
    held = terminal.lease
    if isinstance(held, Unseen):
        if terminal.is_lease_held.value:
            return [ok("held; by whom the user operator may see")]
        return [_nobody(terminal)]
    if held.value is None:
        return [_nobody(terminal)]
    worker, _, rest = held.value.partition(":")
    fence = rest.rpartition(":")[2]
    if isinstance(terminal.lease_ttl_ms, Seen) and terminal.lease_ttl_ms.value == -1:
        return [
            problem(
                f"held by {worker} for ever",
                "A lease without an expiry was not written by a worker: no worker can take over.",
                "Make sure that no worker runs, then, as an administrator of Redis:",
                _delete(facts, _keys(terminal).lease),
            )
        ]
    speaker = _health(terminal).get("worker_id", worker)
    if speaker not in ("", worker):
        return [
            info(f"held by {worker}, fence {fence}; the health key still is of {speaker}"),
        ]
    return [ok(f"held by {worker}, fence {fence}")]


def _nobody(terminal: Terminal) -> Verdict:
    if isinstance(terminal.health, Seen) and not terminal.health.value:
        return not_checked(NOBODY)
    if _health(terminal):
        return warning(
            "nobody holds the lease, though a worker spoke a moment ago",
            "It is changing hands, or the worker has lost it and will be started again.",
            "Look again in ten seconds:",
            f"mt5relay doctor --terminal {terminal.terminal}",
        )
    return problem(
        "nobody holds the lease",
        "New requests are refused with NO_WORKER.",
        _START,
        start_command(terminal.terminal),
    )


def _health(terminal: Terminal) -> Mapping[str, str]:
    return terminal.health.value if isinstance(terminal.health, Seen) else {}


def _of_a_living_worker(terminal: Terminal) -> Mapping[str, str]:
    """What it says of itself; a check of it ends where there is none.

    Raises:
        NotSeenError: no worker lives, or its health could not be seen.
    """
    if not terminal.health.value:
        raise NotSeenError(Unseen(NOBODY))
    return terminal.health.value


def heartbeat(facts: Facts, terminal: Terminal) -> Verdicts:
    health = _of_a_living_worker(terminal)
    restart = restart_command(terminal.terminal)
    age_ms = terminal.now_ms.value - _number(health, "heartbeat_at_ms")
    left = terminal.health_ttl_ms
    if isinstance(left, Seen) and left.value == -1:
        return [
            problem(
                f"the health key never expires; its heartbeat is {span(max(0, age_ms) / 1000)} old",
                "No worker wrote it so: it was restored or written by hand, and says that a worker"
                " lives where there may be none.",
                "As an administrator of Redis; a living worker writes it anew at once:",
                _delete(facts, _keys(terminal).health),
            )
        ]
    if age_ms < -2_000:
        return [
            warning(
                f"the last heartbeat is {span(-age_ms / 1000)} in the future",
                "Redis' clock was set back, or the worker misjudges it; deadlines follow it.",
                "Restart the worker, which then asks Redis for the time anew:",
                restart,
            )
        ]
    # The key lives for three heartbeats, so age and what is left tell what one is.
    limit_ms = (age_ms + left.value) / 2 if isinstance(left, Seen) else 30_000
    if age_ms > max(limit_ms, 1_000):
        return [
            warning(
                f"the last heartbeat is {span(age_ms / 1000)} old",
                "The worker misses beats: its host is overloaded, suspended or cut off from Redis.",
                "Look at its log for worker.stalled and heartbeat.redis_unavailable:",
                log_command(terminal.terminal),
            )
        ]
    return [ok(f"{span(max(0, age_ms) / 1000)} ago")]


def status(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    health = _of_a_living_worker(terminal)
    state, breaker = health.get("state", ""), health.get("breaker", "")
    said = f"{health.get('status')}, {state}, breaker {breaker}"
    error = health.get("last_error_code", "")
    after = f"; last error {error}: {health.get('last_error_text', '')}" if error else ""
    if breaker == "OPEN" or state == "ERROR":
        return [
            problem(
                said + after,
                "The terminal failed in spite of retries; callers are refused or get snapshots.",
                f"deploy/RUNBOOK.md tells what {error or 'the code'} means; when it is mended:",
                "mt5relay breaker probe",
            )
        ]
    if health.get("status") != "ok":
        return [
            warning(
                said + after,
                "It is starting, reconnecting or trying again; if that lasts, nothing is answered.",
                "See what it did:",
                "mt5relay events --last 30",
            )
        ]
    return [*_links(health)] or [ok(said)]


_LINKS = {
    "connection_ok": "the terminal's link to the broker",
    "auth_ok": "the login",
    "data_feed_ok": "the data feed",
}


def _links(health: Mapping[str, str]) -> Verdicts:
    broken = [words for name, words in _LINKS.items() if health.get(name) == "0"]
    if broken:
        yield warning(
            f"{' and '.join(broken)} failed at the last health check",
            "Answers may be refused, or stale.",
            "",
            "mt5relay events --last 30",
        )


def versions(facts: Facts, terminal: Terminal) -> Verdicts:
    health = _of_a_living_worker(terminal)
    theirs, ours = health.get("version", "unknown"), facts.client.version
    if theirs == ours:
        return [ok(ours)]
    return [
        info(
            f"the worker is {theirs}, this side is {ours}",
            "Neighbouring versions understand each other; in the long run have one.",
            "Upgrade the older side; deploy/README.md, Upgrading, tells in which order.",
        )
    ]


def wire(facts: Facts, terminal: Terminal) -> Verdicts:
    health = _of_a_living_worker(terminal)
    theirs, ours = parse_versions(health.get("wire_versions")), facts.client.wire_versions
    common = common_version(ours, theirs)
    if common is not None:
        return [ok(f"version {common}")]
    older = "this side" if max(theirs) > max(ours) else "the worker"
    return [
        problem(
            f"the worker reads {spelled(theirs)}, this side {spelled(ours)}",
            "They have no version of the contract in common: nothing is answered.",
            f"Upgrade {older} first.",
            "pip install --upgrade mt5relay",
        )
    ]


def program(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    health = _of_a_living_worker(terminal)
    if health.get("binding") == "simulated":
        return [
            warning(
                "a simulated terminal answers",
                "Its accounts, balances and positions are invented.",
                "For a real one set MT5_TERMINAL=metatrader5 and MT5_TERMINAL_PATH at the worker.",
                "mt5relay-worker check",
            )
        ]
    build, package = health.get("terminal_build", ""), health.get("package_version", "")
    said = [*_of_package(package), *_of_build(build)]
    path = health.get("terminal_path") or "path not told by this worker"
    return said or [ok(f"{path}, build {build or 'unknown'}, package {package or 'unknown'}")]


def _of_package(package: str) -> Verdicts:
    number = tuple(int(one) for one in re.findall(r"\d+", package)[:3])
    if number and number < OLDEST_PACKAGE:
        yield warning(
            f"the MetaTrader5 package is {package}",
            "The oldest that was tried here is 5.0.5120.",
            "On the worker's host, then restart the worker:",
            "py -m pip install --upgrade MetaTrader5",
        )
    elif number > NEWEST_PACKAGE:
        yield info(f"the MetaTrader5 package {package} is newer than 5.0.6231, the one measured")


def _of_build(build: str) -> Verdicts:
    if build.isdigit() and int(build) < OLDEST_BUILD:
        yield warning(
            f"the terminal's build is {build}",
            "The package asks for a terminal of about its own age and refuses others (-5).",
            "Update the terminal (Help, Check for Updates), then restart the worker.",
        )


def queue(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    waiting = terminal.waiting.value
    age_ms = _oldest_age_ms(terminal)
    for_how_long = f", the oldest for {span(age_ms / 1000)}" if age_ms and waiting else ""
    said = f"{waiting} waiting{for_how_long}"
    if waiting >= MANY_WAITING or (age_ms or 0) > LONG_WAIT_MS:
        return [
            warning(
                said,
                "More is asked than one terminal answers, or it answers nothing.",
                "Who waits, and since when; then allow older answers (max_age) or add a terminal:",
                "mt5relay queue",
            )
        ]
    return [ok(said)]


def _oldest_age_ms(terminal: Terminal) -> int | None:
    if isinstance(terminal.oldest, Seen) and isinstance(terminal.now_ms, Seen):
        first = terminal.oldest.value
        return 0 if first is None else max(0, terminal.now_ms.value - first.arrived_ms)
    return _number(_health(terminal), "oldest_request_age_ms")


def overdue(facts: Facts, terminal: Terminal) -> Verdicts:
    """An entry past its deadline is dropped or answered within seconds where a worker works."""
    del facts
    first, now_ms = terminal.oldest.value, terminal.now_ms.value
    if first is None or first.deadline_ms is None or now_ms - first.deadline_ms < OVERDUE_MS:
        return [ok("nothing is past its deadline")]
    late = span((now_ms - first.deadline_ms) / 1000)
    restart = restart_command(terminal.terminal)
    return [
        problem(
            f"a request is {late} past its deadline and still in the queue",
            "A worker that works drops it within seconds: this one stands still, or there is none.",
            "It is dropped as soon as a worker works:",
            restart if _health(terminal) else start_command(terminal.terminal),
        )
    ]


def pending(facts: Facts, terminal: Terminal) -> Verdicts:
    """Entries given out and not acknowledged; while a worker lives they are its backlog."""
    found = terminal.pending.value
    if found is None or not found.count:
        yield ok("none")
        return
    strangers = {
        name: count for name, count in found.by_consumer.items() if name != WORKER_CONSUMER
    }
    if strangers:
        names = ", ".join(f"{name} ({count})" for name, count in strangers.items())
        yield problem(
            f"entries were given to somebody who is no worker: {names}",
            "They are answered by nobody: only the consumer worker is looked after.",
            "End whoever reads this group; then, as an administrator of Redis:",
            admin_cli(
                facts.server,
                f"XAUTOCLAIM '{_keys(terminal).requests}' {WORKER_GROUP} {WORKER_CONSUMER} 0 0",
            ),
        )
    own = found.by_consumer.get(WORKER_CONSUMER, found.count - sum(strangers.values()))
    if own and not _health(terminal) and isinstance(terminal.health, Seen):
        yield warning(
            f"{own} were begun by a worker that is gone",
            "Nobody works on them; the next worker takes them over first.",
            _START,
            start_command(terminal.terminal),
        )
    elif not strangers:
        yield ok(f"{own} in the worker's hands")


def dead_letters(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    count = terminal.dead.value
    if not count:
        return [ok("none")]
    return [
        info(
            f"{count} dead letter{'s' if count > 1 else ''}",
            "Requests that crashed the worker again and again, or made no sense.",
            "Look at them, then `mt5relay dead replay ENTRY_ID` or `dead drop ENTRY_ID`:",
            "mt5relay dead list",
        )
    ]


def commands(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    count = terminal.commands.value
    if not count or _health(terminal):
        return [ok(f"{count} unread")]
    return [
        info(
            f"{count} operators' commands lie unread",
            "There is no worker to obey them, and an old one is not obeyed later.",
        )
    ]


def sealing_key(facts: Facts, terminal: Terminal) -> Verdicts:
    published, pins = terminal.sealing_key_id, facts.client.pins
    if isinstance(published, Unseen) and "can't be read" in published.reason:
        return [
            problem(
                "what is published as sealing key is not a key with its own fingerprint",
                "Somebody else than the worker may have written it: seal nothing for it.",
                "Restart the worker, which publishes its own; compare it with:",
                "mt5relay-worker check",
            )
        ]
    key_id = published.value
    if key_id is None:
        return [
            warning(
                "no sealing key is published",
                "No account can be enrolled: no worker has started its terminal process yet.",
                "See why:" if _health(terminal) else _START,
                "mt5relay events --last 30"
                if _health(terminal)
                else start_command(terminal.terminal),
            )
        ]
    if not pins:
        return [
            info(
                f"{key_id} is published; MT5_SEALING_KEY_ID is not set here",
                "Where it is set, accounts are only ever sealed for the worker's own key.",
                "Compare it with what `mt5relay-worker keygen` printed on the worker's host, then:",
                f"export MT5_SEALING_KEY_ID={key_id}",
            )
        ]
    if key_id in pins:
        return [ok(f"{key_id}, as pinned")]
    return [
        problem(
            f"the published key is {key_id}, and pinned is {', '.join(pins)}",
            "Either the worker's key was changed, or somebody wants passwords sealed for theirs."
            " Enrolment is refused here.",
            "Ask the worker's host for its key id. If it is the published one, pin it:",
            f"mt5relay-worker check\nexport MT5_SEALING_KEY_ID={','.join([*pins, key_id])}",
        )
    ]


def missing(facts: Facts, terminal: Terminal) -> Verdicts:
    """Accounts that are asked for, or pinned here, and have no credential."""
    enrolled: Sequence[str] = terminal.accounts.value
    waiting: Sequence[str] = terminal.waiting_accounts.value
    fleet = facts.fleet.value if isinstance(facts.fleet, Seen) else Fleet()
    pinned = [account for account, where in fleet.pins.items() if where == terminal.terminal]
    lacking = sorted({*waiting, *pinned} - {*enrolled})
    if not lacking:
        return [ok("none")]
    more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    named = lacking[:MOST_NAMED]
    return [
        warning(
            f"asked for or pinned here without a credential: {', '.join(named)}{more}",
            "Their requests are answered with ACCOUNT_UNKNOWN.",
            "Enrol them, or mend who asks for them:",
            _enrol_again(terminal, named),
        )
    ]


def credentials(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    enrolled = terminal.enrolled
    if isinstance(enrolled, Unseen):
        count = len(terminal.accounts.value)
        if not count:
            return [_none_enrolled()]
        return [ok(f"{count} enrolled; their keys the user operator may see")]
    if not enrolled.value:
        return [_none_enrolled()]
    return _of_envelopes(terminal, Counter(one.key_id for one in enrolled.value))


def _none_enrolled() -> Verdict:
    return warning(
        "no account is enrolled",
        "Every request is answered with ACCOUNT_UNKNOWN.",
        "",
        "mt5relay accounts add LOGIN@SERVER",
    )


def _of_envelopes(terminal: Terminal, by_key: Counter[str | None]) -> Verdicts:
    published = terminal.sealing_key_id.value
    unreadable = by_key.pop(None, 0)
    if unreadable:
        broken = [one.account for one in terminal.enrolled.value if one.key_id is None]
        yield problem(
            f"{unreadable} envelopes can't be read",
            "These accounts can't be logged in to.",
            "Enrol them again:",
            _enrol_again(terminal, broken),
        )
    for key_id, count in by_key.items():
        if published is not None and key_id != published:
            yield warning(
                f"{count} of {by_key.total()} are sealed for {key_id}, not for the published"
                f" {published}",
                "They open only while the worker still has that key.",
                "During a rotation this mends itself; else on the worker's host:",
                "mt5relay-worker rotate-key",
            )
    if old := sum(0 < one.version < ENVELOPE_VERSION for one in terminal.enrolled.value):
        yield info(
            f"{old} of {by_key.total()} envelopes are of an older version",
            "In those nothing vouches for the time, so that an old password put back is not always"
            " noticed. They are good until the account is enrolled anew.",
        )
    if not unreadable and (published is None or set(by_key) <= {published}):
        yield ok(f"{by_key.total()} enrolled, all for one worker's key")


def snapshots(facts: Facts, terminal: Terminal) -> Verdicts:
    del facts
    ages = terminal.snapshot_ages_ms.value
    read = [age for age in ages.values() if age is not None]
    if not ages:
        return [ok("no account, no snapshot")]
    never = len(ages) - len(read)
    oldest = f", the oldest {span(max(read) / 1000)} old" if read else ""
    said = f"{len(read)} of {len(ages)} accounts{oldest}"
    if never or max(read) > STALE_SNAPSHOT_MS:
        return [
            info(
                said,
                "Where there is none, nothing can be answered while the terminal is down; accounts"
                " that nobody asked for lately have none.",
            )
        ]
    return [ok(said)]


def timings(facts: Facts, terminal: Terminal) -> Verdicts:
    _of_a_living_worker(terminal)
    if terminal.timings_ttl_ms.value != -1:
        return [ok("published and expiring")]
    return [
        warning(
            "the histograms never expire",
            "No worker wrote them so: they may be of a worker long gone.",
            "As an administrator of Redis; a living worker writes them anew:",
            _delete(facts, _keys(terminal).timings),
        )
    ]


def registered(facts: Facts, terminal: Terminal) -> Verdicts:
    fleet = facts.fleet.value
    if not fleet.terminals:
        yield ok("no terminals are registered: there is one")
        return
    if not fleet.active:
        yield problem(
            "no registered terminal is active",
            "No look-up of a fleet client finds a terminal.",
            "",
            f"mt5relay terminals resume {min(fleet.terminals)}",
        )
    mine = fleet.terminals.get(terminal.terminal)
    if mine is None:
        yield warning(
            f"{terminal.terminal} is not among those registered:"
            f" {', '.join(sorted(fleet.terminals))}",
            "Clients that route by the registry never ask it.",
            "Register it, or name a registered one in MT5_TERMINAL_ID:",
            f"mt5relay terminals add {terminal.terminal}",
        )
    elif mine.state is TerminalState.DRAINING:
        yield info(f"{terminal.terminal} is draining: it is given nothing new")
    elif fleet.active:
        yield ok(f"active, one of {len(fleet.active)}")


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if re.fullmatch(r"-?\d+", text) else 0
