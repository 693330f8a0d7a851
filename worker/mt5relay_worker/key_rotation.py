"""`mt5relay-worker rotate-key`, `keys` and `accept-restored`: what a person does about keys.

The private keys' file says what is to be; the running worker makes it so within seconds, and one
that is started later does it then. These commands change the file, look at Redis and wait: they
neither open nor seal a credential.
"""

from __future__ import annotations

import contextlib
import glob
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter
from redis.exceptions import RedisError

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import decode_sealing_key, read_envelope
from mt5relay_shared.errors import MT5StateError, MT5ValidationError
from mt5relay_shared.keys import Keys, check_terminal_id
from mt5relay_shared.redis_client import connect
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_worker.key_file import (
    KeyFile,
    parse_key_file,
    read_key_file,
    replace_key_file,
    sweep,
)
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.terminal.exclusive import TerminalLock
from mt5relay_worker.terminal.failure import TerminalError
from mt5relay_worker.terminal.seen_file import SeenFile

EXIT_FAILURE = 1
NAMED = 10  # accounts in a message
_LOOK_INTERVAL = 0.25  # seconds

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Flag = Annotated[bool, Parameter(negative=())]


@dataclass(frozen=True)
class Census:
    """What is published, and for which key each account's credential is sealed."""

    published: str | None
    is_worker_there: bool
    key_of: Mapping[str, str]
    version_1: int

    def under(self, key_id: str) -> list[str]:
        return sorted(account for account, found in self.key_of.items() if found == key_id)

    def unopenable(self, ring: KeyRing) -> list[str]:
        """Accounts whose credential none of these keys opens, by what it says of itself."""
        return sorted(one for one, found in self.key_of.items() if found not in ring.key_ids)


def census_of(
    sealing_key: bytes | None, fields: Mapping[bytes, bytes], *, is_worker_there: bool
) -> Census:
    """Read what stands in Redis; what can't be read is under no key."""
    published = None
    with contextlib.suppress(MT5ValidationError):
        published = decode_sealing_key(sealing_key).key_id if sealing_key else None
    envelopes = {
        name.decode(errors="replace"): read_envelope(body) for name, body in fields.items()
    }
    return Census(
        published,
        is_worker_there,
        {name: found.key_id if found else "" for name, found in envelopes.items()},
        sum(found is not None and found.v == 1 for found in envelopes.values()),
    )


class _Store:
    """The terminal's keys in Redis, as far as they concern credentials."""

    def __init__(self, redis: Any, keys: Keys) -> None:  # noqa: ANN401
        self._redis = redis
        self._keys = keys

    async def census(self) -> Census:
        sealing_key = await self._redis.get(self._keys.sealing_key)
        lease = await self._redis.get(self._keys.lease)
        fields = await self._redis.hgetall(self._keys.accounts)
        return census_of(sealing_key, fields, is_worker_there=lease is not None)

    async def until_resealed(self, file: KeyFile, limit: float) -> Census:
        """Wait until the current key is published and nothing is sealed for an old one.

        Raises:
            MT5StateError: it did not come to that.
        """
        ring = file.ring
        with anyio.move_on_after(limit):
            while True:
                census = await self.census()
                if census.published == ring.current.key_id and not _left(census, ring):
                    return census
                await anyio.sleep(_LOOK_INTERVAL)
        census = await self.census()
        if not census.is_worker_there:
            raise MT5StateError(
                "no worker runs for this terminal; it publishes the new key and seals everything"
                " anew when it is started. Start it, then run this again"
            )
        if census.published != ring.current.key_id:
            raise MT5StateError(
                f"the worker has not published {ring.current.key_id} yet: does it read the same"
                " MT5_PRIVATE_KEY_FILE, and is it as new as this command? Look at its log, and run"
                " this again"
            )
        raise MT5StateError(_what_is_left(_left(census, ring)))


@contextlib.asynccontextmanager
async def _store(settings: WorkerSettings, keys: Keys | None = None) -> AsyncGenerator[_Store]:
    keys = keys or settings.keys
    redis = connect(
        settings.redis_url.get_secret_value(),
        client_name="mt5relay-keys",
        tag=keys.tag,
        allow_plaintext=settings.allow_plaintext_redis,
    )
    try:
        yield _Store(redis, keys)
    finally:
        await redis.aclose()


def _left(census: Census, ring: KeyRing) -> list[str]:
    return [account for key_id in ring.key_ids[1:] for account in census.under(key_id)]


def _what_is_left(accounts: list[str]) -> str:
    named = ", ".join(accounts[:NAMED]) + (", …" if len(accounts) > NAMED else "")
    return (
        f"{len(accounts)} credentials are still sealed for an old key, which is honoured on:"
        f" {named}. The worker's log says why; enrol them again, or remove them, and run this again"
    )


async def rotate_key(
    *,
    prepare: Flag = False,
    retire: Flag = False,
    timeout: float = 120.0,
    as_json: AsJson = False,
) -> int:
    """As `cli.ROTATE_HELP` says.

    Args:
        prepare: Only make the next key, so that it can be pinned and copied first.
        retire: In the end give up the old key, if nothing is sealed for it any more.
        timeout: Seconds to wait for the running worker.
        as_json: Print one JSON object.
    """
    settings = load_settings_or_exit(WorkerSettings)
    steps: list[str] = []
    try:
        path = _file_of(settings)
        with _alone(path):
            file = _take_step(path, read_key_file(path).prepared(), steps, "made the next key")
            if not prepare:
                file = await _change(path, file, settings, timeout, steps)
            if retire and not prepare:
                file = await _retire(path, file, settings, steps)
    except (MT5ValidationError, MT5StateError, RedisError) as error:
        return _say(steps, _known_of(settings), as_json=as_json, problem=str(error))
    return _say(steps, file, as_json=as_json)


def _file_of(settings: WorkerSettings) -> Path:
    if settings.private_key is not None:
        raise MT5ValidationError(
            "the private key comes from MT5_PRIVATE_KEY, which no command can change: make a key"
            " with `mt5relay-worker keygen`, put its PEM before the old one there, restart the"
            " worker, wait until `mt5relay-worker keys` shows nothing under the old one, and take"
            " that out"
        )
    return settings.private_key_file


@contextlib.contextmanager
def _alone(path: Path) -> Generator[None]:
    """Of two that change the file at once, one would lose its key, and what is sealed for it."""
    lock = TerminalLock(path)
    try:
        lock.acquire()
    except TerminalError:
        raise MT5StateError(f"another `rotate-key` is at work on {path}; wait for it") from None
    try:
        sweep(path)
        yield
    finally:
        lock.release()


def _known_of(settings: WorkerSettings) -> KeyFile | None:
    with contextlib.suppress(MT5ValidationError):
        return read_key_file(_file_of(settings))
    return None


def _take_step(path: Path, wanted: KeyFile, steps: list[str], what: str) -> KeyFile:
    if wanted.as_pem() != read_key_file(path).as_pem():
        replace_key_file(path, wanted)
        steps.append(what)
    return wanted


async def _change(
    path: Path, file: KeyFile, settings: WorkerSettings, limit: float, steps: list[str]
) -> KeyFile:
    changed = _take_step(path, file.changed(), steps, "made the next key the current one")
    async with _store(settings) as store:
        await store.until_resealed(changed, limit)
    steps.append("every credential is sealed for the current key")
    return changed


async def _retire(path: Path, file: KeyFile, settings: WorkerSettings, steps: list[str]) -> KeyFile:
    """Give up the old keys; looks once more afterwards, for who enrols does not wait for us."""
    if left := await _left_anywhere(path, file, settings):
        raise MT5StateError(_what_is_left(left))
    retired = _take_step(path, file.retired(), steps, "retired the old key")
    if left := await _left_anywhere(path, file, settings):
        replace_key_file(path, file)
        steps.append("took the old key back")
        raise MT5StateError(_what_is_left(left))
    return retired


async def _left_anywhere(path: Path, file: KeyFile, settings: WorkerSettings) -> list[str]:
    """At all terminals that use this file: each has left a file of its own beside it."""
    found: list[str] = []
    for terminal in sorted({settings.terminal_id, *terminals_beside(path)}):
        keys = Keys(terminal, settings.key_prefix)
        async with _store(settings, keys) as store:
            left = _left(await store.census(), file.ring)
        found += [f"{account} at terminal {terminal}" for account in left]
    return found


def terminals_beside(path: Path) -> list[str]:
    """The ids of terminals whose workers use this key file, by what they left beside it."""
    names = (one.name for one in path.parent.glob(f"{glob.escape(path.name)}.*.seen"))
    found: list[str] = []
    for name in names:
        with contextlib.suppress(MT5ValidationError):
            found.append(check_terminal_id(name[len(path.name) + 1 : -len(".seen")]))
    return found


def _say(
    steps: list[str], file: KeyFile | None, *, as_json: bool, problem: str | None = None
) -> int:
    ids = [] if file is None else file.ring.key_ids
    if as_json:
        found = {"done": steps, "key_ids": ids, "problem": problem}
        print(msgspec.json.encode(found).decode())  # noqa: T201 - a command prints
    else:
        for step in steps:
            print(step)  # noqa: T201
        if file is not None and problem is None:
            print(_what_next(file, ids))  # noqa: T201
    if problem is None:
        return 0
    print(problem, file=sys.stderr)  # noqa: T201
    return EXIT_FAILURE


def _what_next(file: KeyFile, ids: list[str]) -> str:
    pins = ",".join(ids)
    if file.next is not None:
        return (
            f"Pin both keys where accounts are enrolled: MT5_SEALING_KEY_ID={pins}\n"
            "Copy the file to every other host that may run this terminal's worker.\n"
            "Then: mt5relay-worker rotate-key"
        )
    if file.old:
        return (
            f"The old key is still honoured. Pinned should be: MT5_SEALING_KEY_ID={pins}\n"
            "Once every gateway enrols for the new one: mt5relay-worker rotate-key --retire"
        )
    return f"Pin the current key alone: MT5_SEALING_KEY_ID={pins}"


async def show_keys(*, as_json: AsJson = False) -> int:
    """Show which keys are held, and how many credentials are sealed for each.

    Exit status: 0, or 1 where a credential is sealed for a key that is not held, or where it can't
    be told.

    Args:
        as_json: Print one JSON object.
    """
    settings = load_settings_or_exit(WorkerSettings)
    try:
        file = _file_in_use(settings)
        async with _store(settings) as store:
            census = await store.census()
    except (MT5ValidationError, RedisError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_FAILURE
    rows = _rows(file, census)
    lost = census.unopenable(file.ring)
    if as_json:
        found = {"keys": rows, "not_held": lost, "version_1": census.version_1}
        print(msgspec.json.encode(found).decode())  # noqa: T201
    else:
        for row in rows:
            published = "  published" if row["published"] else ""
            print(f"{row['key_id']}  {row['role']}  {row['credentials']} credentials{published}")  # noqa: T201
        if census.version_1:
            print(f"{census.version_1} credentials are of version 1: see MT5_OLD_ENVELOPES")  # noqa: T201
        if lost:
            print(f"sealed for a key that is not held, enrol again: {', '.join(lost)}")  # noqa: T201
    return EXIT_FAILURE if lost else 0


def _file_in_use(settings: WorkerSettings) -> KeyFile:
    if settings.private_key is not None:
        return parse_key_file(settings.private_key.get_secret_value().encode())
    return read_key_file(settings.private_key_file)


def _rows(file: KeyFile, census: Census) -> list[dict[str, object]]:
    counts = Counter(census.key_of.values())
    roles = ["current", *(["next"] if file.next else []), *["old"] * len(file.old)]
    return [
        {
            "key_id": key_id,
            "role": role,
            "credentials": counts[key_id],
            "published": key_id == census.published,
        }
        for key_id, role in zip(file.ring.key_ids, roles, strict=True)
    ]


def accept_restored(
    *accounts: str, everything: Annotated[bool, Parameter(name="--all", negative=())] = False
) -> int:
    """Take credentials that a restored backup of Redis brought back for new ones.

    A running worker goes by it at once. Without it, what was replaced or removed is refused.

    Args:
        accounts: LOGIN@SERVER, any number.
        everything: All accounts.
    """
    settings = load_settings_or_exit(WorkerSettings)
    seen = SeenFile(Path(settings.terminal_options.seen_file))
    try:
        known = list(seen.marks())
        named = known if everything else [AccountId.parse(one) for one in accounts]
        forgotten = seen.forget(named)
    except MT5ValidationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_FAILURE
    if seen.trouble or not named:
        print(seen.trouble or "name accounts, or give --all", file=sys.stderr)  # noqa: T201
        return EXIT_FAILURE
    print(f"{len(forgotten)} accounts: what is enrolled for them now is taken for new")  # noqa: T201
    return 0
