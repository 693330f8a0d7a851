"""Whether a credential is one that was replaced or removed: somebody may have put it back.

Who can write to Redis can keep an account's old envelope and put it in the place of the new one.
The terminal's side therefore remembers, for each account, when the newest envelope that it opened
was sealed, which one that was, and which ones it has seen replaced. Pure; `seen_file` keeps it.

Not covered: an account that this host sees for the first time, or since its file was lost, has
nothing to be compared with; an envelope of version 1 that was never opened here, whose time is
anybody's word; and one that was sealed within `SKEW_MS` before the newest, because the clocks of
two Redis servers differ. Who knows a password and the public key can seal it with any time.
"""

from __future__ import annotations

import base64
import hashlib

import msgspec

from mt5relay_shared.envelopes import Envelope

SKEW_MS = 60_000  # between the clocks of Redis servers that took over from each other
_REPLACED_KEPT = 16  # digests for each account


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of an account. `current` is None once its credential was removed."""

    sealed_at_ms: int
    current: str | None = None
    replaced: tuple[str, ...] = ()


def digest_of(envelope: Envelope) -> str:
    """Of what was sealed: it can't be changed without a trace, as the text round it can."""
    return hashlib.sha256(base64.b64decode(envelope.ciphertext)).hexdigest()[:32]


def why_refused(mark: Mark | None, envelope: Envelope, *, accepts_v1: bool) -> str | None:
    """Why an envelope must not be used; None where it may."""
    if envelope.v == 1 and not accepts_v1:
        return "its time is not authenticated (version 1), and MT5_OLD_ENVELOPES is `refuse`"
    if mark is None or digest_of(envelope) == mark.current:
        return None
    if digest_of(envelope) in mark.replaced:
        return "it was replaced or removed before, and somebody put it back"
    if envelope.sealed_at_ms + SKEW_MS < mark.sealed_at_ms:
        return "it is older than the one used before, so somebody put it back"
    return None


def opened(mark: Mark | None, envelope: Envelope, now_ms: int) -> Mark:
    """What is to be remembered once an envelope was opened.

    `now_ms` is this host's clock: a time of sealing that lies in the future must not make every
    later enrolment look old.
    """
    digest = digest_of(envelope)
    sealed_at_ms = min(envelope.sealed_at_ms, now_ms + SKEW_MS)
    if mark is None:
        return Mark(sealed_at_ms, digest)
    if mark.current == digest:
        return mark
    return Mark(max(mark.sealed_at_ms, sealed_at_ms), digest, _with(mark.replaced, mark.current))


def removed(mark: Mark) -> Mark:
    """What is to be remembered once an account's credential is gone from Redis."""
    return Mark(mark.sealed_at_ms, None, _with(mark.replaced, mark.current))


def _with(replaced: tuple[str, ...], digest: str | None) -> tuple[str, ...]:
    return replaced if digest is None else (*replaced, digest)[-_REPLACED_KEPT:]
