"""What the doctor says: each check of its table, by facts that are wrong in one point."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mt5relay_gateway.cli.app import app
from mt5relay_gateway.doctor.checks import OF_SERVER, OF_TERMINAL, examine
from mt5relay_gateway.doctor.facts import Client, Enrolled, Facts, Oldest, Pending, Server, Terminal
from mt5relay_gateway.doctor.judging import span
from mt5relay_gateway.doctor.looks import Seen, Unseen
from mt5relay_gateway.doctor.rights import Right, rights_to_ask
from mt5relay_gateway.doctor.server_checks import server_version
from mt5relay_gateway.operating.enrolment import split_pins
from mt5relay_shared.findings import Finding, Level, has_failed, in_words, worst
from mt5relay_shared.fleet import Fleet, RegisteredTerminal, TerminalState
from mt5relay_shared.keys import FleetKeys, Keys

NOW_MS = 1_750_000_000_000
KEY, OTHER_KEY = "a" * 32, "b" * 32
INFO: Mapping[str, object] = {
    "redis_version": "7.0.15",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "used_memory": 10 << 20,
    "maxmemory": 512 << 20,
    "connected_clients": 5,
    "maxclients": 2000,
    "role": "master",
    "cluster_enabled": 0,
}
HEALTH: Mapping[str, str] = {
    "status": "ok",
    "state": "CONNECTED",
    "breaker": "CLOSED",
    "connection_ok": "1",
    "worker_id": "host-1",
    "heartbeat_at_ms": str(NOW_MS - 500),
    "version": "0.2.0",
    "terminal_build": "5200",
    "package_version": "5.0.6231",
    "binding": "metatrader5",
    "terminal_path": r"C:\MT5\terminal64.exe",
    "wire_versions": "1",
}
REFUSED = Unseen("user gateway may not info", is_refused=True)


def as_they_should_be() -> list[Right]:
    asked = rights_to_ask(Keys("main"), FleetKeys())
    return [Right(user, command, is_due, is_due) for user, command, is_due in asked]


def healthy() -> Facts:
    client = Client(
        version="0.2.0",
        user="operator",
        kind="standalone",
        hosts=["127.0.0.1"],
        is_encrypted=False,
        socket_timeout=5.0,
        longest_block=1.0,
        pins=[KEY],
        certificate_ends_in=Seen(None),
    )
    server = Server(
        address="127.0.0.1:6379",
        clock_ahead=Seen(0.01),
        info=Seen(INFO),
        config=Seen({"appendfsync": "everysec"}),
        scripts=Seen({"submit": True}),
        rights=Seen(as_they_should_be()),
        is_open=Seen(False),
        certificate_ends_in=Seen(None),
        cluster=Seen({}),
    )
    terminal = Terminal(
        terminal="main",
        now_ms=Seen(NOW_MS),
        health=Seen(HEALTH),
        health_ttl_ms=Seen(5_500),
        lease=Seen("host-1:nonce:3"),
        lease_ttl_ms=Seen(9_000),
        is_lease_held=Seen(True),
        waiting=Seen(0),
        oldest=Seen(None),
        pending=Seen(Pending()),
        dead=Seen(0),
        commands=Seen(0),
        timings_ttl_ms=Seen(14_000),
        sealing_key_id=Seen(KEY),
        accounts=Seen(["1@Broker"]),
        enrolled=Seen([Enrolled("1@Broker", KEY)]),
        waiting_accounts=Seen(["1@Broker"]),
        snapshot_ages_ms=Seen({"1@Broker": 1_000}),
    )
    return Facts(client=client, server=server, fleet=Seen(Fleet()), terminals=[terminal])


def with_client(**changed: Any) -> Facts:
    facts = healthy()
    return replace(facts, client=replace(facts.client, **changed))


def with_server(**changed: Any) -> Facts:
    facts = healthy()
    return replace(facts, server=replace(facts.server, **changed))


def with_info(**changed: object) -> Facts:
    return with_server(info=Seen({**INFO, **changed}))


def with_terminal(**changed: Any) -> Facts:
    facts = healthy()
    return replace(facts, terminals=[replace(facts.terminals[0], **changed)])


def with_health(**changed: str) -> Facts:
    return with_terminal(health=Seen({**HEALTH, **changed}))


def with_right(user: str, name: str, *, is_granted: bool | None) -> Facts:
    changed = [
        replace(one, is_granted=is_granted)
        if one.user == user and (one.command[0] == name or name == "*")
        else one
        for one in as_they_should_be()
    ]
    return with_server(rights=Seen(changed))


def with_fleet(**states: TerminalState) -> Facts:
    terminals = {name: RegisteredTerminal(state, 1) for name, state in states.items()}
    return replace(healthy(), fleet=Seen(Fleet(1, terminals)))


def nobody(**changed: Any) -> Facts:
    gone: dict[str, Any] = {
        "health": Seen(dict[str, str]()),
        "lease": Seen(None),
        "is_lease_held": Seen(False),
    }
    return with_terminal(**{**gone, **changed})


ENCRYPTED: dict[str, Any] = {"is_encrypted": True, "hosts": ["redis.example"]}
DAY = 86_400.0
P, W, I, N = Level.PROBLEM, Level.WARNING, Level.INFO, Level.NOT_CHECKED  # noqa: E741
ACTIVE, DRAINING = TerminalState.ACTIVE, TerminalState.DRAINING

WRONG: list[tuple[str, Facts, str, Level, str]] = [
    ("redis away", with_server(trouble="refused"), "redis.reached", P, "refused"),
    ("plaintext", with_client(hosts=["10.0.0.7"]), "redis.plaintext", W, "10.0.0.7"),
    (
        "certificate soon",
        replace(
            with_server(certificate_ends_in=Seen(3 * DAY)), client=with_client(**ENCRYPTED).client
        ),
        "redis.certificates",
        W,
        "ends in 3 d",
    ),
    (
        "own certificate over",
        with_client(**ENCRYPTED, certificate_ends_in=Seen(-3 * DAY)),
        "redis.certificates",
        P,
        "ended 3 d ago",
    ),
    ("short timeout", with_client(socket_timeout=0.5), "redis.socket_timeout", P, "0.5 s"),
    ("no timeout", with_client(socket_timeout=None), "redis.socket_timeout", W, "no socket"),
    ("old Redis", with_info(redis_version="6.2.14"), "redis.version", P, "redis 6.2.14"),
    (
        "old Valkey",
        with_info(redis_version="7.2.4", valkey_version="7.1.9"),
        "redis.version",
        P,
        "valkey 7.1.9",
    ),
    ("evicts", with_info(maxmemory_policy="allkeys-lru"), "redis.eviction", P, "allkeys-lru"),
    ("no AOF", with_info(aof_enabled=0), "redis.persistence", P, "off"),
    ("AOF fails", with_info(aof_last_write_status="err"), "redis.persistence", P, "err"),
    (
        "no fsync",
        with_server(config=Seen({"appendfsync": "no"})),
        "redis.persistence",
        W,
        "appendfsync is no",
    ),
    ("no limit", with_info(maxmemory=0), "redis.memory", W, "no maxmemory"),
    ("nearly full", with_info(used_memory=500 << 20), "redis.memory", P, "500 MiB of 512 MiB"),
    ("evicted", with_info(evicted_keys=3), "redis.memory", P, "3 keys were evicted"),
    ("connections", with_info(connected_clients=1900), "redis.clients", P, "1900 of 2000"),
    ("refused some", with_info(rejected_connections=4), "redis.clients", I, "4 were refused"),
    (
        "replica",
        with_info(role="slave", master_host="m", master_port=1),
        "redis.topology",
        P,
        "m:1",
    ),
    (
        "replica gone",
        with_info(slave0={"state": "wait_bgsave"}),
        "redis.topology",
        W,
        "1 of 1 replicas",
    ),
    ("lonely master", with_client(kind="sentinel"), "redis.topology", W, "no replica"),
    (
        "cluster down",
        with_server(cluster=Seen({"cluster_state": "fail"})),
        "redis.topology",
        P,
        "fail",
    ),
    ("clock", with_server(clock_ahead=Seen(-40.0)), "redis.clock", W, "40 s behind"),
    ("scripts", with_server(scripts=Seen({"submit": False})), "redis.scripts", I, "submit"),
    ("too little", with_right("worker", "HGET", is_granted=False), "redis.rights", P, "worker"),
    (
        "too much",
        with_right("gateway", "HVALS", is_granted=True),
        "redis.rights",
        W,
        "HVALS accounts",
    ),
    ("no replay", with_right("default", "INCR", is_granted=False), "redis.replay", P, "INCR fence"),
    ("open door", with_server(is_open=Seen(True)), "redis.door", I, "on this host alone"),
    (
        "open door to all",
        replace(with_server(is_open=Seen(True)), client=with_client(hosts=["10.0.0.7"]).client),
        "redis.door",
        P,
        "without a password",
    ),
    ("one missing", with_right("monitor", "*", is_granted=None), "redis.rights", I, "monitor"),
    (
        "no users",
        with_server(rights=Seen([replace(one, is_granted=None) for one in as_they_should_be()])),
        "redis.rights",
        I,
        "one user for all",
    ),
    ("no worker", nobody(), "worker.alive", P, "no worker lives"),
    ("silent worker", nobody(is_lease_held=Seen(True)), "worker.alive", P, "says nothing"),
    ("lease lost", with_terminal(lease=Seen(None)), "worker.lease", W, "spoke a moment ago"),
    ("lease for ever", with_terminal(lease_ttl_ms=Seen(-1)), "worker.lease", P, "for ever"),
    ("lease of another", with_terminal(lease=Seen("h2:n:4")), "worker.lease", I, "host-1"),
    ("health for ever", with_terminal(health_ttl_ms=Seen(-1)), "worker.heartbeat", P, "never"),
    (
        "late heartbeat",
        replace(
            with_health(heartbeat_at_ms=str(NOW_MS - 5_000)),
            terminals=[
                replace(
                    with_health(heartbeat_at_ms=str(NOW_MS - 5_000)).terminals[0],
                    health_ttl_ms=Seen(1_000),
                )
            ],
        ),
        "worker.heartbeat",
        W,
        "5.0 s old",
    ),
    (
        "heartbeat to come",
        with_health(heartbeat_at_ms=str(NOW_MS + 9_000)),
        "worker.heartbeat",
        W,
        "in the future",
    ),
    ("breaker", with_health(status="down", breaker="OPEN"), "worker.status", P, "OPEN"),
    ("degraded", with_health(status="degraded"), "worker.status", W, "degraded"),
    ("no broker", with_health(connection_ok="0"), "worker.status", W, "link to the broker"),
    ("other version", with_health(version="0.1.0"), "worker.version", I, "0.1.0"),
    ("other wire", with_health(wire_versions="2 3"), "worker.wire", P, "reads 2 3"),
    ("simulated", with_health(binding="simulated"), "worker.terminal", W, "simulated"),
    ("old package", with_health(package_version="5.0.45"), "worker.terminal", W, "5.0.45"),
    ("new package", with_health(package_version="5.0.7000"), "worker.terminal", I, "newer"),
    ("old build", with_health(terminal_build="4000"), "worker.terminal", W, "4000"),
    ("many wait", with_terminal(waiting=Seen(5_000)), "queue.depth", W, "5000 waiting"),
    (
        "long wait",
        with_terminal(waiting=Seen(1), oldest=Seen(Oldest(NOW_MS - 90_000, None))),
        "queue.depth",
        W,
        "oldest for 90 s",
    ),
    (
        "overdue",
        with_terminal(waiting=Seen(1), oldest=Seen(Oldest(NOW_MS - 90_000, NOW_MS - 50_000))),
        "queue.overdue",
        P,
        "50 s past its deadline",
    ),
    (
        "left over",
        nobody(pending=Seen(Pending(2, {"worker": 2}))),
        "queue.pending",
        W,
        "2 were begun",
    ),
    (
        "stranger",
        with_terminal(pending=Seen(Pending(3, {"worker": 2, "me": 1}))),
        "queue.pending",
        P,
        "me (1)",
    ),
    ("dead letters", with_terminal(dead=Seen(2)), "queue.dead", I, "2 dead letters"),
    ("commands", nobody(commands=Seen(2)), "queue.commands", I, "2 operators' commands"),
    ("foreign key", with_terminal(sealing_key_id=Seen(OTHER_KEY)), "credentials.key", P, OTHER_KEY),
    ("no key", with_terminal(sealing_key_id=Seen(None)), "credentials.key", W, "no sealing key"),
    ("unpinned", with_client(pins=[]), "credentials.key", I, "not set here"),
    (
        "forged key",
        with_terminal(sealing_key_id=Unseen("the answer can't be read (ValueError)")),
        "credentials.key",
        P,
        "fingerprint",
    ),
    ("nobody enrolled", with_terminal(enrolled=Seen([])), "credentials.envelopes", W, "no account"),
    (
        "old key",
        with_terminal(enrolled=Seen([Enrolled("1@B", KEY), Enrolled("2@B", OTHER_KEY)])),
        "credentials.envelopes",
        W,
        f"1 of 2 are sealed for {OTHER_KEY}",
    ),
    (
        "broken envelope",
        with_terminal(enrolled=Seen([Enrolled("1@B", None, 0)])),
        "credentials.envelopes",
        P,
        "1 envelopes can't be read",
    ),
    (
        "old envelope",
        with_terminal(enrolled=Seen([Enrolled("1@B", KEY, 1)])),
        "credentials.envelopes",
        I,
        "older version",
    ),
    (
        "no credential",
        with_terminal(waiting_accounts=Seen(["1@Broker", "2@Broker"])),
        "credentials.missing",
        W,
        "2@Broker",
    ),
    (
        "pinned without",
        replace(healthy(), fleet=Seen(Fleet(1, {}, {"3@Broker": "main", "4@Broker": "t2"}))),
        "credentials.missing",
        W,
        ": 3@Broker",
    ),
    (
        "never read",
        with_terminal(snapshot_ages_ms=Seen({"1@B": None, "2@B": 9_000})),
        "keys.snapshots",
        I,
        "1 of 2 accounts",
    ),
    ("timings", with_terminal(timings_ttl_ms=Seen(-1)), "keys.timings", W, "never expire"),
    ("unregistered", with_fleet(other=ACTIVE), "fleet.registered", W, "main is not among"),
    ("draining", with_fleet(main=DRAINING, other=ACTIVE), "fleet.registered", I, "draining"),
    ("none active", with_fleet(main=DRAINING), "fleet.registered", P, "no registered terminal"),
    ("may not", with_server(info=REFUSED), "redis.eviction", N, "may not info"),
]


def of_check(findings: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def test_where_all_is_well_every_check_says_so() -> None:
    findings = examine(healthy())
    assert {finding.level for finding in findings} == {Level.OK}
    assert [finding.check for finding in findings] == [*OF_SERVER, *OF_TERMINAL]


@pytest.mark.parametrize(
    ("facts", "check", "level", "words"),
    [one[1:] for one in WRONG],
    ids=[one[0] for one in WRONG],
)
def test_what_is_wrong_is_found(facts: Facts, check: str, level: Level, words: str) -> None:
    found = of_check(examine(facts), check)
    assert (level, True) in [(one.level, words in one.found) for one in found], found


@pytest.mark.parametrize("facts", [one[1] for one in WRONG], ids=[one[0] for one in WRONG])
def test_every_check_says_something_whatever_is_wrong(facts: Facts) -> None:
    found = {finding.check for finding in examine(facts)}
    assert found == {*OF_SERVER, *OF_TERMINAL}


def test_each_check_can_find_something() -> None:
    assert {check for _, _, check, level, _ in WRONG if level is not N} == {
        *OF_SERVER,
        *OF_TERMINAL,
    }


@pytest.mark.parametrize("facts", [one[1] for one in WRONG], ids=[one[0] for one in WRONG])
def test_what_is_wrong_comes_with_its_reason_and_what_mends_it(facts: Facts) -> None:
    for finding in examine(facts):
        if finding.level in (Level.PROBLEM, Level.WARNING):
            assert finding.why, finding
            assert finding.remedy or finding.command, finding


def test_commands_of_this_program_exist_as_they_are_written() -> None:
    lines = [
        line
        for _, facts, *_ in WRONG
        for finding in examine(facts)
        for line in finding.command.split("\n")
    ]
    own = {part.strip() for line in lines for part in line.split("&&") if "mt5relay " in part}
    own = {line for line in own if line.startswith("mt5relay ")}
    assert len(own) >= 5
    for line in own:
        words = shlex.split(line.replace("LOGIN@SERVER", "1@Broker"))[1:]
        command, *_ = app.parse_args(words, print_error=False, exit_on_error=False)
        assert callable(command)


def test_the_guide_names_every_check() -> None:
    guide = (Path(__file__).parents[3] / "gateway" / "README.md").read_text("utf-8")
    rows = guide.partition("| checks | look at |")[2]
    assert re.findall(r"`(\w+\.\w+)`", rows) == [*OF_SERVER, *OF_TERMINAL]


def test_without_a_server_nothing_is_claimed_of_it() -> None:
    client = healthy().client
    facts = Facts(
        client=client, server=Server(trouble="refused"), terminals=[Terminal(terminal="main")]
    )
    findings = examine(facts)
    assert {finding.check for finding in findings} == {*OF_SERVER, *OF_TERMINAL}
    claimed = {one.check for one in findings if one.level is not Level.NOT_CHECKED}
    assert claimed == {
        "redis.reached",
        "redis.plaintext",
        "redis.certificates",
        "redis.socket_timeout",
    }


def test_what_a_user_may_not_see_names_the_user_who_may() -> None:
    (refused,) = of_check(examine(with_server(info=REFUSED)), "redis.version")
    assert "operator" in refused.remedy


def test_warnings_fail_a_script_only_where_it_is_strict() -> None:
    warned = examine(with_client(hosts=["10.0.0.7"]))
    assert (worst(warned), has_failed(warned, strict=False)) == (Level.WARNING, False)
    assert has_failed(warned, strict=True)
    assert has_failed(examine(nobody()), strict=False)
    assert not has_failed(examine(healthy()), strict=True)


def test_the_worst_is_told_first_and_fits_80_columns() -> None:
    facts = replace(nobody(), client=with_client(hosts=["10.0.0.7"]).client)
    lines = list(in_words(examine(facts)))
    levels = [level for level, _ in lines if level is not None]
    assert levels == sorted(levels, key=list(Level).index)
    assert all(len(line) <= 80 for _, line in lines if not line.strip().startswith("$"))
    assert lines[-1][1].startswith("1 problem, 1 warning, ")


def test_several_terminals_are_told_apart_and_one_is_not_repeated() -> None:
    facts = healthy()
    assert "[main]" not in " ".join(line for _, line in in_words(examine(facts)))
    two = replace(facts, terminals=[*facts.terminals, replace(facts.terminals[0], terminal="t2")])
    told = " ".join(line for _, line in in_words(examine(two)))
    assert "[main]" in told
    assert "[t2]" in told


def test_valkey_is_not_taken_for_the_redis_that_it_claims_to_be() -> None:
    known = {"redis_version": "7.2.4", "valkey_version": "9.1.2"}
    assert server_version(known) == ("valkey", (9, 1, 2))
    assert server_version({"redis_version": "7.0.15"}) == ("redis", (7, 0, 15))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.2 s"), (59, "59 s"), (150, "2 min"), (9e4, "25 h"), (9e5, "10 d")],
)
def test_spans_are_told_in_their_largest_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_pins_are_read_as_enrolment_reads_them() -> None:
    assert split_pins(f" {KEY} , {OTHER_KEY}") == [KEY, OTHER_KEY]
    assert split_pins(None) == []
