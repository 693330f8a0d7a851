"""How the package takes its arguments apart, and how it refuses them.

Measured on package 5.0.6231 without a terminal (tests/conformance has the table). There are two
styles. Some functions read keywords, ignore unknown ones and name the argument they refuse. The
others take places only: a keyword raises TypeError, a wrong number SystemError, anything else is
"Invalid arguments". A number out of the range of its C type raises SystemError everywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Final, NoReturn, SupportsFloat, SupportsIndex, TypeVar, cast

from mt5relay_worker.simulator.structures import TradeRequest
from mt5relay_worker.simulator.surface import CallError, Constants

Value = TypeVar("Value")

MAX_SYMBOL_UNITS: Final = 29
MAX_REQUEST_TEXT_UNITS: Final = 29
MAX_CREDENTIAL_UNITS: Final = 253
MAX_PATH_UNITS: Final = 257
MAX_GROUP_UNITS: Final = 1997
INVALID: Final = "Invalid arguments"
INVALID_NUMBER: Final = "Invalid number of arguments"
UNNAMED: Final = "Unnamed arguments not allowed"
_ORDINALS = ("1st", "2nd", "3rd")
_DOUBLES = frozenset({"volume", "price", "stoplimit", "sl", "tp"})
_WORDS = frozenset({"symbol", "comment"})
_SIGNED = frozenset({"expiration"})
_UNSIGNED_32 = frozenset({"action", "type", "type_filling", "type_time"})
# What `timestamp()` of a datetime without a zone can convert on Windows; elsewhere it could more.
_CONVERTIBLE = range(86_400, 32_535_244_800)
_TOO_BIG_A_DATE = -(1 << 31)
_EMPTY_REQUEST = TradeRequest(0, 0, 0, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, "", 0, 0)


_BROKEN_RESULT = "built-in function returned a result with an exception set"


class OutOfRangeError(SystemError):
    """A number is none, or does not fit its C type. SystemError as the package raises it."""

    def __init__(self, text: str) -> None:
        super().__init__(_BROKEN_RESULT)
        self.text = text


class AnswerLostError(SystemError):
    """The call was made and its answer thrown away; the last error is that of the call."""

    def __init__(self) -> None:
        super().__init__(_BROKEN_RESULT)


class ArgumentsRefusedError(CallError):
    """The package refuses the call before it looks for a terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(Constants.RES_E_INVALID_PARAMS, text)


# What a refused call returns, where that is not what the function returns for other failures.
RETURNED_WHEN_REFUSED: Final[Mapping[str, object]] = {
    "market_book_add": None,
    "market_book_release": None,
    "symbols_get": False,
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What the package makes of a call's arguments: the ignored ones are gone.

    `is_thrown_away`: the call is made, then raises SystemError instead of answering.
    """

    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict[str, object])
    is_thrown_away: bool = False


def take_apart(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Taken:
    """Check a call as the package does; functions that are not measured here pass.

    Raises:
        ArgumentsRefusedError: the call fails, and leaves -2.
        OutOfRangeError: it raises SystemError, and leaves -2.
        TypeError: a keyword where none is taken; the last error stays as it was.
    """
    if name in _PLACES:
        return _take_places(name, args, kwargs)
    if name in _KEYWORDS:
        return _KEYWORDS[name](args, kwargs)
    return Taken(tuple(args), kwargs)


# -- functions that take places only --------------------------------------------------------------


class _Kind(Enum):
    SYMBOL = auto()
    INT = auto()  # 32 bits, signed
    MASKED = auto()  # cut to 32 bits, whatever it is
    DOUBLE = auto()
    DATE = auto()
    ANYTHING = auto()


_DATES = (_Kind.DATE, _Kind.DATE)
_MONEY = (_Kind.MASKED, _Kind.SYMBOL, _Kind.DOUBLE, _Kind.DOUBLE)
_PLACES: Mapping[str, tuple[_Kind, ...]] = {
    "symbol_info": (_Kind.SYMBOL,),
    "symbol_info_tick": (_Kind.SYMBOL,),
    "symbol_select": (_Kind.SYMBOL, _Kind.ANYTHING),
    "market_book_add": (_Kind.SYMBOL,),
    "market_book_release": (_Kind.SYMBOL,),
    "market_book_get": (_Kind.SYMBOL,),
    "copy_rates_from_pos": (_Kind.SYMBOL, _Kind.INT, _Kind.INT, _Kind.INT),
    "copy_rates_from": (_Kind.SYMBOL, _Kind.INT, _Kind.DATE, _Kind.INT),
    "copy_rates_range": (_Kind.SYMBOL, _Kind.INT, *_DATES),
    "copy_ticks_from": (_Kind.SYMBOL, _Kind.DATE, _Kind.INT, _Kind.INT),
    "copy_ticks_range": (_Kind.SYMBOL, *_DATES, _Kind.INT),
    "order_calc_margin": _MONEY,
    "order_calc_profit": (*_MONEY, _Kind.DOUBLE),
    "history_orders_total": _DATES,
    "history_deals_total": _DATES,
}
_LAST_IS_OPTIONAL = frozenset({"symbol_select"})
_NUMBERS = frozenset({_Kind.INT, _Kind.MASKED, _Kind.DOUBLE})


def _take_places(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Taken:
    if kwargs:
        raise TypeError(f"{name}() takes no keyword arguments")
    kinds = _PLACES[name]
    if len(args) != len(kinds) and not (name in _LAST_IS_OPTIONAL and len(args) == len(kinds) - 1):
        raise ArgumentsRefusedError(INVALID)
    given = list(zip(kinds, args, strict=False))
    # The numbers come first: a wrong one raises, even where a symbol or a date is wrong too.
    numbers = {
        at: _number(kind, value) for at, (kind, value) in enumerate(given) if kind in _NUMBERS
    }
    return Taken(
        tuple(
            numbers[at] if at in numbers else _object(kind, value)
            for at, (kind, value) in enumerate(given)
        ),
        is_thrown_away=any(_is_too_big(value) for kind, value in given if kind is _Kind.DATE),
    )


def _number(kind: _Kind, value: object) -> float:
    if kind is _Kind.MASKED and isinstance(value, int):
        return value & 0xFFFF_FFFF
    with contextlib.suppress(OverflowError):
        if kind is _Kind.DOUBLE and isinstance(value, SupportsFloat | SupportsIndex):
            return float(value)
    if kind is _Kind.INT and isinstance(value, SupportsIndex):
        number = value.__index__()
        if -(1 << 31) <= number < 1 << 31:
            return number
    raise OutOfRangeError(INVALID)


def _object(kind: _Kind, value: object) -> object:
    match kind:
        case _Kind.DATE:
            return _date(value)
        case _Kind.ANYTHING:
            return bool(value)
        case _ if is_text(value, MAX_SYMBOL_UNITS):
            return value
        case _:
            raise ArgumentsRefusedError(INVALID)


def _date(value: object) -> int:
    """Whole seconds since 1970 as they are sent; what does not fit 32 bits goes out below 0.

    The package asks a datetime for its `timestamp()`, by which one without a zone is local time.
    """
    match value:
        case datetime():
            seconds = _timestamp(value)
        case int() | float():
            seconds = value
        case _:
            raise ArgumentsRefusedError(INVALID)
    return int(seconds) if -(1 << 31) <= seconds < 1 << 31 else _TOO_BIG_A_DATE


def _timestamp(value: datetime) -> float:
    with contextlib.suppress(OSError, OverflowError, ValueError):
        seconds = value.timestamp()
        if value.tzinfo is not None or _CONVERTIBLE.start <= seconds < _CONVERTIBLE.stop:
            return seconds
    raise OutOfRangeError(INVALID)


def _is_too_big(date: object) -> bool:
    """A whole number that does not fit is noticed, but only after the request has gone out."""
    return isinstance(date, int) and not -(1 << 31) <= date < 1 << 31


# -- functions that read keywords -----------------------------------------------------------------

_Reader = Callable[[object, str], object]


def _text(units: int) -> _Reader:
    def read(value: object, complaint: str) -> object:
        if not is_text(value, units):
            raise ArgumentsRefusedError(complaint)
        return value

    return read


def _unsigned(bits: int) -> _Reader:
    def read(value: object, complaint: str) -> object:
        if not isinstance(value, int):
            raise ArgumentsRefusedError(complaint)
        if not 0 <= value < 1 << bits:
            raise OutOfRangeError(complaint)
        return value

    return read


def is_text(value: object, units: int) -> bool:
    """Whether it is a text of at most so many UTF-16 units."""
    return isinstance(value, str) and utf16_units(value) <= units


_LOGIN = _TICKET = _unsigned(64)
_TIMEOUT = _unsigned(32)
_CREDENTIAL = _text(MAX_CREDENTIAL_UNITS)
_PATH = _text(MAX_PATH_UNITS)
_GROUP = _text(MAX_GROUP_UNITS)
_SYMBOL = _text(MAX_SYMBOL_UNITS)


def _initialize(args: Sequence[object], kwargs: Mapping[str, object]) -> Taken:
    _allow_places(args, 1)
    path = _PATH(args[0], _place(0)) if args else None
    kept = _credentials(kwargs) | _named(kwargs, path=_PATH)
    path = kept.pop("path", path)
    if kept.get("login") == 0:
        del kept["login"]
    return Taken((path,) if path else (), kept)


def _login(args: Sequence[object], kwargs: Mapping[str, object]) -> Taken:
    _allow_places(args, 3)
    readers = {"login": _LOGIN, "password": _CREDENTIAL, "server": _CREDENTIAL}
    kept = {
        name: readers[name](value, _place(at))
        for at, (name, value) in enumerate(zip(readers, args, strict=False))
    }
    kept |= _credentials(kwargs)
    login = kept.pop("login", 0)
    if login == 0:
        raise ArgumentsRefusedError(_of("login"))
    return Taken((login,), kept)


def _open_things(args: Sequence[object], kwargs: Mapping[str, object]) -> Taken:
    """`positions_get` and `orders_get`: one filter; the ticket goes before the symbol."""
    if args:
        raise ArgumentsRefusedError(UNNAMED)
    return Taken((), _first_of(kwargs, ticket=_TICKET, symbol=_SYMBOL, group=_GROUP))


def _past_things(args: Sequence[object], kwargs: Mapping[str, object]) -> Taken:
    """`history_*_get`: two dates in places, else a ticket, else a position."""
    if len(args) == len(_DATES):
        return Taken(
            tuple(_date(value) for value in args),
            _named(kwargs, group=_GROUP),
            is_thrown_away=any(map(_is_too_big, args)),
        )
    kept = {} if args else _first_of(kwargs, ticket=_TICKET, position=_TICKET)
    if not kept:
        has_filter = "ticket" in kwargs or "position" in kwargs
        raise ArgumentsRefusedError(UNNAMED if has_filter else INVALID)
    return Taken((), kept)


def _symbols_get(args: Sequence[object], kwargs: Mapping[str, object]) -> Taken:
    _allow_places(args, 1)
    group = _GROUP(args[0], _place(0)) if args else None
    group = _named(kwargs, group=_GROUP).get("group", group)
    return Taken(() if group is None else (group,))


_KEYWORDS: Mapping[str, Callable[[Sequence[object], Mapping[str, object]], Taken]] = {
    "initialize": _initialize,
    "login": _login,
    "positions_get": _open_things,
    "orders_get": _open_things,
    "history_orders_get": _past_things,
    "history_deals_get": _past_things,
    "symbols_get": _symbols_get,
}


def _credentials(kwargs: Mapping[str, object]) -> dict[str, object]:
    return _named(kwargs, login=_LOGIN, server=_CREDENTIAL, password=_CREDENTIAL, timeout=_TIMEOUT)


def _named(kwargs: Mapping[str, object], **readers: _Reader) -> dict[str, object]:
    """The keywords that are there, read in the package's order."""
    return {name: read(kwargs[name], _of(name)) for name, read in readers.items() if name in kwargs}


def _first_of(kwargs: Mapping[str, object], **readers: _Reader) -> dict[str, object]:
    """The first keyword that is there; the package does not look at the rest."""
    for name, read in readers.items():
        if name in kwargs:
            return {name: read(kwargs[name], _of(name))}
    return {}


def _allow_places(args: Sequence[object], places: int) -> None:
    if len(args) > places:
        raise ArgumentsRefusedError(INVALID_NUMBER)


def _place(at: int) -> str:
    return f"Invalid {_ORDINALS[at]} unnamed argument"


def _of(name: str) -> str:
    return f'Invalid "{name}" argument'


# -- what the functions themselves read -----------------------------------------------------------


class Arguments:
    """The arguments of one call, as `take_apart` left them.

    Each getter returns None for an argument that is absent. `at` is the place at which an argument
    may be given without its name, `places` how many such places there are.
    """

    def __init__(self, args: Sequence[object], kwargs: Mapping[str, object], places: int) -> None:
        if len(args) > places:
            raise ArgumentsRefusedError(UNNAMED)
        self._args = args
        self._kwargs = kwargs

    def unsigned(self, name: str, at: int | None = None, bits: int = 64) -> int | None:
        """A number below 0 is the terminal's to refuse; that it does is assumed."""
        value = self.integer(name, at)
        if value is not None and not 0 <= value < 1 << bits:
            raise CallError(Constants.RES_E_INVALID_PARAMS)
        return value

    def integer(self, name: str, at: int | None = None) -> int | None:
        return cast("int | None", self._find(name, at))

    def text(self, name: str, at: int | None = None) -> str | None:
        return cast("str | None", self._find(name, at))

    def number(self, name: str, at: int | None = None) -> float | None:
        return cast("float | None", self._find(name, at))

    def flag(self, name: str, at: int | None = None) -> bool | None:
        return cast("bool | None", self._find(name, at))

    def moment(self, name: str, at: int | None = None) -> int | None:
        """Whole seconds since 1970."""
        return cast("int | None", self._find(name, at))

    def _find(self, name: str, at: int | None) -> object:
        if at is not None and at < len(self._args):
            return self._args[at]
        return self._kwargs.get(name)


CopyArguments = Arguments


def required(name: str, value: Value | None) -> Value:
    """The value, or -2 for an argument that can't be left out."""
    return _missing(name) if value is None else value


def _missing(name: str) -> NoReturn:
    raise ArgumentsRefusedError(_of(name))


# -- trade requests -------------------------------------------------------------------------------


def trade_request(args: Sequence[object], kwargs: Mapping[str, object]) -> TradeRequest:
    """Read the request of `order_check` and `order_send`: one dictionary, or keywords.

    The package also refuses a dictionary that comes with an *empty* keyword dictionary; a function
    written in Python can't see that difference, so this passes here.
    """
    if args and kwargs:
        raise ArgumentsRefusedError(UNNAMED)
    if len(args) > 1 or not (args or kwargs):
        raise ArgumentsRefusedError(INVALID_NUMBER)
    given: object = args[0] if args else kwargs
    if not isinstance(given, dict):
        raise ArgumentsRefusedError(INVALID)
    return TradeRequest._make(_fields(cast("Mapping[str, object]", given)))


def _fields(given: Mapping[str, object]) -> Iterator[object]:
    for name, absent in _EMPTY_REQUEST._asdict().items():
        yield _field(name, given[name]) if name in given else absent


def _field(name: str, value: object) -> object:
    if not _has_type_of(name, value):
        raise ArgumentsRefusedError(_of(name))
    if isinstance(value, int):
        return _in_range(name, value)
    return value


def _in_range(name: str, value: int) -> int:
    lowest, bits = (-(1 << 63), 63) if name in _SIGNED else (0, 64)
    if not lowest <= value < 1 << (32 if name in _UNSIGNED_32 else bits):
        raise OutOfRangeError(_of(name))
    return value


def _has_type_of(name: str, value: object) -> bool:
    if name in _DOUBLES:
        return isinstance(value, float)
    if name in _WORDS:
        return is_text(value, MAX_REQUEST_TEXT_UNITS)
    return isinstance(value, int)


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
