"""Which versions of the wire contract this release reads, and which one two peers speak.

A worker publishes what it reads in the health field `wire_versions`; who asks looks there and
speaks the highest version that both know. A worker that publishes none is of before there was that
field, and reads 1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from mt5relay_shared import WIRE_VERSION
from mt5relay_shared.errors import MT5StateError

READS: tuple[int, ...] = (WIRE_VERSION,)
"""Ascending. To change the contract add the new version here, keep the old one for a release, and
let `decode_request` and the submitter know both."""

FIRST = 1  # what a peer reads that says nothing

FIELDS = ("worker_id", "wire_versions")
"""Of the health hash, what `speak_with` needs."""

_VERSION = re.compile(r"[1-9][0-9]{0,5}\Z", re.ASCII)
_MOST_TEXT = 200  # characters that are looked at


def spelled(versions: Collection[int]) -> str:
    """As it stands in the health hash, e.g. `1 2`."""
    return " ".join(map(str, sorted(versions)))


def parse_versions(text: str | None) -> frozenset[int]:
    """Read what a peer publishes; words that are no version are ignored."""
    words = (text or "")[:_MOST_TEXT].split()
    return frozenset(int(word) for word in words if _VERSION.match(word)) or frozenset({FIRST})


def common_version(mine: Collection[int], theirs: Collection[int]) -> int | None:
    """The highest version that both know, or None."""
    return max(set(mine) & set(theirs), default=None)


def speak_with(worker: Mapping[str, str | None], mine: Collection[int] = READS) -> int:
    """The version in which to ask the worker whose `FIELDS` these are.

    Where no worker lives it is the highest of one's own: submitting says that there is none.

    Raises:
        MT5StateError: none is common; the message says which side is to be upgraded.
    """
    if not worker.get("worker_id"):
        return max(mine)
    theirs = parse_versions(worker.get("wire_versions"))
    version = common_version(mine, theirs)
    if version is None:
        raise MT5StateError(_nothing_common(mine, theirs))
    return version


def _nothing_common(mine: Collection[int], theirs: Collection[int]) -> str:
    older = "this client" if max(theirs) > max(mine) else "the worker"
    return (
        f"wire version: the worker reads {spelled(theirs)}, this client speaks {spelled(mine)}:"
        f" upgrade {older} first"
    )
