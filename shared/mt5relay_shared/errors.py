"""Every way in which a request can fail: one table, one family of exceptions.

The code crosses the wire; the exception is what a Python caller sees; the outcome is what the
failure means for the terminal's circuit breaker.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple


class Outcome(StrEnum):
    """What is left after the last attempt, as the breaker counts it."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"  # says nothing about the terminal


class Mt5Code(NamedTuple):
    """What `last_error()` said: the package's own code and text."""

    code: int
    text: str


class MT5Error(Exception):
    """Base of everything mt5relay raises for a request, and a defect when raised itself.

    Attributes:
        code: one of `ERROR_CODES`; stable, for programs.
        retryable: whether the same request may succeed later without anybody's help.
        retry_after: seconds to wait before that, where it is known.
        mt5_error: `(code, text)` of the package's `last_error()`, where the terminal was asked.
        request_id: the request that failed, where there was one.
    """

    code: str
    default_code: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after: float | None = None,
        mt5_error: tuple[int, str] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.retry_after = retry_after
        self.mt5_error = None if mt5_error is None else Mt5Code(*mt5_error)
        self.request_id = request_id

    @property
    def message(self) -> str:
        return str(self.args[0])

    @property
    def retryable(self) -> bool:
        return ERROR_CODES[self.code].retryable

    @property
    def outcome(self) -> Outcome | None:
        return ERROR_CODES[self.code].outcome

    def __str__(self) -> str:
        tail = (
            "" if self.mt5_error is None else f" (MT5 {self.mt5_error.code}: {self.mt5_error.text})"
        )
        return f"{self.message}{tail}"


class MT5InitError(MT5Error):
    """The terminal could not be attached or started."""

    default_code = "MT5_INIT_FAILED"


class MT5AuthError(MT5Error):
    """Authorization was refused; the account is cooling down."""

    default_code = "MT5_AUTH_FAILED"


class MT5ConnectionError(MT5Error):
    """The link to the terminal, or the terminal's link to the broker, is down."""

    default_code = "MT5_CONNECTION_LOST"


class MT5TimeoutError(MT5Error):
    """A call on the terminal passed its hard limit."""

    default_code = "MT5_TIMEOUT"


class MT5DataError(MT5Error):
    """The terminal's answer can't be trusted and was discarded."""

    default_code = "MT5_DATA_INVALID"


class MT5CircuitBreakerOpen(MT5Error):  # noqa: N818 - the wire contract's name
    """Refused at once: the terminal is known to be down."""

    default_code = "CIRCUIT_OPEN"


class MT5ValidationError(MT5Error, ValueError):
    """The request itself is wrong; the message names the field and the remedy."""

    default_code = "VALIDATION_FAILED"


class MT5StateError(MT5Error):
    """Not allowed in this state."""

    default_code = "INVALID_STATE"


class AccountUnknownError(MT5Error):
    """No credential is enrolled for the account."""

    default_code = "ACCOUNT_UNKNOWN"


class NotFoundError(MT5Error):
    """The terminal does not know the symbol or ticket."""

    default_code = "NOT_FOUND"


class DeadlineExceededError(MT5Error):
    """Not answered in time, or refused at once because it could not be."""

    default_code = "DEADLINE_EXCEEDED"


class QueueFullError(MT5Error):
    """Refused at submit: too many requests wait already."""

    default_code = "QUEUE_FULL"


class NoWorkerError(MT5Error):
    """Refused at submit: no worker holds the terminal's lease."""

    default_code = "NO_WORKER"


class PoisonedRequestError(MT5Error):
    """The request crashed the worker too often and is in the dead-letter stream."""

    default_code = "POISONED"


class RedisUnavailableError(MT5Error):
    """Redis could not be reached or refused the command. Raised by clients, never on the wire."""

    default_code = "REDIS_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the contract."""

    exception: type[MT5Error]
    outcome: Outcome | None  # None: decided before the terminal was concerned
    retryable: bool
    meaning: str


_F, _N = Outcome.FAILURE, Outcome.NEUTRAL

ERROR_CODES: dict[str, ErrorSpec] = {
    "MT5_INIT_FAILED": ErrorSpec(MT5InitError, _F, True, "terminal not attached or started"),
    "MT5_AUTH_FAILED": ErrorSpec(MT5AuthError, _N, False, "authorization refused, cooling down"),
    "MT5_CONNECTION_LOST": ErrorSpec(MT5ConnectionError, _F, True, "link to the terminal broke"),
    "BROKER_UNAVAILABLE": ErrorSpec(MT5ConnectionError, _F, True, "broker link down"),
    "MT5_TIMEOUT": ErrorSpec(MT5TimeoutError, _F, True, "a call passed its hard limit"),
    "MT5_DATA_INVALID": ErrorSpec(MT5DataError, _F, True, "answer discarded as untrustworthy"),
    "CIRCUIT_OPEN": ErrorSpec(MT5CircuitBreakerOpen, None, True, "refused, terminal known down"),
    "VALIDATION_FAILED": ErrorSpec(MT5ValidationError, _N, False, "the request is wrong"),
    "INVALID_STATE": ErrorSpec(MT5StateError, _N, False, "not allowed in this state"),
    "ACCOUNT_UNKNOWN": ErrorSpec(AccountUnknownError, _N, False, "no credential enrolled"),
    "NOT_FOUND": ErrorSpec(NotFoundError, _N, False, "unknown symbol or ticket"),
    "DEADLINE_EXCEEDED": ErrorSpec(DeadlineExceededError, _N, True, "not answered in time"),
    "TOO_LATE": ErrorSpec(DeadlineExceededError, None, True, "would not be answered in time"),
    "QUEUE_FULL": ErrorSpec(QueueFullError, None, True, "too many requests wait"),
    "NO_WORKER": ErrorSpec(NoWorkerError, None, True, "nobody holds the lease"),
    "POISONED": ErrorSpec(PoisonedRequestError, None, False, "crashed the worker too often"),
    "INTERNAL": ErrorSpec(MT5Error, _N, False, "something that was not foreseen"),
    "REDIS_UNAVAILABLE": ErrorSpec(RedisUnavailableError, None, True, "client only: no Redis"),
}


def error_for(
    code: str,
    message: str,
    *,
    retry_after: float | None = None,
    mt5_error: tuple[int, str] | None = None,
    request_id: str | None = None,
) -> MT5Error:
    """Build the exception that stands for a wire code.

    One of a newer worker becomes `MT5Error`, with the code in its message.
    """
    spec = ERROR_CODES.get(code)
    return (spec.exception if spec else MT5Error)(
        message if spec else f"{message} ({code[:64]}, which this version does not know)",
        code=code if spec else "INTERNAL",
        retry_after=retry_after,
        mt5_error=mt5_error,
        request_id=request_id,
    )
