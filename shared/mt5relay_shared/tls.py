"""Connections over TLS that read their certificates anew, and say what is wrong with them.

redis-py reads certificates once for each connection object and keeps them when that reconnects, so
a renewed one would not be taken up. And what OpenSSL says of a refused one names no remedy.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from redis.asyncio.connection import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

EXPIRED, NOT_YET_VALID = 10, 9  # X509_V_ERR_… of OpenSSL
NAME_MISMATCHES = frozenset({62, 64})
UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})


@dataclass(frozen=True)
class Identity:
    """What a client shows of itself and whom it trusts, as its URL says."""

    host: str
    authorities: str | None  # ssl_ca_certs
    certificate: str | None  # ssl_certfile
    key: str | None  # ssl_keyfile


class TlsRefusedError(RedisConnectionError):
    """TLS with the server did not come about; the message names the remedy."""


class TlsConnection(SSLConnection):
    """A connection over TLS. Renewed files are used from the next connect on."""

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if self.is_connected:
            return
        self.ssl_context.context = None  # kept by redis-py since this object's first connect
        try:
            await super().connect_check_health(check_health, retry_socket_connect)
        except RedisTimeoutError as error:
            raise RedisTimeoutError(
                f"{self._host_error()}: no answer over TLS; if Redis runs, see whether this is its"
                " port for TLS (tls-port)"
            ) from error
        except RedisConnectionError as error:
            if type(error) is not RedisConnectionError:  # the server's own word, well understood
                raise
            said = explanation(error, self._identity())
            if said is None:
                raise
            raise TlsRefusedError(f"{self._host_error()}: {said}") from error

    def _identity(self) -> Identity:
        files = self.ssl_context
        return Identity(str(self.host), files.ca_certs, files.certfile, files.keyfile)


def explanation(error: BaseException, identity: Identity) -> str | None:
    """What is wrong and what mends it; None where this has nothing to do with TLS."""
    causes = list(_causes(error))
    if any(isinstance(cause, TlsRefusedError) for cause in causes):
        return None  # said before, of the node that was asked where to connect to
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _of_server(cause, identity)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _of_alert(cause, identity)
    if missing := _missing_file(identity):
        return missing
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return None
    if any(isinstance(cause, OSError) for cause in causes) or "closed by server" in str(error):
        return _of_hanging_up(error, identity)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _of_server(error: ssl.SSLCertVerificationError, identity: Identity) -> str:
    """The server's certificate did not satisfy us."""
    code = error.verify_code
    if code == EXPIRED:
        return "the server's certificate has expired; renew it there (certificates.py server)"
    if code == NOT_YET_VALID:
        return "the server's certificate is not valid yet; compare the clocks of both hosts"
    if code in NAME_MISMATCHES:
        return (
            f"the server's certificate is not for {identity.host}; write a name that it holds into"
            " REDIS_URL, or make it anew with this one (certificates.py server NAME)"
        )
    if code in UNKNOWN_AUTHORITY:
        trusted = identity.authorities or "this machine's authorities"
        return (
            f"the server's certificate is of an authority that is not in {trusted}; let"
            " ssl_ca_certs in REDIS_URL name the ca.crt that the server's certificate was made with"
        )
    return f"the server's certificate is refused: {error.verify_message}"


def _of_alert(error: ssl.SSLError, identity: Identity) -> str:
    """The handshake failed of something else than the server's certificate."""
    reason = (error.reason or "").upper()
    if "EXPIRED" in reason or "UNKNOWN_CA" in reason or "CERTIFICATE" in reason:
        return _of_own(identity)
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return "nobody speaks TLS at that port; correct the port, or tls-port in the server's file"
    if "KEY_VALUES_MISMATCH" in reason:
        return (
            f"{identity.key} is not the key of {identity.certificate};"
            " correct ssl_certfile and ssl_keyfile in REDIS_URL"
        )
    if "PEM" in reason or "NO_START_LINE" in reason:
        return "a file that ssl_… in REDIS_URL names holds no certificate or key in PEM"
    if "HANDSHAKE_FAILURE" in reason or "EOF" in reason:
        return _of_own(identity)
    return f"TLS failed: {error.reason or error}"


def _of_hanging_up(error: BaseException, identity: Identity) -> str | None:
    """The server ended the connection: with TLS 1.3 it judges our certificate after our hello, and
    what it says of it may be lost with the connection."""
    text = str(error).lower()
    ended = ("closed by server", "connection lost", "reset by peer", "broken pipe", "closing")
    return _of_own(identity) if any(words in text for words in ended) else None


def _of_own(identity: Identity) -> str:
    """The server did not accept us."""
    if identity.certificate is None:
        return (
            "the server ended the connection, and asks for a client certificate as it seems; let"
            " ssl_certfile and ssl_keyfile in REDIS_URL name one (certificates.py client NAME)"
        )
    if (ended := expiry(identity.certificate)) and ended <= datetime.now(UTC):
        return (
            f"the server refuses {identity.certificate}, which expired on {ended:%Y-%m-%d %H:%M}Z;"
            " renew it (certificates.py client NAME): the next attempt takes it up"
        )
    return (
        f"the server refuses {identity.certificate}; make one with the authority that"
        " tls-ca-cert-file of the server names (certificates.py client NAME), or see its log"
    )


def _missing_file(identity: Identity) -> str | None:
    named = {
        "ssl_ca_certs": identity.authorities,
        "ssl_certfile": identity.certificate,
        "ssl_keyfile": identity.key,
    }
    for option, file in named.items():
        if file is not None and (trouble := _unreadable(Path(file))):
            return f"{option} in REDIS_URL names {file}, {trouble}"
    return None


def _unreadable(file: Path) -> str | None:
    try:
        with file.open("rb"):
            return None
    except FileNotFoundError:
        return "which does not exist; make it (certificates.py), or correct the path"
    except OSError as error:
        return f"which this process can't read: {error.strerror}"


def expiry(certificate: str) -> datetime | None:
    """When the first certificate of a file in PEM ends; None where that can't be read."""
    from cryptography import x509  # noqa: PLC0415 - only after a failure; it costs memory

    try:
        return x509.load_pem_x509_certificate(Path(certificate).read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None
