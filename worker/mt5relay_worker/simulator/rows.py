"""Bars and ticks in a shape that code written for the package's numpy arrays can use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, SupportsIndex, TypeVar, overload


class RateRow(NamedTuple):
    """One bar. Prices are bids, `spread` is in points, `time` is when the bar opened."""

    time: int
    open: float
    high: float
    low: float
    close: float
    tick_volume: int
    spread: int
    real_volume: int

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401
        return _item(self, key)


class TickRow(NamedTuple):
    """One tick of `copy_ticks_*`."""

    time: int
    bid: float
    ask: float
    last: float
    volume: int
    time_msc: int
    flags: int
    volume_real: float

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401
        return _item(self, key)


def _item(row: tuple[Any, ...], key: Any) -> Any:  # noqa: ANN401
    if isinstance(key, str):
        return getattr(row, key)
    return tuple[Any, ...].__getitem__(row, key)


class DType(NamedTuple):
    """As much of a numpy dtype as there is: the names of the fields."""

    names: tuple[str, ...]


RowT = TypeVar("RowT", bound="RateRow | TickRow")


class Rows(list[RowT], Generic[RowT]):
    """A list of rows that also gives columns by name, as a structured numpy array does."""

    def __init__(self, kind: type[RowT], rows: Iterable[RowT]) -> None:
        super().__init__(rows)
        self.dtype = DType(kind._fields)

    @overload
    def __getitem__(self, key: SupportsIndex) -> RowT: ...
    @overload
    def __getitem__(self, key: slice) -> list[RowT]: ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: SupportsIndex | slice | str) -> RowT | list[RowT] | list[Any]:
        if isinstance(key, str):
            return [getattr(row, key) for row in self]
        return super().__getitem__(key)

    def tolist(self) -> list[tuple[Any, ...]]:
        """Plain tuples, as numpy gives them."""
        return [tuple(row) for row in self]


Rates = Rows[RateRow]
Ticks = Rows[TickRow]
