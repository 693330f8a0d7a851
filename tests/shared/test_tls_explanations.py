"""What is said of a TLS that did not come about: what is wrong, and what mends it."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from mt5relay_shared.redis_client import connect
from mt5relay_shared.tls import Identity, TlsRefusedError, explanation

BARE = Identity("redis.internal", None, None, None)


def caused(by: BaseException) -> RedisConnectionError:
    """As redis-py raises it."""
    error = RedisConnectionError(f"Error while reading from redis.internal:6380 : {by.args}")
    error.__context__ = by
    return error


def unverified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "of a kind"
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (unverified(10), "the server's certificate has expired; renew it"),
        (unverified(9), "not valid yet; compare the clocks"),
        (unverified(62), "is not for redis.internal; write a name"),
        (unverified(64), "is not for redis.internal; write a name"),
        (unverified(18), "an authority that is not in this machine's authorities"),
        (unverified(20), "ssl_ca_certs in REDIS_URL name the ca.crt"),
        (unverified(23), "the server's certificate is refused: of a kind"),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "ssl_certfile and ssl_keyfile in REDIS_URL"),
        (alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), "asks for a client certificate"),
        (alert("WRONG_VERSION_NUMBER"), "nobody speaks TLS at that port"),
        (alert("KEY_VALUES_MISMATCH"), "is not the key of"),
        (alert("NO_START_LINE"), "holds no certificate or key in PEM"),
        (alert("SOMETHING_NEW"), "TLS failed: SOMETHING_NEW"),
        (ConnectionResetError(104, "Connection reset by peer"), "asks for a client certificate"),
    ],
    ids=str,
)
def test_each_trouble_has_its_remedy(cause: OSError, words: str) -> None:
    assert words in (explanation(caused(cause), BARE) or "")


def test_a_server_that_hangs_up_is_taken_to_want_a_certificate() -> None:
    said = explanation(RedisConnectionError("Connection closed by server."), BARE)
    assert "asks for a client certificate as it seems" in (said or "")


@pytest.mark.parametrize(
    "error",
    [
        caused(ConnectionRefusedError(111, "Connection refused")),
        RedisConnectionError("Invalid Database"),
    ],
)
def test_what_has_nothing_to_do_with_tls_is_left_as_it_is(error: RedisConnectionError) -> None:
    assert explanation(error, BARE) is None


def test_what_was_said_of_a_sentinel_is_not_said_of_the_node_as_well() -> None:
    said_before = TlsRefusedError("sentinel:1: the server's certificate has expired")
    said_before.__context__ = unverified(10)
    assert explanation(caused(said_before), BARE) is None


async def test_sentinels_and_nodes_are_shown_the_same_certificates() -> None:
    query = "ssl_ca_certs=/ca.crt&ssl_certfile=/me.crt&ssl_keyfile=/me.key&socket_keepalive=False"
    url = f"rediss+sentinel://user:planted@one,[::1]:26380/main/2?{query}"
    redis: Any = connect(url, client_name="test")
    node = redis.connection_pool.connection_kwargs
    asked = node["locator"].sentinels
    for options in (node, asked.options):
        assert (options["ssl_ca_certs"], options["ssl_keyfile"]) == ("/ca.crt", "/me.key")
    assert (node["username"], node["db"], node["socket_keepalive"]) == ("user", 2, False)
    assert "password" not in asked.options
    assert asked.addresses == [("one", 26379), ("::1", 26380)]
    await redis.aclose()
