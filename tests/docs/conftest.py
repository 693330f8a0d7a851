"""What tests of the documentation share: a relay that everything shown there can be tried on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.docs.relay import Relay, running_relay


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with running_relay(tmp_path_factory.mktemp("relay")) as running:
        yield running
