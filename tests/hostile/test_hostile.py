"""A terminal that does everything wrong at once makes nobody read what is not true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hostile.hostile import play
from tests.servers import AclServer, running_server

pytestmark = pytest.mark.integration

VISITS = 150


@pytest.fixture(scope="module")
def server() -> Iterator[AclServer]:
    with running_server() as server:
        yield server


def test_every_answer_of_a_hostile_terminal_is_true_or_an_error(
    server: AclServer, tmp_path: Path
) -> None:
    tally = play(VISITS, 1, tmp_path / "run", server, journal="on")
    assert tally.violations() == [], tally.report()
    assert tally.outcomes["ok from terminal"] > VISITS / 4, tally.report()
    assert tally.synchronized["confirmed"] > 0, tally.report()
