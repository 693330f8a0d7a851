"""What fuzzers found once, and what is absurdly large."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fuzz.target import ALICE, NOW_MS, Target

DEEP = b"[" * 3_000 + b"]" * 3_000
_OK = (
    b'{"status":"ok","v":1,"id":"my-1","account":"%s","operation":"positions","data":%%s,'
    b'"as_of_ms":%%s,"age_ms":%%s,"source":"terminal","synchronized":"assumed",'
    b'"server_utc_offset":%%s}' % str(ALICE).encode()
)
_INFO = b'{"login":%d,"server":"%s"}' % (ALICE.login, ALICE.server.encode())
_SNAPSHOT = b'{"account_info":%s,"positions":%%s,"orders":[]}' % _INFO


def _snapshot(positions: bytes, as_of: bytes) -> dict[str, bytes | None]:
    return {"data": _SNAPSHOT % positions, "as_of": as_of, "synchronized": b"confirmed"}


REGRESSIONS: dict[str, list[Any]] = {
    "request": [
        # The complaint repeated what it complained of, all of it.
        b'{"id":"a","account":"1@S","operation":"rates","arguments":{"symbol":"x","count":1,'
        b'"timeframe":"%s"}}' % (b"k" * 5_000),
        b'{"id":"a","account":"1@S","operation":"orders","arguments":{"%s":1}}' % (b"k" * 5_000),
        b'{"id":"a","account":"%s","operation":"orders"}' % (b"1@S" * 4_000),
    ],
    "reply": [
        b'{"status":"ok","zzz":%s}' % DEEP,  # RecursionError
        b'{"status":"ok","id":"\xff"}',  # UnicodeDecodeError
        b'{"status":"%s"}' % (b"z" * 100_000),  # all of it repeated
        _OK % (b"[]", b"9" * 30, b"1", b"1"),  # a time that no date can take: OverflowError
        _OK % (b"[]", b"1", b"9" * 400, b"1"),
        _OK % (b"[]", b"1", b"1", b"9" * 30),
        _OK % (DEEP, b"1", b"1", b"1"),
        _OK % (b'[{"ticket":"\xff"}]', b"1", b"1", b"1"),
        b'{"status":"error","v":1,"id":"a","account":"1@S","operation":"x","error":{"code":"X",'
        b'"message":"m","retryable":true,"retry_after_ms":%s,"occurred_at_ms":1}}' % (b"9" * 400),
        b'{"status":"error","v":1,"id":"a","account":"1@S","operation":"x","error":{"code":"X",'
        b'"message":"%s","retryable":true,"occurred_at_ms":1}}' % (b"m" * 100_000),
    ],
    "snapshot": [
        _snapshot(DEEP, b"1"),
        _snapshot(b'[{"ticket":"\xff"}]', b"1"),
        _snapshot(b"[]", b"9" * 400),  # OverflowError when its age was told
        _snapshot(b"[]", b"-1"),
        _snapshot(b"[]", str(NOW_MS).encode()),
    ],
    "health": [
        {"status": "z" * 100_000},
        {"fence": "9" * 400},
    ],
    "registry": [
        (b"x" * 10_000, {}, {}),
        (b"1", {b"x" * 10_000: b"{"}, {}),
        (b"1", {b"main": b'{"zzz":%s}' % DEEP}, {}),
        (b"1", {b"a:b}": b'{"state":"active","since_ms":1}'}, {}),  # no key can be made of it
        (b"1", {b"\xff": b'{"state":"active","since_ms":1}'}, {}),
    ],
    "envelope": [b'{"v":2,"key_id":"\\u0000","sealed_at_ms":1,"ciphertext":""}'],
    "command": [
        b'{"id":"\xff","command":"breaker.reset"}',  # ended the worker
        b'{"id":"x","command":"breaker.reset","zzz":%s}' % DEEP,  # likewise
        b'{"id":"%s","command":"breaker.reset"}' % (b"x" * 100_000),  # into the events
    ],
}

MEGABYTES_10 = 10 * 1024 * 1024


@dataclass(frozen=True)
class Absurd:
    """An input of `size` bytes for a target."""

    name: str
    target: str
    make: Callable[[], Any]
    size: int = MEGABYTES_10

    def measure(self, target: Target) -> tuple[float, int]:
        """Seconds of computing, and bytes of memory at the most beside the input itself."""
        made = self.make()
        tracemalloc.start()
        try:
            began = time.process_time()
            target.check(made)
            took = time.process_time() - began
            return took, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def _large(field: bytes) -> Callable[[], bytes]:
    return lambda: b'{"id":"a","status":"ok","%s":"%s"}' % (field, b"x" * MEGABYTES_10)


ABSURD = (
    Absurd("a request with 10 MB of account", "request", _large(b"account")),
    Absurd("a request of 10 MB of nothing", "request", lambda: b" " * MEGABYTES_10),
    Absurd("a request nested 5 million deep", "request", lambda: b"[" * (MEGABYTES_10 // 2)),
    Absurd("a reply with 10 MB of unknown field", "reply", _large(b"zzz")),
    Absurd("a reply with 10 MB of status", "reply", _large(b"status")),
    Absurd("a reply nested 5 million deep", "reply", lambda: b"[" * (MEGABYTES_10 // 2)),
    Absurd("a reply above the limit", "reply", lambda: b" " * (65 * 1024 * 1024)),
    Absurd("an id of 10 MB in a command", "command", _large(b"id")),
    Absurd("a number of 10 MB", "command", lambda: b'{"id":%s}' % (b"9" * MEGABYTES_10)),
    Absurd(
        "a terminal's name of 10 MB", "registry", lambda: (b"1", {b"x" * MEGABYTES_10: b""}, {})
    ),
    Absurd("a version of 10 MB", "registry", lambda: (b"9" * MEGABYTES_10, {}, {})),
    Absurd("a health text of 10 MB", "health", lambda: {"detail": "x" * MEGABYTES_10}),
    Absurd(
        "a journal line of 10 MB", "journal", lambda: [b"\xff\xfe" + b"x\0" * (5 * 1024 * 1024)]
    ),
    Absurd("a journal of 10 MB of NULs", "journal", lambda: [bytes(MEGABYTES_10)]),
)
