"""What the terminal process answers, frame by frame, with a binding of its own."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.limits import HANG_LIMIT

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import envelope_fingerprint
from mt5relay_shared.records import AccountInfo
from mt5relay_shared.sealing import public_part, seal
from mt5relay_shared.secret import Secret
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.terminal.host import TerminalHost, read_frames, serve
from mt5relay_worker.terminal.metatrader5 import MetaTrader5Adapter
from mt5relay_worker.terminal.protocol import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    Answer,
    Command,
    Detach,
    Done,
    Failed,
    Forget,
    Hello,
    Initialize,
    Initialized,
    Probe,
    Probed,
    Read,
    Visit,
    Visited,
    answer_decoder,
    frame,
    frame_length,
)
from mt5relay_worker.terminal.switching import VerifiedSwitch
from mt5relay_worker.terminal.vault import Vault

if TYPE_CHECKING:
    from tests.worker.terminal.conftest import FakeBinding

ALICE, BOB = AccountId(11, "Broker-Demo"), AccountId(12, "Broker-Demo")
KEY = X25519PrivateKey.generate()
HELLO = Hello("key", "public")


@pytest.fixture
def vault() -> Vault:
    return Vault(KeyRing([KEY]))


@pytest.fixture
def host(
    adapter: MetaTrader5Adapter, switch: VerifiedSwitch, vault: Vault, binding: FakeBinding
) -> TerminalHost:
    binding.knows(ALICE, positions=2, margin=10.0)
    binding.knows(BOB)
    return TerminalHost(adapter, switch, vault, "/mt5/terminal64.exe")


def visit_to(account: AccountId, *operations: str, password: str | None = None) -> Visit:
    sealed = seal(Secret(password or f"secret-{account.login}"), account, public_part(KEY), 0)
    return Visit(
        login=account.login,
        server=account.server,
        fingerprint=envelope_fingerprint(sealed),
        envelope=sealed,
        timeout_ms=60_000,
        reads=[Read(operation) for operation in operations],
    )


def visited(host: TerminalHost, visit: Visit) -> Visited:
    answer = host.handle(visit)
    assert isinstance(answer, Visited)
    return answer


def failed(host: TerminalHost, command: Command) -> Failed:
    answer = host.handle(command)
    assert isinstance(answer, Failed)
    return answer


# Visits


def test_a_visit_logs_in_and_answers_its_reads_in_order(host: TerminalHost) -> None:
    answer = visited(host, visit_to(ALICE, "account_info", "positions", "orders"))
    assert (answer.login, answer.server, answer.switched) == (11, "Broker-Demo", True)
    assert answer.synchronized == "assumed"
    assert [result.kind for result in answer.results] == ["value", "value", "empty"]
    info = msgspec.json.decode(answer.results[0].data or b"", type=AccountInfo)
    assert (info.login, info.server) == (11, "Broker-Demo")


def test_a_second_visit_to_the_same_account_does_not_log_in_again(
    host: TerminalHost, binding: FakeBinding
) -> None:
    visit = visit_to(ALICE, "positions")
    host.handle(visit)
    assert not visited(host, visit).switched
    assert len(binding.called("login")) == 1


def test_a_visit_after_the_account_changed_behind_our_back_logs_in_again(
    host: TerminalHost, binding: FakeBinding
) -> None:
    visit = visit_to(ALICE, "positions")
    host.handle(visit)
    binding.is_on(BOB)
    assert visited(host, visit).switched


def test_another_password_never_rides_on_somebody_elses_login(host: TerminalHost) -> None:
    host.handle(visit_to(ALICE))
    assert failed(host, visit_to(ALICE, password="wrong")).code == "MT5_AUTH_FAILED"


def test_an_identity_that_changes_between_two_reads_fails_the_whole_visit(
    host: TerminalHost, binding: FakeBinding
) -> None:
    binding.before["orders_get"] = lambda: binding.is_on(BOB)
    answer = failed(host, visit_to(ALICE, "positions", "orders"))
    assert (answer.code, answer.identity_mismatch) == ("MT5_DATA_INVALID", True)


def test_a_read_that_fails_does_not_fail_the_others(
    host: TerminalHost, binding: FakeBinding
) -> None:
    binding.fails("positions_get", (-4, "Terminal: Not found"))
    answer = visited(host, visit_to(ALICE, "positions", "orders"))
    assert [result.kind for result in answer.results] == ["error", "empty"]


# Credentials


def test_a_refused_login_leaves_no_unsealed_password(host: TerminalHost, vault: Vault) -> None:
    assert failed(host, visit_to(ALICE, password="wrong")).mt5 == (
        -6,
        "Terminal: Authorization failed",
    )
    assert len(vault) == 0


def test_forget_drops_the_unsealed_passwords(host: TerminalHost, vault: Vault) -> None:
    host.handle(visit_to(ALICE))
    host.handle(visit_to(BOB))
    assert host.handle(Forget([(11, "Broker-Demo")])) == Done()
    assert len(vault) == 1


def test_an_envelope_that_does_not_open_touches_no_terminal(
    host: TerminalHost, binding: FakeBinding
) -> None:
    visit = msgspec.structs.replace(visit_to(ALICE), envelope=visit_to(BOB).envelope)
    answer = failed(host, visit)
    assert answer.code == "INVALID_STATE"
    assert "11@Broker-Demo" in answer.message
    assert binding.calls == []


def test_a_frame_that_is_printed_shows_no_envelope() -> None:
    assert repr(visit_to(ALICE, "orders")) == "<Visit 11@Broker-Demo ['orders']>"


# Attaching


def test_initialize_tells_build_and_version(host: TerminalHost) -> None:
    assert host.handle(Initialize(60_000)) == Initialized(5200, "5.0.6231")


def test_a_terminal_at_another_path_is_refused(host: TerminalHost, binding: FakeBinding) -> None:
    binding.info = binding.info._replace(path="/somebody-elses-mt5")
    answer = failed(host, Initialize(60_000))
    assert answer.code == "MT5_INIT_FAILED"
    assert "/somebody-elses-mt5" in answer.message


def test_after_initialize_a_visit_logs_in_again(host: TerminalHost) -> None:
    visit = visit_to(ALICE)
    host.handle(visit)
    host.handle(Initialize(60_000))
    assert visited(host, visit).switched


def test_detach_leaves_the_terminal_running(host: TerminalHost, binding: FakeBinding) -> None:
    host.handle(visit_to(ALICE))
    assert host.handle(Detach()) == Done()
    assert binding.called("shutdown") == [()]


# Probes


def test_a_probe_tells_who_is_logged_in_and_logs_nobody_in(
    host: TerminalHost, binding: FakeBinding
) -> None:
    host.handle(visit_to(ALICE))
    answer = host.handle(Probe())
    assert answer == Probed(True, True, 11, "Broker-Demo", True, 12.5, 5200)
    assert len(binding.called("login")) == 1


def test_a_probe_finds_nobody_logged_in(host: TerminalHost) -> None:
    answer = host.handle(Probe())
    assert isinstance(answer, Probed)
    assert (answer.login, answer.server) == (0, "")


def test_no_ping_means_no_data_feed(host: TerminalHost, binding: FakeBinding) -> None:
    binding.info = binding.info._replace(ping_last=0)
    answer = host.handle(Probe())
    assert isinstance(answer, Probed)
    assert not answer.data_feed_ok


def test_a_probe_of_a_terminal_that_died_fails(host: TerminalHost, binding: FakeBinding) -> None:
    binding.is_gone()
    assert failed(host, Probe()).code == "MT5_CONNECTION_LOST"


# The pipe


class Pipes:
    """Both ends of a served host's two pipes."""

    def __init__(self, host: TerminalHost) -> None:
        self._host_in, self.to_host = _pipe()
        self.from_host, self._host_out = _pipe()
        self.gone = threading.Event()
        self._serving = threading.Thread(
            target=lambda: serve(host, HELLO, self._host_in, self._host_out, gone=self.gone.set)
        )
        self._serving.start()

    def say(self, said: bytes) -> None:
        self.to_host.write(said)
        self.to_host.flush()

    def hear(self) -> Answer:
        length = frame_length(self.from_host.read(LENGTH_BYTES))
        return answer_decoder.decode(self.from_host.read(length))

    def close(self) -> None:
        self.to_host.close()
        self._serving.join(HANG_LIMIT)
        for end in (self._host_in, self._host_out, self.from_host):
            end.close()

    @property
    def is_serving(self) -> bool:
        return self._serving.is_alive()


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")


@pytest.fixture
def pipes(host: TerminalHost) -> Iterator[Pipes]:
    opened = Pipes(host)
    try:
        yield opened
    finally:
        opened.close()


def test_the_first_words_are_the_public_key(pipes: Pipes) -> None:
    assert pipes.hear() == HELLO


def test_commands_are_answered_one_by_one_in_their_order(pipes: Pipes) -> None:
    pipes.say(frame(Initialize(1_000)) + frame(Probe()) + frame(Forget([])))
    answers = [type(pipes.hear()) for _ in range(4)]
    assert answers == [Hello, Initialized, Probed, Done]


def test_a_failure_does_not_end_the_process(pipes: Pipes, binding: FakeBinding) -> None:
    pipes.hear()
    binding.fails("initialize", (-10005, "IPC timeout"))
    pipes.say(frame(Initialize(1_000)) + frame(Initialize(1_000)))
    assert [type(pipes.hear()) for _ in range(2)] == [Failed, Initialized]


def test_a_closed_pipe_ends_it_even_while_a_call_hangs(pipes: Pipes, binding: FakeBinding) -> None:
    called, released = threading.Event(), threading.Event()

    def hang() -> None:
        called.set()
        released.wait(HANG_LIMIT)

    binding.before["terminal_info"] = hang
    pipes.hear()
    pipes.say(frame(Probe()))
    assert called.wait(HANG_LIMIT)
    pipes.to_host.close()
    assert pipes.gone.wait(HANG_LIMIT)
    assert pipes.is_serving
    released.set()


@pytest.mark.parametrize("cut", [1, LENGTH_BYTES, LENGTH_BYTES + 1])
def test_a_pipe_that_closes_in_the_middle_of_a_frame_ends_it_too(cut: int) -> None:
    delivered: list[Command | None] = []
    read_frames(io.BytesIO(frame(Probe()) + frame(Initialize(1_000))[:cut]), delivered.append)
    assert delivered == [Probe(), None]


@pytest.mark.parametrize(
    "garbage",
    [
        (MAX_FRAME_BYTES + 1).to_bytes(LENGTH_BYTES, "little") + b"x",
        (3).to_bytes(LENGTH_BYTES, "little") + b"???",
    ],
)
def test_words_that_cannot_be_understood_end_it(garbage: bytes) -> None:
    delivered: list[Command | None] = []
    with pytest.raises(ValueError):  # noqa: PT011 - whatever says that it is no frame
        read_frames(io.BytesIO(garbage), delivered.append)
    assert delivered == [None]
