"""How a task that talks to Redis is ended."""

from __future__ import annotations

import asyncio
from typing import Any


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel it until it has ended: redis-py loses a cancellation that comes with an answer."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)
    if not task.cancelled():
        task.exception()  # looked at, or asyncio would complain of it
