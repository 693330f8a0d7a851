"""The last release, installed from its wheel into a folder of its own, and a system to try it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.servers import GATEWAY, OPERATOR, WORKER, AclServer, running_server
from tests.system.conftest import System, prepared_system
from tests.upgrade.releases import Release

from mt5relay_shared.keys import Keys

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The last release. Needs no network: what it depends on is installed for this tree."""
    (wheel,) = HERE.glob("*.whl")
    digest = wheel.with_name(f"{wheel.name}.sha256").read_text("utf-8").split()[0]
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == digest, f"{wheel.name} was changed"
    folder = tmp_path_factory.mktemp("released")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-cache-dir", "--target", str(folder)]
    subprocess.run([*pip, *offline, str(wheel)], check=True, timeout=120)
    return Release(wheel.name.split("-")[1], folder)


@pytest.fixture(scope="session")
def current() -> Release:
    return Release("this tree")


@pytest.fixture(scope="session")
def upgrade_server() -> Iterator[AclServer]:
    with running_server("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
async def system(
    upgrade_server: AclServer,
    keys: Keys,
    tmp_path: Path,
    expected_refusals: set[tuple[str, str]],
) -> AsyncIterator[System]:
    """No worker yet. The users are those of this tree's `users.acl`."""
    expected_refusals.add(("worker", "config|get"))  # the release takes no for an answer
    expected_refusals.update((user, "client|setinfo") for user in (WORKER, GATEWAY, OPERATOR))
    async with prepared_system(upgrade_server.url, keys, tmp_path) as prepared:
        yield prepared
