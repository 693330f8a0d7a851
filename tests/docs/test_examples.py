"""The examples in other languages do what the contract promises, against a real worker."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from tests.docs.examples import COMMANDS, Example, ended
from tests.docs.relay import ACCOUNT, Relay
from tests.limits import HANG_LIMIT
from tests.servers import TESTER, as_user

from mt5relay_gateway.cli.store import free_port
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import Request

pytestmark = pytest.mark.integration

SUBMITTING = [name for name in COMMANDS if name != "redis-cli"]  # by the script; it, by XADD
NOBODY = Keys("nobody-answers")


@pytest.fixture(scope="session")
def examples() -> dict[str, Example]:
    return {}


@pytest.fixture
def example(request: pytest.FixtureRequest, examples: dict[str, Example]) -> Example:
    """Made once: some must be built."""
    name: str = request.param
    if name not in examples:
        examples[name] = Example(name)
    return examples[name]


@pytest.fixture
def redis(relay: Relay, expected_refusals: set[tuple[str, str]]) -> Iterator[Any]:
    """Somebody who may do everything, at the relay's server."""
    client: Any = Redis
    with client.from_url(as_user(relay.server.url, TESTER), decode_responses=True) as tester:
        yield tester
    # Libraries tell their names, which users.acl leaves out for servers of 7.0.
    expected_refusals.add(("gateway", "client|setinfo"))
    expected_refusals.add(("gateway", "command|docs"))  # redis-cli asks how commands are written


@pytest.fixture
def unanswered(redis: Any) -> Iterator[Keys]:
    """A terminal whose worker holds the lease and does nothing."""
    redis.set(NOBODY.lease, "somebody:0:1", ex=60)
    yield NOBODY
    redis.delete(*redis.keys(f"{NOBODY.tag}:*"))


def new_id() -> str:
    return uuid.uuid4().hex


each = pytest.mark.parametrize("example", COMMANDS, indirect=True)
each_that_submits = pytest.mark.parametrize("example", SUBMITTING, indirect=True)


@each
@pytest.mark.usefixtures("redis")
def test_an_answer_is_printed_as_the_contract_has_it(example: Example, relay: Relay) -> None:
    said = example.ask(relay, ACCOUNT, "account_info")
    assert said.status == 0, said
    reply = said.json()
    assert (reply["status"], reply["account"], reply["v"]) == ("ok", ACCOUNT, 1)
    assert reply["data"]["login"] == 25115284
    assert reply["data"]["balance"] == 10_000


@each
@pytest.mark.usefixtures("redis")
def test_asking_again_with_the_same_id_gets_the_same_answer(example: Example, relay: Relay) -> None:
    request_id = new_id()
    words = (ACCOUNT, "symbol", '{"symbol":"EURUSD"}')
    first = example.ask(relay, *words, "30000", request_id).json()
    again = example.ask(relay, *words, "20000", request_id).json()
    assert again == first
    other = example.ask(relay, ACCOUNT, "positions", "{}", "10000", request_id).error()
    assert (other["code"], other["retryable"]) == ("VALIDATION_FAILED", False)


@each
@pytest.mark.usefixtures("redis")
def test_an_error_says_its_code_and_whether_to_try_again(example: Example, relay: Relay) -> None:
    error = example.ask(relay, ACCOUNT, "tick", '{"symbol":"NOPE"}').error()
    assert (error["code"], error["retryable"]) == ("NOT_FOUND", False)
    error = example.ask(relay, "1@Nowhere", "positions").error()
    assert error["code"] == "ACCOUNT_UNKNOWN"


@each_that_submits
@pytest.mark.usefixtures("redis")
def test_a_refusal_is_told_at_once(example: Example, relay: Relay) -> None:
    settings = relay.settings() | {"MT5_TERMINAL_ID": "no-worker-here"}
    error = example.run(settings, "ask", ACCOUNT, "positions", "{}", "50000").error()
    assert (error["code"], error["retryable"]) == ("NO_WORKER", True)


@each
def test_who_gets_no_reply_gives_up_at_the_deadline_and_withdraws(
    example: Example, relay: Relay, redis: Any, unanswered: Keys
) -> None:
    settings = relay.settings() | {"MT5_TERMINAL_ID": unanswered.terminal}
    request_id = new_id()
    error = example.run(settings, "ask", ACCOUNT, "positions", "{}", "2500", request_id).error()
    assert (error["code"], error["retryable"]) == ("DEADLINE_EXCEEDED", True)
    assert redis.xlen(unanswered.requests) == 1
    assert not [one for one in redis.hkeys(unanswered.request(request_id)) if one[:3] == "to:"]
    assert redis.keys(unanswered.replies("*")) == []


@each_that_submits
def test_a_cut_connection_costs_neither_the_answer_nor_a_second_request(
    example: Example, relay: Relay, redis: Any, unanswered: Keys
) -> None:
    settings = relay.settings() | {"MT5_TERMINAL_ID": unanswered.terminal}
    request_id = new_id()
    asking = example.start(settings, "ask", ACCOUNT, "positions", "{}", "60000", request_id)
    limit = time.monotonic() + HANG_LIMIT
    while redis.xlen(unanswered.requests) == 0 and time.monotonic() < limit:
        time.sleep(0.02)
    # Stored before the cut: a program that had connected again would not look for it any more.
    reply: dict[str, Any] = {"status": "ok", "v": 1, "id": request_id, "data": []}
    redis.set(unanswered.reply(request_id), json.dumps(reply), ex=600)
    redis.execute_command("CLIENT", "KILL", "USER", "gateway")
    said = ended(asking)
    assert said.status == 0, said
    assert said.json() == reply
    assert redis.xlen(unanswered.requests) == 1


@each
def test_a_redis_that_is_away_is_said_to_be(example: Example, relay: Relay) -> None:
    settings = relay.settings() | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    error = example.run(settings, "ask", ACCOUNT, "positions", "{}", "500").error()
    assert (error["code"], error["retryable"]) == ("REDIS_UNAVAILABLE", True)


@each_that_submits
def test_every_language_knows_a_repetition_of_any_other(
    example: Example, relay: Relay, redis: Any, unanswered: Keys
) -> None:
    settings = relay.settings() | {"MT5_TERMINAL_ID": unanswered.terminal}
    arguments = {"symbol": "Öl & <Gas>", "count": 3, "timeframe": "M1"}
    words = (ACCOUNT, "rates", json.dumps(arguments), "1", request_id := new_id())
    example.run(settings, "ask", *words)
    known = redis.hget(unanswered.request(request_id), "fingerprint")
    asked = Request(id=request_id, account=ACCOUNT, operation="rates", arguments=arguments)
    assert known == asked.fingerprint()


@each_that_submits
@pytest.mark.usefixtures("redis")
def test_snapshots_health_and_events_are_read_without_asking(
    example: Example, relay: Relay
) -> None:
    assert example.ask(relay, ACCOUNT, "positions").status == 0
    snapshot = example.run(relay.settings(), "snapshot", ACCOUNT).json()
    assert snapshot["as_of_ms"] > 1_700_000_000_000
    assert snapshot["data"]["account_info"]["login"] == 25115284
    assert example.run(relay.settings(), "snapshot", "1@Nowhere").json() is None
    health = example.run(relay.settings(), "health").json()
    assert (health["state"], health["breaker"]) == ("CONNECTED", "CLOSED")
    events = example.run(relay.settings(), "events", "100").json()
    assert events[0]["kind"] == "lease"
    assert events == sorted(events, key=lambda one: one["at_ms"])


@pytest.mark.parametrize("example", ["redis-cli"], indirect=True)
@pytest.mark.usefixtures("redis")
def test_redis_cli_reads_them_as_they_stand_there(example: Example, relay: Relay) -> None:
    assert example.ask(relay, ACCOUNT, "positions").status == 0
    as_of, synchronized, data = example.run(relay.settings(), "snapshot", ACCOUNT).out.splitlines()
    assert int(as_of) > 1_700_000_000_000
    assert synchronized in ("assumed", "confirmed")
    assert json.loads(data)["account_info"]["login"] == 25115284
    lines = example.run(relay.settings(), "health").out.splitlines()
    health = dict(zip(lines[::2], lines[1::2], strict=True))
    assert (health["state"], health["breaker"]) == ("CONNECTED", "CLOSED")
    assert '"kind":"lease"' in example.run(relay.settings(), "events", "100").out
