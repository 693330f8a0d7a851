"""The Redis of a demonstration: the user's, or one that is started for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, auto

from pydantic import SecretStr
from redis import Redis

from mt5relay_gateway.cli.store import NoStoreError, free_port, running_server
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.scripts import ALL


class Owner(Enum):
    """Whose server it is: keys are cleared from the user's, and ours goes with its keys."""

    USER = auto()
    DEMO = auto()


@dataclass(frozen=True)
class DemoStore:
    """A Redis that answers. `origin` says to the user where it came from."""

    url: SecretStr
    origin: str
    owner: Owner


@contextlib.contextmanager
def demo_store(settings: GatewaySettings) -> Generator[DemoStore]:
    """REDIS_URL where it is set, else a server of this machine, else one in this process.

    Raises:
        NoStoreError: there is none of these.
    """
    with contextlib.ExitStack() as stack:
        if "redis_url" in settings.model_fields_set:
            yield DemoStore(settings.redis_url, "REDIS_URL", Owner.USER)
        else:
            yield _started(stack)


def _started(stack: contextlib.ExitStack) -> DemoStore:
    try:
        server = stack.enter_context(running_server())
    except NoStoreError:
        url = stack.enter_context(imitated_server())
        return DemoStore(SecretStr(url), "demo store: no persistence", Owner.DEMO)
    return DemoStore(SecretStr(server.url), server.program.origin, Owner.DEMO)


@contextlib.contextmanager
def imitated_server() -> Generator[str]:
    """The URL of an imitation of Redis in this process, good enough to look around.

    Raises:
        NoStoreError: fakeredis is not installed.
    """
    try:
        from fakeredis import TcpFakeServer  # noqa: PLC0415 - an extra
    except ImportError:
        raise NoStoreError(
            "no Redis here: set REDIS_URL, install one, or `pip install mt5relay[demo]`"
        ) from None
    port = free_port()
    server = TcpFakeServer(("127.0.0.1", port))
    server.daemon_threads = True  # a client that does not hang up must not keep us
    thread = threading.Thread(target=server.serve_forever, name="demo-store", daemon=True)
    thread.start()
    try:
        _load_scripts(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _load_scripts(port: int) -> None:
    """The imitation hangs up after every error, so nobody could ask for a script by its source."""
    with Redis("127.0.0.1", port) as redis:
        for script in ALL:
            redis.script_load(script.source)
