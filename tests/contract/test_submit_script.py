"""What becomes of a request when it is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import Ask, Settled

if TYPE_CHECKING:
    from tests.contract.conftest import Relay
