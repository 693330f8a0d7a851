"""`mt5relay-worker check` as its user starts it, and the worker's own word on eviction."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers import WORKER, password_of_user, running_server
from tests.system.conftest import prepared_system, until

from mt5relay_gateway.cli.store import free_port

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.conftest import System

    from mt5relay_shared.keys import Keys


async def check(system: System, *words: str, **changed: str) -> tuple[int, dict[str, Any]]:
    """Its exit status, and the finding of each check."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith("MT5_")}
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "mt5relay_worker", "check", "--json", *words],
        env={**plain, **system.settings(**changed)},
        cwd=system.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stderr == ""
    report = json.loads(ran.stdout)
    return ran.returncode, {one["check"]: one for one in report["findings"]}


async def test_a_host_that_is_set_up_has_no_problem(system: System) -> None:
    status, found = await check(system)
    assert (status, found["host.redis"]["level"], found["host.lease"]["level"]) == (0, "ok", "ok")
    assert found["host.private_key"]["level"] == "ok"
    assert found["host.terminal"]["level"] == "warning"  # simulated
    assert (await check(system, "--strict"))[0] == 1
    await system.start()
    _, found = await check(system)
    assert "serves this terminal now" in found["host.lease"]["found"]


async def test_what_is_missing_on_a_host_is_found(system: System) -> None:
    url = f"redis://worker:{password_of_user(WORKER)}@127.0.0.1:{free_port()}"
    status, found = await check(
        system,
        REDIS_URL=url,
        MT5_TERMINAL="metatrader5",
        MT5_TERMINAL_PATH=str(system.directory / "terminal64.exe"),
        MT5_PRIVATE_KEY_FILE="missing.key",
    )
    assert status == 1
    problems = {check for check, one in found.items() if one["level"] == "problem"}
    expected = {"host.terminal", "host.private_key", "host.redis"}
    assert problems >= expected | ({"host.package"} if sys.platform != "win32" else set())
    assert password_of_user(WORKER) not in json.dumps(found)


@pytest.mark.parametrize(
    ("source", "level", "words"),
    [
        ("", "ok", "MetaTrader5 5.0.6231"),
        ("raise ImportError('DLL load failed')", "problem", "DLL load failed"),
        ("import os; os._exit(3)", "problem", "ended with status 3"),
    ],
    ids=["importable", "not importable", "it dies"],
)
async def test_the_package_is_tried_in_a_process_of_its_own(
    system: System, source: str, level: str, words: str
) -> None:
    packages = system.directory / "packages"
    for folder, name, text in (
        ("MetaTrader5", "__init__.py", source),
        ("MetaTrader5-5.0.6231.dist-info", "METADATA", "Name: MetaTrader5\nVersion: 5.0.6231\n"),
    ):
        (packages / folder).mkdir(parents=True)
        (packages / folder / name).write_text(text)
    program = system.directory / "terminal64.exe"
    program.touch()
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = [str(packages), *map(os.path.abspath, given)]
    _, found = await check(
        system,
        MT5_TERMINAL="metatrader5",
        MT5_TERMINAL_PATH=str(program),
        PYTHONPATH=os.pathsep.join(paths),
    )
    assert (found["host.package"]["level"], words in found["host.package"]["found"]) == (
        level,
        True,
    )
    assert found["host.terminal"]["level"] in ("ok", "info")


async def test_without_json_it_speaks_to_people(system: System) -> None:
    environment = {**os.environ, **system.settings(), "PYTHONIOENCODING": "ascii"}
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "mt5relay_worker", "check"],
        env=environment,
        cwd=system.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("WARNING  host.terminal: MT5_TERMINAL is simulated\n")
    assert ran.stdout.splitlines()[-1].startswith("0 problems, 1 warning, ")


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
async def test_a_key_that_others_may_read_is_a_problem(system: System) -> None:
    (system.directory / "worker.key").chmod(0o644)
    status, found = await check(system)
    assert (status, found["host.private_key"]["level"]) == (1, "problem")
    assert "chmod 600" in found["host.private_key"]["found"]


async def test_a_worker_says_at_its_start_that_redis_may_evict(keys: Keys, tmp_path: Path) -> None:
    with running_server("--maxmemory-policy", "allkeys-lru") as server:
        async with prepared_system(server.url, keys, tmp_path) as system:
            status, found = await check(system)
            assert (status, found["host.redis"]["level"]) == (1, "problem")
            worker = system.start_worker()

            async def has_said_so() -> bool:
                return bool(worker.events("redis.may_evict"))

            await until(has_said_so, system.tail)
            assert worker.events("redis.may_evict")[0]["policy"] == "allkeys-lru"
