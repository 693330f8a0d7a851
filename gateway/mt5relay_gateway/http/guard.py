"""Who may come in: sizes, tokens, scopes, rates."""

from __future__ import annotations

import time
from collections.abc import Mapping

from starlette.types import Scope as AsgiScope

from mt5relay_gateway.http.problems import Refusal
from mt5relay_gateway.http.rate_limits import RateLimiter
from mt5relay_gateway.http.relay import Relay
from mt5relay_gateway.http.settings import is_loopback
from mt5relay_gateway.http.tokens import ANYBODY, Scope, Token

MAX_PATH = 2_048  # bytes, with the query
MAX_HEADERS = 16_384  # bytes of names and values together
CHALLENGE = {"www-authenticate": 'Bearer realm="mt5relay"'}

NOBODY = Token(id="", name="", digest="", scopes=(), created_at_ms=0, accounts=("",))
"""Who asks where no token is needed: sees no account."""

HeaderList = list[tuple[bytes, bytes]]


class Guard:
    """Admits a request, or says why not."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._is_off = relay.settings.http_auth == "off"
        self._limiter = RateLimiter(rate=relay.settings.http_rate, burst=relay.settings.http_burst)

    async def admit(
        self,
        scope: AsgiScope,
        headers: Mapping[str, str],
        needed: Scope | None,
        told: HeaderList,
        within: float,
    ) -> Token:
        """Return the caller's token; `told` gets the headers of the rate limit.

        The caller waits at most `within` seconds.

        Raises:
            Refusal: too large, no token, not allowed, or too often.
            RedisUnavailableError: no token can be looked up.
        """
        check_sizes(scope)
        if self._is_off:
            _check_is_local(scope, headers)
            return ANYBODY
        if needed is None:
            return NOBODY
        token = await self.token_of(headers, within)
        allowance = self._limiter.spend(token, time.monotonic())
        if allowance is not None:
            told.extend(allowance.headers())
            if allowance.retry_after > 0:
                raise Refusal(
                    "RATE_LIMITED",
                    f"at most {allowance.rate:g} requests a second",
                    retry_after=allowance.retry_after,
                )
        if not token.may(needed):
            raise Refusal("FORBIDDEN", f"the token lacks the scope {needed}")
        return token

    async def token_of(self, headers: Mapping[str, str], within: float) -> Token:
        """Raises:
        Refusal: there is none, or none that is known.
        RedisUnavailableError: none can be looked up.
        """
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise Refusal(
                "UNAUTHORIZED", "send Authorization: Bearer with a token", headers=CHALLENGE
            )
        token = await self._relay.tokens.recognise(text.strip(), within)
        if token is None:
            raise Refusal("UNAUTHORIZED", "the token is not known", headers=CHALLENGE)
        return token


def check_sizes(scope: AsgiScope) -> None:
    """Raises:
    Refusal: path or headers are too large.
    """
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    if len(path) + len(scope["query_string"]) > MAX_PATH:
        raise Refusal("PATH_TOO_LONG", f"path and query have more than {MAX_PATH} bytes")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
        raise Refusal("HEADERS_TOO_LARGE", f"the headers have more than {MAX_HEADERS} bytes")


def _check_is_local(scope: AsgiScope, headers: Mapping[str, str]) -> None:
    """Without tokens only this machine may ask, and no web page that a browser here shows.

    A page elsewhere can give its own name the address 127.0.0.1, but not hide that name.
    """
    client = scope.get("client")
    host = _host_name(headers.get("host", ""))
    if client is None or not is_loopback(client[0]) or not is_loopback(host):
        raise Refusal("FORBIDDEN", "authentication is off, so only this machine may ask")


def _host_name(host: str) -> str:
    """Without the port: `localhost:8080`, `[::1]:8080`, `[::1]`."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host
