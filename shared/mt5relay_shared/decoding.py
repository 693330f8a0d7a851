"""How JSON is read that somebody else wrote: whatever it holds, one kind of error comes of it.

Of JSON that does not fit msgspec raises an error that quotes it in full, however long it is; of
text that is not UTF-8, and of JSON nested too deeply, it raises errors of two other families.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

MAX_COMPLAINT = 200
"""Characters of a complaint; foreign text in it is not longer either."""

LATEST_MS = 253_402_300_799_000
"""The last second that Python's dates know; a time beyond it is no time of ours."""

TimeMs = Annotated[int, msgspec.Meta(ge=0, le=LATEST_MS)]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises of foreign bytes."""

T = TypeVar("T")


class UnreadableError(msgspec.ValidationError):
    """It is not what it should be. The text names the field and is short, whatever stood there."""


def read_json(body: bytes | str | msgspec.Raw, kind: type[T]) -> T:
    """Decode JSON as `kind`.

    Raises:
        UnreadableError: it is no JSON, or not of that kind.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise UnreadableError(complaint(error)) from None


def read_with(decoder: msgspec.json.Decoder[T], body: bytes | str) -> T:
    """As `read_json`, with a decoder that was made before: for what is read often."""
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise UnreadableError(complaint(error)) from None


def read_fields(fields: Any, kind: type[T], *, strict: bool = True) -> T:  # noqa: ANN401 - JSON
    """As `read_json`, for what was decoded before. Not `strict`: texts may stand for numbers."""
    try:
        return msgspec.convert(fields, kind, strict=strict)
    except UNREADABLE as error:
        raise UnreadableError(complaint(error)) from None


def complaint(error: Exception) -> str:
    """What msgspec says is wrong; of something long, begin and end, where it names the field."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8: {error.reason} in a text"
    text = str(error)
    if len(text) > MAX_COMPLAINT:
        half = MAX_COMPLAINT // 2 - 2
        text = f"{text[:half]} … {text[-half:]}"
    return readable(text, MAX_COMPLAINT)


def readable(text: str, limit: int) -> str:
    """Foreign text for an error: cut off, and without what would move a terminal's cursor."""
    shown = text if len(text) <= limit else f"{text[: limit - 1]}…"
    if shown.isprintable():
        return shown
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in shown)
