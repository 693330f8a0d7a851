"""What is heard during a test, wherever it was said, to be searched for secrets when it ends."""

from __future__ import annotations

import threading

from tests.leaks.planted import Find, Search, noted

_KEPT = 100_000  # bytes of one place; of more, the older half is searched at once and dropped


class Witness:
    """Keeps what it is told until `finds`, by the place where it was heard. Threads may tell it."""

    def __init__(self) -> None:
        self._heard: dict[str, bytearray] = {}
        self._finds: list[Find] = []
        self._lock = threading.Lock()

    def hear(self, place: str, said: bytes | str) -> None:
        """A whole text."""
        data = said.encode("utf-8", "surrogateescape") if isinstance(said, str) else said
        self.hear_more(place, data + b"\n")

    def hear_more(self, place: str, data: bytes) -> None:
        """The next piece of a stream: a secret may begin in one and end in another."""
        with self._lock:
            kept = self._heard.setdefault(place, bytearray())
            kept += data
            if len(kept) > _KEPT:
                self._finds += Search(noted()).in_(place, bytes(kept))
                del kept[: _KEPT // 2]

    def has_heard(self, place: str, words: bytes) -> bool:
        with self._lock:
            return words in self._heard.get(place, b"")

    def finds(self) -> list[Find]:
        """The secrets in all that was heard since the last time."""
        with self._lock:
            heard, self._heard = self._heard, {}
            finds, self._finds = self._finds, []
        search = Search(noted())
        for place, said in heard.items():
            finds += search.in_(place, bytes(said))
        return list(dict.fromkeys(finds))


WITNESS = Witness()
