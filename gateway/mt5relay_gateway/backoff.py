"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST_PAUSE = 0.05  # seconds
LONGEST_PAUSE = 2.0  # seconds


def pauses() -> Iterator[float]:
    """Endless pauses in seconds that double up to two seconds, each jittered downwards by half.

    Without jitter every gateway would come back to a restarted Redis in the same instant.
    """
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(LONGEST_PAUSE, pause * 2)
