"""`mt5relay-worker check`: gathers what `host_checks` judges, and prints it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from redis.exceptions import NoPermissionError, RedisError

from mt5relay_shared import __version__
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.findings import Finding, has_failed, in_words, worst
from mt5relay_shared.redis_client import connect
from mt5relay_shared.settings import load_settings_or_exit
from mt5relay_shared.transport import hosts_of
from mt5relay_worker.host_checks import HostFacts, examine_host
from mt5relay_worker.key_command import EXIT_FAILURE
from mt5relay_worker.key_file import read_private_keys
from mt5relay_worker.settings import WorkerSettings
from mt5relay_worker.terminal.pipe_check import is_running

IMPORT_LIMIT = 60.0  # seconds; a virus scanner may look at it first


def check(
    *,
    strict: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """As `cli.CHECK_HELP` says.

    Args:
        strict: let warnings count as problems do.
        json: print one JSON object, as `mt5relay doctor --json` does.
    """
    settings = load_settings_or_exit(WorkerSettings)
    findings = examine_host(host_facts(settings))
    if json:
        print(_report(settings, findings))  # noqa: T201 - a command prints
    else:
        for _, line in in_words(findings):
            print(_printable(line))  # noqa: T201
    return EXIT_FAILURE if has_failed(findings, strict=strict) else 0


def _report(settings: WorkerSettings, findings: Sequence[Finding]) -> str:
    told = {
        "version": __version__,
        "status": worst(findings),
        "terminal": settings.terminal_id,
        "findings": findings,
    }
    return msgspec.json.encode(told).decode("utf-8")


def _printable(line: str) -> str:
    """A console's encoding may lack a letter of somebody's path."""
    encoding = sys.stdout.encoding or "ascii"
    return line.encode(encoding, "replace").decode(encoding)


def host_facts(settings: WorkerSettings) -> HostFacts:
    """Everything there is to see from here, without starting or changing anything."""
    is_simulated = settings.terminal == "simulated"
    path = settings.terminal_path
    key_ids, key_trouble = _private_keys(settings)
    package_version, package_trouble = (None, None) if is_simulated else _package()
    redis = asyncio.run(_look_at_redis(settings))
    return HostFacts(
        terminal_id=settings.terminal_id,
        is_simulated=is_simulated,
        terminal_path=None if path is None else str(path),
        has_terminal_file=path is not None and path.is_file(),
        is_terminal_running=None if path is None else is_running(str(path)),
        package_version=package_version,
        package_trouble=package_trouble,
        key_file=str(settings.private_key_file),
        has_key=settings.private_key is not None or settings.private_key_file.exists(),
        key_ids=key_ids,
        key_trouble=key_trouble,
        redis_hosts=", ".join(hosts_of(settings.redis_url.get_secret_value())) or "a socket",
        redis_user=redis.user,
        redis_trouble=redis.trouble,
        eviction_policy=redis.eviction_policy,
        lease_holder=redis.lease_holder,
        free_bytes=_free_bytes(settings.private_key_file),
        is_windows=sys.platform == "win32",
    )


def _private_keys(settings: WorkerSettings) -> tuple[Sequence[str], str | None]:
    try:
        return read_private_keys(settings.terminal_options).key_ids, None
    except MT5ValidationError as error:
        return (), str(error)
    except OSError as error:
        return (), f"private key: {settings.private_key_file} can't be read: {error.strerror}"


def _package() -> tuple[str | None, str | None]:
    """Its version, and why it can't be imported; tried in a process of its own, as it is native."""
    try:
        version = importlib.metadata.version("MetaTrader5")
    except importlib.metadata.PackageNotFoundError:
        return None, "it is not installed"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", "import MetaTrader5"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=IMPORT_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return version, f"it takes longer than {IMPORT_LIMIT:.0f} s"
    if tried.returncode == 0:
        return version, None
    said = tried.stderr.decode("utf-8", "replace").strip().splitlines()
    return version, said[-1] if said else f"its process ended with status {tried.returncode}"


def _free_bytes(key_file: Path) -> int | None:
    try:
        return shutil.disk_usage(key_file.absolute().parent).free
    except OSError:
        return None


@dataclass(frozen=True)
class _Redis:
    user: str
    trouble: str | None = None
    eviction_policy: str | None = None
    lease_holder: str | None = None


async def _look_at_redis(settings: WorkerSettings) -> _Redis:
    redis: Any = connect(  # redis-py types its answers for every protocol at once
        settings.redis_url.get_secret_value(),
        client_name="mt5relay-check",
        tag=settings.keys.tag,
        allow_plaintext=settings.allow_plaintext_redis,
    )
    user = str(redis.connection_pool.connection_kwargs.get("username") or "default")
    try:
        await redis.ping()
        lease: bytes | None = await redis.get(settings.keys.lease)
        holder = None if lease is None else lease.decode("utf-8", "replace").partition(":")[0]
        return _Redis(user, None, await _eviction_policy(redis), holder)
    except RedisError as error:
        return _Redis(user, str(error) or type(error).__name__)
    finally:
        await redis.aclose()


async def _eviction_policy(redis: Any) -> str | None:  # noqa: ANN401 - as above
    try:
        return str((await redis.info("memory")).get("maxmemory_policy"))
    except NoPermissionError:  # an ACL file of before the worker was allowed to ask
        return None
