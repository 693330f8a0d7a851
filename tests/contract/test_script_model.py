"""In whatever order gateways and workers run the scripts, they mean what the model says.

Several gateways and workers, the loss of the lease, of keys and of scripts, in orders that
hypothesis makes up; after each step a real server and fakeredis must look like the model, and the
promises are checked on what the stores hold, without the model.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.contract.script_model import (
    ACCOUNT,
    ANOTHER_QUESTION,
    Answer,
    FullRead,
    Model,
    Settlement,
    Start,
)
from tests.contract.script_stores import Store, fake_store, real_store
from tests.servers import AclServer, running_server

pytestmark = pytest.mark.integration

T = TypeVar("T")
DECLARED_WITHOUT_EXPIRY = {"requests", "accounts", "sealing-key", "fence", "events", "dead"}


@dataclass(frozen=True)
class Asked:
    """A request, as whoever asks it knows it."""

    id: str
    operation: str
    gateway: str


ids = st.sampled_from(["r1", "r2", "r3", "r4", "r5"])
operations = st.sampled_from(["positions", "positions", "positions", "orders"])
gateways = st.sampled_from(["gw1", "gw2"])
listeners = st.sampled_from(["gw1", "gw2", ""])
workers = st.sampled_from(["w1", "w2"])
successors = st.sampled_from(["w1", "w2", "w1", ""])
limits = st.sampled_from([0, 0, 0, 2, 9])
healths = st.sampled_from(
    [
        {"breaker": "CLOSED", "estimated_wait_ms": "0"},
        {"breaker": "CLOSED", "estimated_wait_ms": "0"},
        {"breaker": "CLOSED", "estimated_wait_ms": "60000"},
        {"breaker": "OPEN", "estimated_wait_ms": "0"},
    ]
)
# Counted from the newest: the holder or who held before; the entries that were delivered last.
generations = st.sampled_from([0, 0, 0, 1, 2])
picks = st.lists(st.integers(0, 4), max_size=4)
sequences = st.none() | st.integers(1, 4)
questions = st.builds(Asked, ids, operations, listeners)


@dataclass(frozen=True)
class Completion:
    """One call of `complete`, so that it can be sent again."""

    lease: str
    settlements: tuple[Settlement, ...]
    read: FullRead | None
    visit_is_over: bool


class Promises:
    """What users were promised, checked on the keys of one store alone."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self._first: dict[str, str] = {}
        self._before: Mapping[str, Any] = {}

    def forget(self, request_id: str) -> None:
        """The reply's time is over: the id may be answered anew."""
        self._first.pop(f"reply:{request_id}", None)

    def forget_everything(self) -> None:
        self._first.clear()
        self.acknowledged.clear()

    def check(self, picture: Mapping[str, Any], lasting: set[str]) -> None:
        self._check_first_replies_stand(picture)
        self._check_pushes_say_what_is_stored(picture)
        queue = {*picture.get("requests", ()), *picture.get("pending", ())}
        assert not queue & self.acknowledged, "acknowledged, but still in the queue"
        assert lasting <= DECLARED_WITHOUT_EXPIRY, "keys that nobody declared live for ever"
        self._before = picture

    def _check_first_replies_stand(self, picture: Mapping[str, Any]) -> None:
        for name, reply in picture.items():
            if name.startswith("reply:"):
                assert self._first.setdefault(name, reply) == reply, f"{name} was replaced"
        lost = self._first.keys() - picture.keys()
        assert not lost, "replies vanished"

    def _check_pushes_say_what_is_stored(self, picture: Mapping[str, Any]) -> None:
        for name, pushed in picture.items():
            if not name.startswith("replies:"):
                continue
            for replies in pushed[len(self._before.get(name, ())) :]:
                for request_id, reply in replies:
                    assert reply in (ANOTHER_QUESTION, picture[f"reply:{request_id}"])


class ScriptMachine(RuleBasedStateMachine):
    """Everybody who runs scripts, one step at a time."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.model = Model()
        self.loop = asyncio.Runner()
        self.stores = [fake_store(), real_store(url)]
        self.promises = {store.name: Promises() for store in self.stores}
        self.asked: dict[int, Asked] = {}
        self.delivered: list[int] = []
        self.leases = ["nobody:n0:0"]
        self.candidate = ("w1", "n1")
        self.candidates = 1
        self.replies = 0
        self.completion: Completion | None = None

    def everywhere(self, step: Callable[[Store], Awaitable[object]], expected: object) -> None:
        """Run a step on each store; each must answer as the model does."""
        for store, answer in zip(self.stores, self.of_each(step), strict=True):
            assert answer == expected, store.name

    def of_each(self, step: Callable[[Store], Awaitable[T]]) -> list[T]:
        return self.loop.run(_together(step(store) for store in self.stores))

    def key(self, name: str) -> str:
        return f"{self.stores[0].keys.tag}:{name}"

    def lease(self, generation: int) -> str:
        return self.leases[-1 - min(generation, len(self.leases) - 1)]

    def picked(self, numbers: list[int]) -> list[int]:
        """Entries that were delivered lately; one may be picked twice."""
        count = len(self.delivered)
        return [self.delivered[-1 - one % count] for one in numbers] if count else []

    @initialize()
    def begin_empty(self) -> None:
        self.forget_everything()
        self.start_a_worker("w1")
        for gateway in ("gw1", "gw2"):
            self.listen(gateway)

    # Gateways.

    @rule(batch=st.lists(questions, min_size=1, max_size=4), limit=limits)
    def submit(self, batch: list[Asked], limit: int) -> None:
        for one in batch:
            expected = self.model.submit(one.id, one.operation, one.gateway, limit)
            self.everywhere(partial(_submit, one=one, limit=limit), expected)
            if expected[0] == "accepted":
                self.asked[expected[1]] = one

    @rule(batch=st.lists(questions, min_size=1, max_size=3))
    def add_without_asking(self, batch: list[Asked]) -> None:
        for one in batch:
            entry = self.model.add()
            self.everywhere(lambda store: store.add(), entry)
            self.asked[entry] = one

    @rule(request_id=ids, gateway=gateways)
    def withdraw(self, request_id: str, gateway: str) -> None:
        """A caller went away: its gateway no longer waits."""
        self.model.withdraw(request_id, gateway)
        self.everywhere(lambda store: store.withdraw(request_id, gateway), None)

    @rule(gateway=gateways, is_alive=st.booleans())
    def a_gateway_comes_or_goes(self, gateway: str, is_alive: bool) -> None:
        if is_alive:
            self.listen(gateway)
        else:
            self.model.pushed.pop(gateway, None)
            self.vanish(f"replies:{gateway}")

    def listen(self, gateway: str) -> None:
        self.model.pushed.setdefault(gateway, [])
        self.everywhere(lambda store: store.listen(gateway), None)

    # Workers.

    @rule(worker=workers)
    def start_a_worker(self, worker: str) -> None:
        self.candidates += 1
        self.candidate = (worker, f"n{self.candidates}")
        self.acquire_again()

    @rule()
    def acquire_again(self) -> None:
        """A lost answer makes a worker ask again, perhaps for what it has already."""
        expected = self.model.acquire(*self.candidate)
        self.everywhere(lambda store: store.acquire(*self.candidate), expected)
        if expected[0] == "acquired" and expected[1] != self.leases[-1]:
            self.leases.append(expected[1])

    def deliver(self) -> None:
        expected = self.model.deliver()
        self.everywhere(lambda store: store.deliver(), expected)
        self.delivered += expected

    @rule(generation=generations, numbers=picks)
    def begin_visit(self, generation: int, numbers: list[int]) -> None:
        self.deliver()
        lease = self.lease(generation)
        starts = [
            Start(entry, self.asked[entry].id, self.asked[entry].gateway)
            for entry in dict.fromkeys(self.picked(numbers))
        ]
        expected = self.model.begin(lease, starts)
        self.everywhere(lambda store: store.begin(lease, starts), expected)
        if expected[0] == "ok":
            self.acknowledged(expected[2])

    @rule(generation=generations, numbers=picks, sequence=sequences, visit_is_over=st.booleans())
    def complete(
        self, generation: int, numbers: list[int], sequence: int | None, visit_is_over: bool
    ) -> None:
        """End a visit, or answer without one; what can be answered has been read before."""
        self.deliver()
        settlements = tuple(self.settlement(entry) for entry in self.picked(numbers))
        read = None if sequence is None else FullRead(f"read {self.replies}", sequence)
        self.completion = Completion(self.lease(generation), settlements, read, visit_is_over)
        self.complete_again()

    def settlement(self, entry: int) -> Settlement:
        self.replies += 1
        asked = self.asked[entry]
        reply = {"account": ACCOUNT, "operation": asked.operation, "answer": self.replies}
        return Settlement(entry, asked.id, json.dumps(reply), asked.gateway)

    @precondition(lambda self: self.completion is not None)
    @rule()
    def complete_again(self) -> None:
        """A lost answer makes a worker send the same call again, perhaps after a take-over."""
        call = self.completion
        assert call is not None
        over = call.visit_is_over
        expected = self.model.complete(call.lease, call.settlements, call.read, visit_is_over=over)
        self.everywhere(
            lambda store: store.complete(
                call.lease, call.settlements, call.read, visit_is_over=over
            ),
            expected,
        )
        if expected[0] == "ok":
            self.acknowledged(one.entry for one in call.settlements)

    @rule(generation=generations, number=st.integers(0, 4), is_readable=st.booleans())
    def bury(self, generation: int, number: int, is_readable: bool) -> None:
        self.deliver()
        lease = self.lease(generation)
        for entry in self.picked([number]):
            self.bury_entry(lease, entry, is_readable=is_readable)

    def bury_entry(self, lease: str, entry: int, *, is_readable: bool) -> None:
        asked = self.asked[entry] if is_readable else Asked("", "", "")
        expected = self.model.bury(lease, entry, asked.id, asked.gateway)
        self.everywhere(lambda store: store.bury(lease, entry, asked.id, asked.gateway), expected)
        if expected == ("ok",):
            self.acknowledged([entry])

    def acknowledged(self, entries: Any) -> None:
        for promises in self.promises.values():
            promises.acknowledged.update(entries)

    @rule(generation=generations, health=healths)
    def speak(self, generation: int, health: dict[str, str]) -> None:
        """A heartbeat, and the sealing key as after a start."""
        lease = self.lease(generation)
        self.everywhere(lambda store: store.renew(lease, health), self.model.renew(lease, health))
        announced = self.model.announce(lease, lease)
        self.everywhere(lambda store: store.announce(lease, lease), announced)

    @rule(generation=generations, successor=successors)
    def release(self, generation: int, successor: str) -> None:
        lease = self.lease(generation)
        self.everywhere(lambda store: store.release(lease), self.model.release(lease))
        self.succeed(successor)

    def succeed(self, successor: str) -> None:
        """Mostly somebody waits for the lease."""
        if successor:
            self.start_a_worker(successor)

    # Time, and trouble with the store.

    @rule(successor=successors)
    def the_holder_falls_silent(self, successor: str) -> None:
        self.model.lease = self.model.health = None
        self.vanish("lease")
        self.vanish("health")
        self.succeed(successor)

    @rule(request_id=ids, kind=st.sampled_from(["marker", "reply", "both"]))
    def an_ids_time_is_over(self, request_id: str, kind: str) -> None:
        if kind != "reply":
            self.model.markers.pop(request_id, None)
            self.vanish(f"request:{request_id}")
        if kind != "marker":
            self.model.replies.pop(request_id, None)
            for promises in self.promises.values():
                promises.forget(request_id)
            self.vanish(f"reply:{request_id}")

    def vanish(self, name: str) -> None:
        self.everywhere(lambda store: store.expire(self.key(name)), None)

    @rule()
    def scripts_are_flushed(self) -> None:
        self.everywhere(lambda store: store.forget_scripts(), None)

    @rule(successor=successors)
    def everything_is_flushed(self, successor: str) -> None:
        self.forget_everything()
        self.succeed(successor)

    def forget_everything(self) -> None:
        self.model = Model(entries=self.model.entries)
        self.delivered.clear()
        self.completion = None
        for promises in self.promises.values():
            promises.forget_everything()
        self.everywhere(lambda store: store.forget_everything(), None)

    # What must hold after every step.

    @invariant()
    def stores_look_like_the_model_and_keep_the_promises(self) -> None:
        pictures = self.of_each(lambda store: store.picture())
        for store, (picture, lasting) in zip(self.stores, pictures, strict=True):
            self.promises[store.name].check(picture, lasting)
            assert picture == self.model.picture(), store.name

    def teardown(self) -> None:
        self.everywhere(lambda store: store.close(), None)
        self.loop.close()


def _submit(store: Store, *, one: Asked, limit: int) -> Awaitable[Answer]:
    return store.submit(one.id, one.operation, one.gateway, limit)


async def _together(answers: Iterable[Awaitable[T]]) -> list[T]:
    return await asyncio.gather(*answers)


@pytest.fixture
def flushable_server(server: AclServer) -> Iterator[AclServer]:
    """A server of its own, because the machine flushes it; skipped where `server` is."""
    with running_server() as own:
        yield own


def test_the_scripts_keep_their_promises_in_whatever_order_they_run(
    flushable_server: AclServer,
) -> None:
    # Hypothesis calls it, as its documentation says; the annotation asks for a class.
    machine = cast(Any, lambda: ScriptMachine(flushable_server.url))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            database=None,
            derandomize="CI" in os.environ,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
