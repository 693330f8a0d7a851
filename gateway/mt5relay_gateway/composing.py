"""What a caller asks, checked and put into the words of the wire."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from types import UnionType
from typing import Any, TypedDict

import msgspec

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.ids import new_request_id
from mt5relay_shared.messages import (
    MAX_AGE_MS,
    MAX_TIMEOUT_MS,
    GatewayName,
    Question,
    Request,
    RequestId,
    encode,
)
from mt5relay_shared.operations import OPERATIONS, TIMEFRAMES, Operation

OPTIONS = ("timeout", "max_age", "stale_if_error", "request_id", "traceparent")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AskOptions(TypedDict, total=False):
    """What every look-up takes beside the question. All times in seconds.

    timeout: how long the answer may take; None or absent: the client's default.
    max_age: a stored read up to this old answers without the terminal; 0: always ask it.
    stale_if_error: a stored read up to this old answers instead of a retryable error, marked stale.
    request_id: makes the request idempotent: the same id with the same question shares one reply.
    traceparent: W3C trace context, carried to the worker.
    """

    timeout: float | None
    max_age: float
    stale_if_error: float
    request_id: str | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request and what it means."""

    request: Request
    question: Question

    @property
    def is_in_snapshot(self) -> bool:
        return OPERATIONS[self.question.operation].in_snapshot


def compose(
    operation: str,
    account: AccountId | str,
    arguments: Mapping[str, Any] | None,
    *,
    default_timeout: float,
    reply_to: str | None = None,
    timeout: float | None = None,
    max_age: float = 0.0,
    stale_if_error: float = 0.0,
    request_id: str | None = None,
    traceparent: str | None = None,
    **unknown: object,
) -> Ask:
    """Check everything a caller gives.

    Raises:
        MT5ValidationError: naming the parameter and what it should be.
    """
    for name in unknown:
        raise MT5ValidationError(f"{name}: no such option{_near_miss(name, OPTIONS)}")
    check_type("operation", operation, str, "the name of an operation")
    if operation not in OPERATIONS:
        raise MT5ValidationError(
            f"operation: {operation[:80]!r} is not known; known: {', '.join(OPERATIONS)}"
        )
    if arguments is not None:
        check_type("arguments", arguments, Mapping, "a mapping")
    if traceparent is not None:
        check_type("traceparent", traceparent, str, "a text")
    request = Request(
        id=new_request_id() if request_id is None else check_request_id(request_id),
        account=str(parsed_account(account)),
        operation=operation,
        arguments=dict(arguments or {}),
        timeout_ms=timeout_as_ms(default_timeout if timeout is None else timeout),
        max_age_ms=_age_as_ms("max_age", max_age),
        stale_if_error_ms=_age_as_ms("stale_if_error", stale_if_error),
        reply_to=reply_to,
        traceparent=traceparent,
    )
    _check_timeframe(request)
    ask = Ask(request, request.question())
    _check_text(request)
    return ask


def check_type(parameter: str, value: object, kind: type | UnionType, wanted: str) -> None:
    """Raises:
    MT5ValidationError: the value has another type; a bool is no number.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise MT5ValidationError(
            f"{parameter}: {value!r:.80} is a {type(value).__name__}; give {wanted}"
        )


def parsed_account(account: AccountId | str) -> AccountId:
    """Raises:
    MT5ValidationError: it is no account.
    """
    check_type("account", account, str | AccountId, "LOGIN@SERVER")
    return AccountId.parse(str(account))


def check_connection(parameter: str, url: object, allow_plaintext: object) -> None:
    check_type(parameter, url, str, "a URL such as redis://127.0.0.1:6379/0")
    check_type("allow_plaintext", allow_plaintext, bool, "True or False")


def _near_miss(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(names)}"


def _check_timeframe(request: Request) -> None:
    """msgspec does not say which ones there are."""
    given = request.arguments.get("timeframe")
    if request.operation == Operation.RATES and given not in TIMEFRAMES:
        names = {one.lower(): one for one in TIMEFRAMES}
        meant = names.get(given.lower()) if isinstance(given, str) else None
        hint = f"did you mean {meant}?" if meant else f"known: {', '.join(TIMEFRAMES)}"
        raise MT5ValidationError(f"timeframe: {given!r:.80} is not known; {hint}")


def _check_text(request: Request) -> None:
    try:
        encode(request)
    except UnicodeEncodeError:
        raise MT5ValidationError(
            f"arguments of {request.operation}: a text holds half a character (a lone surrogate)"
        ) from None


def timeout_as_ms(timeout: float, parameter: str = "timeout") -> int:
    check_type(parameter, timeout, int | float, "seconds as a number")
    if not 0 < timeout <= MAX_TIMEOUT_MS / 1000:
        raise MT5ValidationError(
            f"{parameter}: {timeout} s is not above 0 and at most {MAX_TIMEOUT_MS // 1000} s"
        )
    return max(1, round(timeout * 1000))


def check_wait(wait: float) -> None:
    if wait != 0 or isinstance(wait, bool):
        timeout_as_ms(wait, "wait")


def _age_as_ms(parameter: str, age: float) -> int:
    check_type(parameter, age, int | float, "seconds as a number")
    if not 0 <= age <= MAX_AGE_MS / 1000:
        raise MT5ValidationError(
            f"{parameter}: {age} s is not between 0 and {MAX_AGE_MS // 1000} s"
        )
    return round(age * 1000)


def check_request_id(request_id: str) -> str:
    return _check_name("request_id", request_id, RequestId)


def check_gateway_name(name: str) -> str:
    return _check_name("name", name, GatewayName)


def _check_name(parameter: str, text: str, kind: Any) -> str:  # noqa: ANN401 - an annotated type
    try:
        return str(msgspec.convert(text, kind))
    except msgspec.ValidationError:
        raise MT5ValidationError(
            f"{parameter}: {str(text)[:80]!r} is not 1 to 64 letters, digits, dots, dashes or"
            " underscores that start with a letter or digit"
        ) from None


def broker_time_ms(parameter: str, moment: datetime) -> int:
    """Read a moment of the broker server's clock: naive, or dressed as UTC like the records.

    Raises:
        MT5ValidationError: it is in another time zone, so its meaning would be guessed.
    """
    check_type(parameter, moment, datetime, "a datetime of the broker server's clock")
    if moment.tzinfo is not None and not _is_utc(moment.tzinfo, moment.year):
        raise MT5ValidationError(
            f"{parameter}: {moment.isoformat()} has a time zone; give the broker server's wall"
            " clock, naive or with tzinfo=UTC"
        )
    return (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def _is_utc(zone: tzinfo, year: int) -> bool:
    """Whether a zone is UTC the whole year: London's is in winter alone."""
    moments = [datetime(year, month, 1, tzinfo=zone) for month in (1, 4, 7, 10)]
    return all(moment.utcoffset() == timedelta(0) for moment in moments)
