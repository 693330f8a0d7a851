"""The binding with a meter: every call is timed, and what it leaves in `last_error()` is kept."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mt5relay_worker.probe.interpreter_lock import Silence
from mt5relay_worker.probe.messages import Failure
from mt5relay_worker.terminal.metatrader5 import Binding

MAX_TEXT = 120
_NAMES = re.compile(r"'[^']*'|[A-Za-z]:\\.*|[0-9]{5,}")


@dataclass(frozen=True, slots=True)
class Reading:
    """Of all calls since the last one. `silence` is the longest of any, in seconds."""

    took: dict[str, list[float]]
    failures: list[Failure]
    silence: float | None


class MeteredBinding:
    """Stands for the binding; `take()` reads the meter and sets it to zero."""

    def __init__(
        self, binding: Binding, clock: Callable[[], float], silence: Silence | None
    ) -> None:
        self._binding = binding
        self._clock = clock
        self._silence = silence
        self._took: defaultdict[str, list[float]] = defaultdict(list)
        self._failures: Counter[tuple[str, int, str]] = Counter()
        self._longest_silence: float | None = None

    def take(self) -> Reading:
        failures = [Failure(*failure, times) for failure, times in self._failures.items()]
        reading = Reading(dict(self._took), failures, self._longest_silence)
        self._took.clear()
        self._failures.clear()
        self._longest_silence = None
        return reading

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the package has
        found = getattr(self._binding, name)
        if not callable(found) or name == "last_error":
            return found
        return partial(self._call, name, found)

    def _call(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *args: Any,  # noqa: ANN401 - whatever the package takes
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if self._silence is not None:
            self._silence.begin()
        found = None
        began = self._clock()
        try:
            # The package tells an empty keyword dictionary from none.
            found = function(*args, **kwargs) if kwargs else function(*args)
        finally:
            self._took[name].append(self._clock() - began)
            if self._silence is not None:
                self._longest_silence = max(self._longest_silence or 0.0, self._silence.longest())
            if found is None or found is False:
                code, text = self._binding.last_error()
                self._failures[name, int(code), without_names(str(text))] += 1
        return found

    def __repr__(self) -> str:
        return f"<MeteredBinding of {sum(map(len, self._took.values()))} calls>"


def without_names(text: str) -> str:
    """A text of the terminal or of its journal without paths and logins.

    >>> without_names("Process create failed 'C:\\\\Users\\\\me\\\\terminal64.exe'")
    'Process create failed ...'
    """
    plain = "".join(letter for letter in text if letter.isprintable())
    return _NAMES.sub("...", plain)[:MAX_TEXT]
