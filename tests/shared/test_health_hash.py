"""The health hash, as a monitor reads it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5relay_shared.health import (
    BreakerState,
    ConnectionState,
    Health,
    Status,
    decode_health,
    encode_health,
)

# As in the wire contract, in its order.
CONTRACT = """\
status state detail state_since_ms breaker breaker_retry_at_ms current_account connection_ok auth_ok
data_feed_ok latency_ms last_error_code last_error_text last_error_at_ms last_success_at_ms
worker_id fence started_at_ms heartbeat_at_ms version terminal_build package_version queue_depth
oldest_request_age_ms waiting_accounts pool_size pool_limit idle_evictions retries reconnects logins
logins_saved visits requests_total errors_total stale_replies identity_mismatches fenced_writes
late_vs_fifo_ms switch_p50_ms switch_p95_ms read_p95_ms estimated_wait_ms
"""
ADDED = """\
logins_delayed logins_last_hour busiest_account busiest_account_logins binding terminal_path
wire_versions
"""

counts = st.integers(0, 2**53)
texts = st.text(st.characters(categories=["L", "N"]), min_size=3, max_size=20).filter(
    lambda text: text.lower() != "null"
)


def health(**changes: Any) -> Health:
    known: dict[str, Any] = {
        "status": Status.OK,
        "state": ConnectionState.CONNECTED,
        "detail": "idle",
        "state_since_ms": 1,
        "breaker": BreakerState.CLOSED,
        "worker_id": "host-1",
        "fence": 3,
        "started_at_ms": 4,
        "heartbeat_at_ms": 5,
        "version": "0.1.0",
        "pool_limit": 20,
    }
    return Health(**{**known, **changes})


def test_the_hash_has_the_fields_of_the_contract() -> None:
    assert list(encode_health(health())) == [*CONTRACT.split(), *ADDED.split()]


def test_all_values_are_flat_strings_and_absent_ones_are_empty() -> None:
    flat = encode_health(health(connection_ok=True, auth_ok=False, latency_ms=1.23456))
    assert all(isinstance(value, str) for value in flat.values())
    assert (flat["status"], flat["state"], flat["breaker"]) == ("ok", "CONNECTED", "CLOSED")
    assert (flat["connection_ok"], flat["auth_ok"], flat["data_feed_ok"]) == ("1", "0", "")
    assert (flat["latency_ms"], flat["breaker_retry_at_ms"]) == ("1.235", "")


@given(
    st.builds(
        health,
        status=st.sampled_from(Status),
        state=st.sampled_from(ConnectionState),
        breaker=st.sampled_from(BreakerState),
        detail=texts | st.just(""),
        connection_ok=st.none() | st.booleans(),
        latency_ms=st.none() | st.integers(0, 10**6).map(lambda value: value / 8),
        current_account=st.none() | texts,
        last_error_text=st.none() | texts,
        terminal_build=st.none() | counts,
        queue_depth=counts,
    )
)
def test_what_a_worker_publishes_a_monitor_reads(published: Health) -> None:
    assert decode_health(encode_health(published)) == published


def test_no_hash_means_no_worker() -> None:
    assert decode_health({}) is None


def test_fields_of_a_newer_worker_are_ignored() -> None:
    assert decode_health({**encode_health(health()), "mood": "good"}) == health()


@pytest.mark.parametrize("text", ["12", "true", "1.0"])
def test_a_text_that_looks_like_a_number_stays_a_text(text: str) -> None:
    read = decode_health(encode_health(health(worker_id=text, last_error_text=text)))
    assert read is not None
    assert (read.worker_id, read.last_error_text) == (text, text)


def test_a_hash_that_no_worker_wrote_is_not_taken_for_health() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_health({"status": "splendid"})
