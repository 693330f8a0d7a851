"""The loggers of all modules.

Events are fixed dotted names; data goes into fields. Fields bound with structlog's context
variables stand on every line written meanwhile: a visit binds its account and its requests' ids.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger that carries the module it speaks for.

    In a program that has not configured structlog it speaks through `logging`, as `mt5relay.NAME`:
    a library does not print by itself, nor does it load what it does not need.
    """
    return cast("FilteringBoundLogger", _Logger(name))


_LEVELS = {
    "debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING,
    "error": logging.ERROR, "exception": logging.ERROR, "critical": logging.CRITICAL,
}  # fmt: skip


class _Logger:
    def __init__(self, name: str) -> None:
        self._name = name
        self._plain = logging.getLogger(f"mt5relay.{name}")
        self._structured: dict[str, Callable[..., object]] = {}  # made once: most go unheard

    def __getattr__(self, method: str) -> Callable[..., object]:
        structlog = sys.modules.get("structlog")
        if structlog is None or not structlog.is_configured():
            self._structured.clear()
            return partial(self._say_plainly, _LEVELS[method], method == "exception")
        speak = self._structured.get(method)
        if speak is None:
            speak = getattr(structlog.get_logger(module=self._name), method)
            if structlog.get_config()["cache_logger_on_first_use"]:
                self._structured[method] = speak
        return speak

    def _say_plainly(self, level: int, with_traceback: bool, event: str, **fields: object) -> None:
        if self._plain.isEnabledFor(level):
            said = " ".join(f"{name}={value!r}" for name, value in fields.items())
            self._plain.log(level, "%s %s", event, said, exc_info=with_traceback)
