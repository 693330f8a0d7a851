"""How old an answer may be and how long one waits for it, in HTTP's own words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mt5relay_gateway.composing import AskOptions
from mt5relay_shared.messages import MAX_AGE_MS, MAX_TIMEOUT_MS

MAX_WAIT = MAX_TIMEOUT_MS // 1000  # seconds
MAX_POLL = 60  # seconds that one long poll is held open

_SECONDS = re.compile(r"[0-9]{1,15}\Z")


@dataclass(frozen=True, slots=True)
class Freshness:
    """What `Cache-Control` of a request allows, in seconds. Directives unknown here are ignored."""

    max_age: float = 0.0
    stale_if_error: float = 0.0

    def options(self) -> AskOptions:
        return {"max_age": self.max_age, "stale_if_error": self.stale_if_error}


_LIVE = Freshness()


def requested_freshness(cache_control: str | None) -> Freshness:
    """Read `Cache-Control: max-age=…, stale-if-error=…, no-cache`.

    `no-cache` and `no-store` win over `max-age`, as RFC 9111 has it. What is no number is ignored.
    """
    if not cache_control:
        return _LIVE
    said = _directives(cache_control)
    is_live = "no-cache" in said or "no-store" in said
    max_age = 0.0 if is_live else _bounded(said.get("max-age"), MAX_AGE_MS // 1000)
    return Freshness(max_age, _bounded(said.get("stale-if-error"), MAX_AGE_MS // 1000))


@dataclass(frozen=True, slots=True)
class Patience:
    """What `Prefer` of a request asks for; `wait` in seconds, None where nothing is said."""

    wait: int | None = None
    respond_async: bool = False
    integers_as_text: bool = False


_DEFAULT = Patience()


def requested_patience(prefer: str | None) -> Patience:
    """Read `Prefer: wait=…, respond-async, integers=text` (RFC 7240); what can't be read is
    ignored."""
    if not prefer:
        return _DEFAULT
    said = _directives(prefer)
    wait = said.get("wait", "")
    return Patience(
        min(int(wait), MAX_WAIT) if _SECONDS.match(wait) else None,
        "respond-async" in said,
        said.get("integers", "").lower() == "text",
    )


def _directives(header: str) -> dict[str, str]:
    """The first of each name counts."""
    found: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _bounded(text: str | None, most: int) -> float:
    return float(min(int(text), most)) if text and _SECONDS.match(text) else 0.0


def entity_tag(data: bytes, *marks: object) -> str:
    """A weak validator: the same for answers that say the same, whatever their age."""
    digest = hashlib.blake2b(data, digest_size=12)
    digest.update(repr(marks).encode())
    return f'W/"{digest.hexdigest()}"'


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the caller has what the tag stands for."""
    if not if_none_match:
        return False
    known = [one.strip() for one in if_none_match.split(",")]
    return "*" in known or etag in known or etag.removeprefix("W/") in known


def answer_headers(age: float, etag: str) -> Mapping[str, str]:
    """An answer may be stored by the caller alone, and used again only once it was checked."""
    return {"age": str(int(age)), "cache-control": "private, no-cache", "etag": etag}
