"""How the package takes its arguments apart, and how it refuses them.

Measured on package 5.0.6231: a wrong type ends in -2 and a text that names the argument; a number
out of the range of its C type raises SystemError; unknown keywords are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NoReturn, TypeVar, cast

from mt5relay_worker.simulator.structures import TradeRequest
from mt5relay_worker.simulator.surface import CallError, Constants

Value = TypeVar("Value")

MAX_REQUEST_TEXT_UNITS = 29
_ORDINALS = ("1st", "2nd", "3rd", "4th", "5th", "6th")
_DOUBLES = frozenset({"volume", "price", "stoplimit", "sl", "tp"})
_WORDS = frozenset({"symbol", "comment"})
_SIGNED = frozenset({"expiration"})
_UNSIGNED_32 = frozenset({"action", "type", "type_filling", "type_time"})
_EMPTY_REQUEST = TradeRequest(0, 0, 0, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, "", 0, 0)


class OutOfRangeError(SystemError):
    """A number does not fit its C type. The package raises SystemError and leaves -2 behind."""

    def __init__(self, name: str) -> None:
        super().__init__("built-in function returned a result with an exception set")
        self.text = f'Invalid "{name}" argument'


class Arguments:
    """The arguments of one call. Each getter returns None for an argument that is absent.

    `at` is the place at which an argument may be given without its name.
    """

    def __init__(self, args: Sequence[object], kwargs: Mapping[str, object], places: int) -> None:
        if len(args) > places:
            raise CallError(Constants.RES_E_INVALID_PARAMS, "Unnamed arguments not allowed")
        self._args = args
        self._kwargs = kwargs

    def unsigned(self, name: str, at: int | None = None, bits: int = 64) -> int | None:
        value = self._find(name, at)
        if value is _ABSENT:
            return None
        if not isinstance(value, int):
            self._refuse(name, at)
        return in_range(name, value, bits)

    def integer(self, name: str, at: int | None = None) -> int | None:
        value = self._find(name, at)
        if value is _ABSENT:
            return None
        return value if isinstance(value, int) else self._refuse(name, at)

    def text(self, name: str, at: int | None = None) -> str | None:
        value = self._find(name, at)
        if value is _ABSENT:
            return None
        return value if isinstance(value, str) else self._refuse(name, at)

    def number(self, name: str, at: int | None = None) -> float | None:
        value = self._find(name, at)
        if value is _ABSENT:
            return None
        return float(value) if isinstance(value, int | float) else self._refuse(name, at)

    def flag(self, name: str, at: int | None = None) -> bool | None:
        value = self._find(name, at)
        if value is _ABSENT:
            return None
        return bool(value) if isinstance(value, int) else self._refuse(name, at)

    def moment(self, name: str, at: int | None = None) -> float | None:
        """Seconds since 1970. A datetime without a zone counts as UTC, as in 5.0.6231."""
        value = self._find(name, at)
        if value is _ABSENT:
            return None
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        return float(value) if isinstance(value, int | float) else self._refuse(name, at)

    def _find(self, name: str, at: int | None) -> object:
        if at is not None and at < len(self._args):
            return self._args[at]
        return self._kwargs.get(name, _ABSENT)

    def _refuse(self, name: str, at: int | None) -> NoReturn:
        raise CallError(Constants.RES_E_INVALID_PARAMS, self._complaint(name, at))

    def _complaint(self, name: str, at: int | None) -> str:
        if at is not None and at < len(self._args):
            return f"Invalid {_ORDINALS[at]} unnamed argument"
        return f'Invalid "{name}" argument'


class CopyArguments(Arguments):
    """`copy_*` take their arguments apart otherwise: a wrong type raises SystemError."""

    def _refuse(self, name: str, at: int | None) -> NoReturn:
        raise OutOfRangeError(name)


class _Absent:
    pass


_ABSENT = _Absent()


def required(name: str, value: Value | None) -> Value:
    """The value, or -2 for an argument that can't be left out."""
    if value is None:
        raise CallError(Constants.RES_E_INVALID_PARAMS, f'Invalid "{name}" argument')
    return value


def in_range(name: str, value: int, bits: int) -> int:
    """The value, if an unsigned C number of so many bits can hold it."""
    if not 0 <= value < 1 << bits:
        raise OutOfRangeError(name)
    return value


def trade_request(args: Sequence[object], kwargs: Mapping[str, object]) -> TradeRequest:
    """Read the request of `order_check` and `order_send`: one dictionary, or keywords.

    The package also refuses a dictionary that comes with an *empty* keyword dictionary; a function
    written in Python can't see that difference, so this passes here.
    """
    if args and kwargs:
        raise CallError(Constants.RES_E_INVALID_PARAMS, "Unnamed arguments not allowed")
    given: object = args[0] if args else kwargs
    if len(args) > 1 or not isinstance(given, Mapping):
        raise CallError(Constants.RES_E_INVALID_PARAMS, "Invalid 1st unnamed argument")
    return TradeRequest._make(_fields(cast("Mapping[str, object]", given)))


def _fields(given: Mapping[str, object]) -> Iterator[object]:
    for name, absent in _EMPTY_REQUEST._asdict().items():
        yield _field(name, given[name]) if name in given else absent


def _field(name: str, value: object) -> object:
    if not _has_type_of(name, value):
        raise CallError(Constants.RES_E_INVALID_PARAMS, f'Invalid "{name}" argument')
    if isinstance(value, int) and name not in _SIGNED:
        return in_range(name, value, 32 if name in _UNSIGNED_32 else 64)
    return value


def _has_type_of(name: str, value: object) -> bool:
    if name in _DOUBLES:
        return isinstance(value, float)
    if name in _WORDS:
        return isinstance(value, str) and utf16_units(value) <= MAX_REQUEST_TEXT_UNITS
    return isinstance(value, int)


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
