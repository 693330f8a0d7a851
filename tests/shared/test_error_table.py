"""The one table of everything that can go wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mt5relay_shared.errors import ERROR_CODES, Mt5Code, MT5Error, Outcome, error_for

# As in the wire contract: code, exception, outcome for the breaker, retryable.
CONTRACT = [
    ("MT5_INIT_FAILED", "MT5InitError", "failure", True),
    ("MT5_AUTH_FAILED", "MT5AuthError", "neutral", False),
    ("MT5_CONNECTION_LOST", "MT5ConnectionError", "failure", True),
    ("BROKER_UNAVAILABLE", "MT5ConnectionError", "failure", True),
    ("MT5_TIMEOUT", "MT5TimeoutError", "failure", True),
    ("MT5_DATA_INVALID", "MT5DataError", "failure", True),
    ("CIRCUIT_OPEN", "MT5CircuitBreakerOpen", None, True),
    ("VALIDATION_FAILED", "MT5ValidationError", "neutral", False),
    ("INVALID_STATE", "MT5StateError", "neutral", False),
    ("ACCOUNT_UNKNOWN", "AccountUnknownError", "neutral", False),
    ("NOT_FOUND", "NotFoundError", "neutral", False),
    ("DEADLINE_EXCEEDED", "DeadlineExceededError", "neutral", True),
    ("TOO_LATE", "DeadlineExceededError", None, True),
    ("QUEUE_FULL", "QueueFullError", None, True),
    ("NO_WORKER", "NoWorkerError", None, True),
    ("POISONED", "PoisonedRequestError", None, False),
    ("INTERNAL", "MT5Error", "neutral", False),
]
CLIENT_ONLY = ("REDIS_UNAVAILABLE", "RedisUnavailableError", None, True)


def family(kind: type[MT5Error] = MT5Error) -> Iterator[type[MT5Error]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


@pytest.mark.parametrize(("code", "exception", "outcome", "retryable"), [*CONTRACT, CLIENT_ONLY])
def test_a_code_means_what_the_contract_says(
    code: str, exception: str, outcome: str | None, retryable: bool
) -> None:
    spec = ERROR_CODES[code]
    assert spec.exception.__name__ == exception
    assert spec.outcome == (None if outcome is None else Outcome(outcome))
    assert spec.retryable is retryable


def test_there_is_no_code_that_the_contract_does_not_know() -> None:
    assert list(ERROR_CODES) == [code for code, *_ in [*CONTRACT, CLIENT_ONLY]]


@pytest.mark.parametrize("kind", list(family()))
def test_every_exception_of_the_family_has_a_code(kind: type[MT5Error]) -> None:
    assert issubclass(kind, ERROR_CODES[kind.default_code].exception)


@pytest.mark.parametrize("code", ERROR_CODES)
def test_the_code_of_an_exception_is_the_code_it_was_built_for(code: str) -> None:
    error = error_for(code, "why", request_id="r")
    assert type(error) is ERROR_CODES[code].exception
    assert (error.code, error.request_id) == (code, "r")
    assert (error.retryable, error.outcome) == (
        ERROR_CODES[code].retryable,
        ERROR_CODES[code].outcome,
    )


def test_a_code_of_a_newer_worker_is_still_an_error() -> None:
    error = error_for("FROM_THE_FUTURE", "why")
    assert type(error) is MT5Error
    assert (error.code, error.retryable) == ("INTERNAL", False)


def test_an_error_says_what_the_package_said() -> None:
    error = error_for("BROKER_UNAVAILABLE", "login failed", mt5_error=(-10005, "IPC timeout"))
    assert str(error) == "login failed (MT5 -10005: IPC timeout)"
    assert error.message == "login failed"
    assert error.mt5_error == Mt5Code(-10005, "IPC timeout")


def test_an_invalid_request_is_a_value_error_to_python() -> None:
    assert isinstance(error_for("VALIDATION_FAILED", "account: wrong"), ValueError)
