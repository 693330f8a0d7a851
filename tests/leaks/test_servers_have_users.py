"""The whole suite runs under the users of `deploy/redis`: no test starts a server that has none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.servers import (
    COMMANDING,
    GATEWAY,
    MAY_COMMAND,
    OPERATOR,
    TESTER,
    USERS_FILE,
    WORKER,
    acl_for_tests,
    as_user,
    password_of_user,
    without_user,
)

pytestmark = pytest.mark.integration

TESTS = Path(__file__).parents[1]
STARTS_A_SERVER = re.compile(r"cli\.store import[^\n]*(running_server|\(\n)|\bStoreServer\(")
ALLOWED = {"servers.py"}


def test_only_one_place_starts_servers() -> None:
    starting = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        if STARTS_A_SERVER.search(path.read_text("utf-8"))
    }
    assert starting == ALLOWED, "start servers by tests.servers.running_server"


def test_a_url_is_made_another_users() -> None:
    assert as_user("redis://127.0.0.1:1/0", WORKER) == (
        f"redis://worker:{password_of_user(WORKER)}@127.0.0.1:1/0"
    )
    sentinels = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/relay"
    assert as_user(as_user(sentinels, GATEWAY), OPERATOR) == as_user(sentinels, OPERATOR)
    assert without_user(as_user(sentinels, OPERATOR)) == sentinels
    assert as_user("rediss://h:1/0?ssl_ca_certs=/a/b", TESTER).endswith("@h:1/0?ssl_ca_certs=/a/b")


def test_the_users_of_the_tests_are_those_of_the_file_and_two_more() -> None:
    users = [line.split()[1] for line in acl_for_tests().splitlines()]
    assert users[-2:] == [COMMANDING, TESTER]
    readme = USERS_FILE.with_name("README.md").read_text("utf-8")
    assert MAY_COMMAND in readme, "the right to command is the one that operators are told of"
    assert "{mt5" not in acl_for_tests(), "any prefix goes: tests have their own"
    assert "#" + "0" * 64 not in acl_for_tests()
