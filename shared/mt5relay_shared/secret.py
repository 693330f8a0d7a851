"""A text that nothing prints by accident."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Holds a password. `reveal()` is the only way to it: not `repr`, `str`, pickling or JSON.

    `wipe()` overwrites it. Python offers no way to overwrite a `str`: the one it was made from, and
    those that `reveal()` returned, stay in freed memory until something else is put there.
    """

    __slots__ = ("_bytes",)

    def __init__(self, text: str) -> None:
        self._bytes = bytearray(text, "utf-8", "surrogatepass")

    def reveal(self) -> str:
        """A new copy, to be let go of as soon as may be."""
        return self._bytes.decode("utf-8", "surrogatepass")

    def wipe(self) -> None:
        """Overwrite it with NUL characters; whoever still holds this has nothing."""
        self._bytes[:] = bytes(len(self._bytes))

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._bytes == self._bytes

    def __hash__(self) -> int:
        return hash((Secret, bytes(self._bytes)))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not travel")
