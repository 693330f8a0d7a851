"""The same system on one server, over TLS, behind Sentinel, and in a Cluster: real servers each."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from redis import Redis as BlockingRedis
from redis.exceptions import RedisError
from tests.chaos.link import Link
from tests.limits import HANG_LIMIT
from tests.servers import OPERATOR, TESTER, AclServer, as_user, password_of_user

from mt5relay_gateway.cli.store import find_server_program, free_port
from mt5relay_gateway.doctor.checks import examine
from mt5relay_gateway.doctor.gathering import gather
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import RedisUnavailableError
from mt5relay_shared.findings import Level
from mt5relay_shared.keys import Keys
from mt5relay_shared.redis_client import connect

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from tests.system.conftest import System

LIMIT = HANG_LIMIT  # until servers agree with each other


def _tester_at(port: int) -> Any:
    known: dict[str, Any] = {"username": TESTER, "password": password_of_user(TESTER)}
    return BlockingRedis(port=port, protocol=2, **known)


def _until(holds: Callable[[], Any]) -> None:
    give_up = time.monotonic() + LIMIT
    while True:
        with contextlib.suppress(RedisError):
            if holds():
                return
        if time.monotonic() > give_up:
            pytest.fail("the servers never agreed")
        time.sleep(0.05)


@contextlib.contextmanager
def _servers(
    directory: Path, ports: Sequence[int], options: Callable[[int], Sequence[str]]
) -> Generator[list[AclServer]]:
    program = find_server_program()
    assert program is not None
    with contextlib.ExitStack() as stack:
        started: list[AclServer] = []
        for port in ports:
            folder = directory / str(port)
            folder.mkdir()
            server = AclServer(program, folder, port=port, options=options(port))
            server.start()
            stack.callback(server.stop)
            started.append(server)
        yield started


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Three masters that share all slots."""
    ports = [free_port() for _ in range(3)]
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    bus = {port: free_port() for port in ports}
    with _servers(tmp_path, ports, lambda port: (*options, "--cluster-port", str(bus[port]))):
        clients = [_tester_at(port) for port in ports]
        bounds = [0, 5461, 10923, 16384]
        for number, client in enumerate(clients):
            span = (bounds[number], bounds[number + 1] - 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *span)
            for port in ports:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus[port])
        _until(lambda: all(_is_whole(client) for client in clients))
        for client in clients:
            client.close()
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)


def _is_whole(client: Any) -> bool:
    info: Any = client.execute_command("CLUSTER INFO")
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", "3")


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[tuple[str, list[AclServer]]]:
    """A master, a replica, and three sentinels; yields the URL and the two servers."""
    master, replica, *watchers = [free_port() for _ in range(5)]

    def options(port: int) -> Sequence[str]:
        if port == master:
            return ("--repl-diskless-sync-delay", "0")
        return ("--replicaof", "127.0.0.1", str(master))

    with (
        _servers(tmp_path, [master, replica], options) as servers,
        _sentinels(tmp_path, watchers, master),
    ):
        first: Any = BlockingRedis(port=watchers[0], protocol=2)
        _until(lambda: first.sentinel_slaves("relay"))
        _until(lambda: len(first.sentinel_sentinels("relay")) == 2)
        first.close()
        nodes = ",".join(f"127.0.0.1:{port}" for port in watchers)
        yield f"redis+sentinel://{nodes}/relay", servers


@contextlib.contextmanager
def _sentinels(directory: Path, ports: Sequence[int], master: int) -> Generator[None]:
    program = find_server_program()
    assert program is not None
    running: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports:
            configuration = directory / f"sentinel-{port}.conf"
            configuration.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
                f"sentinel monitor relay 127.0.0.1 {master} 2\n"
                f"sentinel auth-user relay {TESTER}\n"
                f"sentinel auth-pass relay {password_of_user(TESTER)}\n"
                "sentinel down-after-milliseconds relay 500\n"
                "sentinel failover-timeout relay 3000\n"
            )
            command = [str(program.path), str(configuration), "--sentinel"]
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture
async def tls(system_server: AclServer, tmp_path: Path) -> AsyncIterator[str]:
    """TLS in front of the server, and nobody gets in without a certificate.

    The bundled server is built without TLS, so a terminator stands before it; what worker and
    client speak is the same.
    """
    certificate, key = tmp_path / "relay.crt", tmp_path / "relay.key"
    _write_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    link = Link(system_server.port)
    await link.open(context)
    yield (
        f"rediss://127.0.0.1:{link.port}/0?ssl_ca_certs={certificate}"
        f"&ssl_certfile={certificate}&ssl_keyfile={key}"
    )
    link.close()


def _write_certificate(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(built.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


async def _serves(system: System, url: str) -> None:
    async with _on(system, url):
        await system.start()
        async with system.client() as client:
            for account in system.accounts:
                assert (await client.account_info(account)).data.login == account.login


@contextlib.asynccontextmanager
async def _on(system: System, url: str) -> AsyncGenerator[None]:
    """Move a system to other servers."""
    await system.redis.aclose()
    system.url = url
    system.redis = connect(as_user(url, TESTER), client_name="system-test", tag=system.keys.tag)
    yield


async def test_a_cluster_of_three_masters_serves_terminals_on_each_of_them(
    system: System, cluster: str
) -> None:
    await _serves(system, cluster)
    owners: set[int] = set()
    for number in range(30):
        keys = Keys(f"t{number}")
        probe: Any = connect(as_user(cluster, TESTER), client_name="probe", tag=keys.tag)
        await probe.set(keys.health, "x", px=1000)
        owners.add((await probe.info("server"))["tcp_port"])
        await probe.aclose()
    assert len(owners) == 3


async def test_tls_with_a_client_certificate(system: System, tls: str) -> None:
    await _serves(system, tls)


async def test_without_its_certificate_a_client_is_told_that_redis_cannot_be_reached(
    system: System, tls: str
) -> None:
    system.url = tls.partition("&ssl_certfile")[0]
    with pytest.raises(RedisUnavailableError):
        async with system.client():
            pass


async def test_a_failover_behind_sentinel_is_followed_by_worker_and_client(
    system: System, sentinels: tuple[str, list[AclServer]]
) -> None:
    url, (master, _) = sentinels
    async with _on(system, url):
        await system.start()
        async with system.client(timeout=HANG_LIMIT) as client:
            account = system.accounts[0]
            assert (await client.account_info(account)).source == "terminal"
            assert await system.redis.wait(1, 60_000) == 1  # credentials are on the replica too
            master.kill()
            # The worker that lost its lease has exited; its supervisor starts another.
            give_up = time.monotonic() + LIMIT
            while time.monotonic() < give_up:
                if system.workers[-1].process.poll() is not None:
                    system.start_worker()
                with contextlib.suppress(Exception):
                    answer = await client.account_info(account, timeout=3)
                    assert answer.data.login == account.login
                    return
                await anyio.sleep(0.2)
    pytest.fail(f"no answer after the failover\n{system.tail()}")


async def _examined(url: str) -> dict[str, list[tuple[Level, str]]]:
    """What the doctor finds there as an operator, by check."""
    facts = await gather(GatewaySettings(redis_url=SecretStr(as_user(url, OPERATOR))))
    found: dict[str, list[tuple[Level, str]]] = {}
    for finding in examine(facts):
        found.setdefault(finding.check, []).append((finding.level, finding.found))
    return found


async def test_the_doctor_says_when_certificates_end(tls: str) -> None:
    found = await _examined(tls)
    assert found["redis.plaintext"] == [(Level.OK, "TLS")]
    assert [level for level, _ in found["redis.certificates"]] == [Level.WARNING] * 2  # 1 day left
    assert "the client's" in found["redis.certificates"][0][1]
    assert "the server's" in found["redis.certificates"][1][1]
    assert found["redis.rights"][0][0] is Level.OK


async def test_the_doctor_is_led_to_the_master_by_sentinels(
    sentinels: tuple[str, list[AclServer]],
) -> None:
    url, (master, replica) = sentinels
    tester = _tester_at(master.port)
    _until(lambda: tester.info("replication").get("slave0", {}).get("state") == "online")
    found = await _examined(url)
    assert found["redis.topology"] == [(Level.OK, "sentinel, master, replicas: 1")]
    replica.kill()
    _until(lambda: "slave0" not in tester.info("replication"))
    tester.close()
    assert (await _examined(url))["redis.topology"][0][0] is Level.WARNING
