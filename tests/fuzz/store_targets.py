"""What else stands in Redis: health, registry, figures, commands, what `submit` says, seals."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec
from tests.fuzz.mutating import hostile_json, hostile_text
from tests.fuzz.target import ALICE, BOB, NOW_MS, Target, check_said

from mt5relay_gateway.cli.output import utc_text
from mt5relay_gateway.submitter import Submission, decode_submission
from mt5relay_gateway.testing import a_health
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.decoding import UnreadableError
from mt5relay_shared.envelopes import decode_sealing_key
from mt5relay_shared.errors import MT5DataError, MT5Error, MT5ValidationError, NoWorkerError
from mt5relay_shared.fleet import decode_fleet
from mt5relay_shared.health import decode_health, encode_health
from mt5relay_shared.keys import Keys
from mt5relay_shared.operator import OperatorCommand
from mt5relay_shared.sealing import (
    generate_private_key,
    load_private_key,
    open_envelope,
    public_part,
    seal,
)
from mt5relay_shared.secret import Secret
from mt5relay_shared.timings import BOUNDS, Counted, decode_timings
from mt5relay_worker.breaker import BreakerPolicy, CircuitBreaker
from mt5relay_worker.commands import Commands
from mt5relay_worker.event_log import EventLog
from mt5relay_worker.lockout import Lockout, LockoutPolicy
from mt5relay_worker.server_clock import ServerClock

# Health

HEALTH = encode_health(a_health())
_TIMES = ("_at_ms", "_since_ms")


def make_health(random: Random) -> Mapping[str, str]:
    fields = dict(HEALTH)
    for name in random.sample(sorted(fields), random.choice((0, 1, 1, 2, 5))):
        if random.randrange(8) == 0:
            del fields[name]
        else:
            fields[name] = hostile_text(random, tuple(HEALTH.values()))
    return {**fields, hostile_text(random, ("priority",)): "x"}


def check_health(fields: Mapping[str, str]) -> None:
    """Figures that a page, a metric and a date can take, or an error that names the field."""
    try:
        health = decode_health(fields)
    except UnreadableError as error:
        check_said(error)
        return
    if health is None:
        return
    assert decode_health(encode_health(health)) is not None
    for name in health.__struct_fields__:
        value: object = getattr(health, name)
        if isinstance(value, int) and name.endswith(_TIMES):
            assert utc_text(max(0, value))
        elif isinstance(value, int | float):
            assert abs(float(value)) < 1e19
        elif isinstance(value, str):
            assert len(value) <= 1_000


# The registry of terminals

TERMINALS = (b'{"state":"active","since_ms":1795000000000}', b'{"state":"draining","since_ms":1}')


def make_fleet(random: Random) -> tuple[bytes | None, dict[bytes, bytes], dict[bytes, bytes]]:
    version = hostile_text(random, ("7", "0", "")).encode() if random.randrange(3) else b"1"
    names = [b"main", b"second", hostile_text(random, ("third",)).encode()]
    terminals = {name: random.choice(TERMINALS) for name in names[: random.randint(0, 3)]}
    for name in list(terminals):
        if random.randrange(3) == 0:
            terminals[name] = hostile_json(random, TERMINALS)
    pin = hostile_text(random, (str(ALICE), str(BOB))).encode()
    return version, terminals, {pin: hostile_text(random, ("main", "second")).encode()}


def check_fleet(registry: tuple[bytes | None, dict[bytes, bytes], dict[bytes, bytes]]) -> None:
    """A registry by which every account has a terminal with keys, or an error; never a guess."""
    try:
        fleet = decode_fleet(*registry)
    except MT5DataError as error:
        check_said(error, "registry of terminals: ")
        return
    assert fleet.version == int(registry[0] or 0)
    for account in (ALICE, BOB):
        try:
            terminal = fleet.terminal_of(account)
        except NoWorkerError as error:
            check_said(error)
            assert not fleet.active
        else:
            assert Keys(terminal).requests.endswith(":requests")
            assert terminal in fleet.active


# Figures

COUNTED = (msgspec.json.encode(Counted([1] * (len(BOUNDS) + 1), 2.5)),)


def make_timings(random: Random) -> dict[bytes, bytes]:
    kind = hostile_text(random, ("total positions ok", "wait tick MT5_TIMEOUT"))
    return {kind.encode(): hostile_json(random, COUNTED), b"read orders ok": COUNTED[0]}


def check_timings(fields: dict[bytes, bytes]) -> None:
    """What can't be read is left out, and the rest is there."""
    found = decode_timings(fields)
    assert ("read", "orders", "ok") in found
    for counted in found.values():
        assert len(counted.counts) == len(BOUNDS) + 1
        assert all(0 <= count < 2**63 for count in counted.counts)
        assert 0 <= float(counted.sum) < float("inf")


# Commands of an operator

COMMANDS = tuple(
    map(
        msgspec.json.encode,
        (
            OperatorCommand("c1", "breaker.reset"),
            OperatorCommand("c2", "account.unlock", str(ALICE)),
            OperatorCommand("c3", "breaker.probe"),
        ),
    )
)


def check_command(body: bytes) -> None:
    """Obeyed or not, the worker goes on; what it says of it is short."""
    events = EventLog(ServerClock())
    breaker = CircuitBreaker(BreakerPolicy(), on_change=events.breaker_changed)
    commands = Commands(breaker, Lockout(LockoutPolicy()), events, wake_everybody=lambda: None)

    async def obey() -> None:
        await commands.obey(body)

    asyncio.run(obey())
    for event in events.pending():
        assert len(msgspec.json.encode(event)) <= 4_000


# What the submit script answers

ANSWERS: tuple[list[Any], ...] = (
    [b"accepted", b"1795000000000-0"],
    [b"stored", b"{}"],
    [b"refused", b"QUEUE_FULL", 100],
    [b"conflict"],
)
_ODD = (None, b"", b"refused", b"stored", 0, -1, 2**64, 1.5, True, [b"conflict"], b"x" * 5_000)


def make_submission(random: Random) -> list[Any]:
    answer = list(random.choice(ANSWERS))
    for _ in range(random.randint(0, 3)):
        if random.randrange(3) == 0:
            answer.insert(random.randint(0, len(answer)), random.choice(_ODD))
        elif answer:
            answer[random.randrange(len(answer))] = random.choice(_ODD)
    return answer


def check_submission(answer: list[Any]) -> None:
    """One of the words that the script is known to say, or the one error."""
    try:
        found = decode_submission(answer)
    except MT5Error as error:
        check_said(error)
    else:
        assert isinstance(found, Submission)


# Sealed credentials

PASSWORD = Secret("Planted-Fuzz-Secret")
KEY = load_private_key(generate_private_key())
ENVELOPES = (
    seal(PASSWORD, ALICE, public_part(KEY), NOW_MS),
    seal(PASSWORD, BOB, public_part(KEY), NOW_MS),
)
SEALING_KEYS = (msgspec.json.encode(public_part(KEY)),)


def check_envelope(body: bytes) -> None:
    """It opens to what was sealed for this account, or not at all, and no error tells of it."""
    for account in (ALICE, AccountId(1, "Other")):
        try:
            opened = open_envelope(body, account, KEY)
        except MT5ValidationError as error:
            check_said(error, f"credential of {account}: ")
            _check_silent(error)
        else:
            assert opened == PASSWORD
            assert account == ALICE


def _check_silent(error: BaseException | None) -> None:
    while error is not None:
        assert PASSWORD.reveal() not in f"{error!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__


def check_sealing_key(body: bytes) -> None:
    """The key with its own fingerprint, or an error: nothing is sealed to anything else."""
    try:
        found = decode_sealing_key(body)
    except MT5ValidationError as error:
        check_said(error)
    else:
        genuine = public_part(KEY)
        assert found.key_id == genuine.key_id
        assert base64.b64decode(found.public_key) == base64.b64decode(genuine.public_key)


TARGETS = (
    Target("health", make_health, check_health),
    Target("registry", make_fleet, check_fleet),
    Target("timings", make_timings, check_timings),
    Target("command", lambda random: hostile_json(random, COMMANDS), check_command),
    Target("submission", make_submission, check_submission),
)
SEALING_TARGETS = (
    Target("envelope", lambda random: hostile_json(random, ENVELOPES), check_envelope),
    Target("sealing-key", lambda random: hostile_json(random, SEALING_KEYS), check_sealing_key),
)
