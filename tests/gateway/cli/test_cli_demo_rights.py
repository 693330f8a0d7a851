"""`mt5relay demo` on somebody's Redis, as a user who may do no more than its duty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.servers import OPERATOR, AclServer, as_user

RunCli = Callable[..., Any]


async def test_who_may_not_look_for_keys_is_told_before_anything_is_begun(
    server: AclServer, program: RunCli, expected_refusals: set[tuple[str, str]]
) -> None:
    expected_refusals.add((OPERATOR, "scan"))
    ended = await program("demo", "--once", "--json", REDIS_URL=as_user(server.url, OPERATOR))
    assert ended.status == 1
    assert "leave REDIS_URL unset" in ended.err
    assert "may do everything" in ended.err
    assert "Traceback" not in ended.err
    assert '"event":"worker"' not in ended.out
