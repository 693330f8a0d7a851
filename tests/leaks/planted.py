"""The register of planted secrets: every password, key and token of the tests, and how they look.

What the tests invent carries `CORE`, letters and digits that JSON, URLs and `repr` leave as they
are, so that one search finds it whoever planted it. What only the product can make, a token for
instance, is noted with `also_secret` as soon as it is known.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

CORE = "PlantedSecret"
PRIVATE_KEY_BYTES = 32  # of X25519
_SHORTEST = 8  # characters; a shorter one would be found by chance
_CONTEXT = 60  # bytes that are shown on each side of a find

_noted: dict[str, bytes] = {}


def planted(name: str) -> str:
    """A secret that a test invents, the same for the same name."""
    return f"{CORE}-{name}"


def planted_private_key(name: str) -> bytes:
    """The raw bytes of an X25519 key that is recognised wherever it stands."""
    return planted(name).encode().ljust(PRIVATE_KEY_BYTES, b"-")[:PRIVATE_KEY_BYTES]


def also_secret(name: str, text: str) -> str:
    """Note a secret that the product made; returns it."""
    assert len(text) >= _SHORTEST, "too short to be recognised"
    _noted[name] = text.encode()
    return text


def noted() -> dict[str, bytes]:
    """All that is searched for: name -> the secret."""
    return {CORE: CORE.encode(), **_noted}


def encodings(secret: bytes) -> dict[str, bytes]:
    """How a secret may look where it stands: name of the encoding -> bytes."""
    text = secret.decode("utf-8", "replace")
    found = {
        "plain": secret,
        "JSON": json.dumps(text)[1:-1].encode(),
        "JSON in UTF-8": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "repr": repr(text)[1:-1].encode(),
        "repr of bytes": repr(secret)[2:-1].encode(),
        "URL": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "UTF-16": text.encode("utf-16-le"),
    }
    for shift in range(3):
        found[f"base64 at {shift}"] = _within_base64(secret, shift)
        found[f"URL-safe base64 at {shift}"] = _within_base64(secret, shift, b"-_")
    return found


def _within_base64(secret: bytes, shift: int, altchars: bytes = b"+/") -> bytes:
    """What of the secret's base64 depends on nothing that stands before or after it."""
    text = base64.b64encode(bytes(shift) + secret, altchars).rstrip(b"=")
    first = -(-shift * 8 // 6)
    return text[first : (shift + len(secret)) * 8 // 6]


@dataclass(frozen=True)
class Find:
    """A secret in a place where it must not be."""

    place: str
    secret: str
    encoding: str
    context: str

    def __str__(self) -> str:
        return f"{self.place}: {self.secret!r}, {self.encoding}, in {self.context!r}"


class Search:
    """Finds each secret in each encoding."""

    def __init__(self, secrets: dict[str, bytes]) -> None:
        self._patterns = {
            pattern: (name, encoding)
            for name, secret in secrets.items()
            for encoding, pattern in reversed(encodings(secret).items())
        }

    def in_(self, place: str, data: bytes) -> Iterator[Find]:
        """At most one find for each secret and encoding."""
        for pattern, (name, encoding) in self._patterns.items():
            at = data.find(pattern)
            if at >= 0:
                near = data[max(0, at - _CONTEXT) : at + len(pattern) + _CONTEXT]
                yield Find(place, name, encoding, near.decode("utf-8", "backslashreplace"))
