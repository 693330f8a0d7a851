"""How often a token may ask: a bucket for each, in this gateway's memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mt5relay_gateway.http.tokens import Token

MAX_BUCKETS = 10_000  # full ones are forgotten first


@dataclass(slots=True)
class Bucket:
    """Holds up to `burst` permits, refilled at `rate` a second."""

    rate: float
    burst: int
    permits: float
    at: float

    def take(self, now: float) -> float:
        """Take a permit and return 0, or the seconds until there is one."""
        self.refill(now)
        if self.permits >= 1:
            self.permits -= 1
            return 0.0
        return (1 - self.permits) / self.rate

    def refill(self, now: float) -> None:
        self.permits = min(self.burst, self.permits + (now - self.at) * self.rate)
        self.at = now

    @property
    def is_full(self) -> bool:
        return self.permits >= self.burst


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a request was told about its token's limit. `retry_after` in seconds; 0: go ahead."""

    rate: float
    burst: int
    remaining: int
    retry_after: float

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers."""
        window = max(1, math.ceil(self.burst / self.rate))
        reset = math.ceil((self.burst - self.remaining) / self.rate)
        return [
            (b"ratelimit-policy", b'"token";q=%d;w=%d' % (self.burst, window)),
            (b"ratelimit", b'"token";r=%d;t=%d' % (self.remaining, reset)),
        ]


class RateLimiter:
    """Counts in this process alone: behind N gateways a token may ask N times as often."""

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, Bucket] = {}

    def spend(self, token: Token, now: float) -> Allowance | None:
        """Count a request of the token; None where it has no limit."""
        rate = self._rate if token.rate is None else token.rate
        if rate == 0:
            return None
        bucket = self._buckets.get(token.id)
        if bucket is None or bucket.rate != rate:
            bucket = self._new_bucket(token, rate, now)
        wait = bucket.take(now)
        return Allowance(rate, bucket.burst, int(bucket.permits), wait)

    def _new_bucket(self, token: Token, rate: float, now: float) -> Bucket:
        burst = self._burst if token.rate is None else max(1, math.ceil(2 * rate))
        if len(self._buckets) >= MAX_BUCKETS:
            self._forget_full(now)
        bucket = self._buckets[token.id] = Bucket(rate, burst, burst, now)
        return bucket

    def _forget_full(self, now: float) -> None:
        for bucket in self._buckets.values():
            bucket.refill(now)
        self._buckets = {name: one for name, one in self._buckets.items() if not one.is_full}

    def __repr__(self) -> str:
        return f"<RateLimiter {self._rate:g}/s, {len(self._buckets)} tokens>"
