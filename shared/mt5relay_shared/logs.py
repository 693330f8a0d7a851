"""Structured logs on standard error: JSON for machines, colours for people.

Events are fixed dotted names; data goes into fields. Fields bound with structlog's context
variables stand on every line written meanwhile: a visit binds its account and its requests' ids.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

import structlog

LogFormat = Literal["auto", "json", "console"]


def configure_logs(log_format: str = "auto", level: str = "info") -> None:
    """Set up structlog for this process; call once, before the first line.

    Tracebacks never show local variables: a password could be one.
    """
    readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [_plain_tracebacks, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


_plain_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that carries the module it speaks for.

    In a program that has not configured structlog it speaks through `logging`, as `mt5relay.NAME`:
    a library does not print by itself.
    """
    return cast(structlog.typing.FilteringBoundLogger, _Logger(name))


_LEVELS = {
    "debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING,
    "error": logging.ERROR, "exception": logging.ERROR, "critical": logging.CRITICAL,
}  # fmt: skip


class _Logger:
    def __init__(self, name: str) -> None:
        self._structured = structlog.get_logger(module=name)
        self._plain = logging.getLogger(f"mt5relay.{name}")

    def __getattr__(self, method: str) -> Callable[..., object]:
        if structlog.is_configured():
            speak = cast(Callable[..., object], getattr(self._structured, method))
            if structlog.get_config()["cache_logger_on_first_use"]:
                self.__dict__[method] = speak  # what is not heard must cost next to nothing
            return speak
        return partial(self._say_plainly, _LEVELS[method])

    def _say_plainly(self, level: int, event: str, **fields: object) -> None:
        if self._plain.isEnabledFor(level):
            said = " ".join(f"{name}={value!r}" for name, value in fields.items())
            self._plain.log(level, "%s %s", event, said)
