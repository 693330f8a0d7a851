"""Make certificates for TLS with Redis, and renew them. Needs `cryptography`, as mt5relay does.

    certificates.py server redis.internal 10.0.0.5 --out /etc/mt5relay/tls     redis.crt, redis.key
    certificates.py client worker gateway operator --out /etc/mt5relay/tls     worker.crt, …

The first run makes the authority too, ca.crt and ca.key: whoever has ca.key can make more. Keep it
in a safe and not on the hosts; ca.crt goes to all of them. Run again with the same words to renew:
keys are made anew, owner and rights of the files stay. `server` takes every name and address under
which clients reach Redis, as REDIS_URL spells it. Private keys can be read by their owner alone.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    sys.exit(
        "certificates.py needs the package cryptography: run it with the Python that has mt5relay,"
        " such as /opt/mt5relay/bin/python"
    )

DAYS, AUTHORITY_DAYS = 397, 3650
CLOCK_SKEW = timedelta(hours=1)  # hosts whose clocks lag take it nevertheless
SERVER_FILE = "redis"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_authority(now: datetime, days: int = AUTHORITY_DAYS) -> Pair:
    """One that signs itself, and after it certificates and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mt5relay Redis authority")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issued(
    authority: Pair, name: str, hosts: Sequence[str], now: datetime, days: float = DAYS
) -> Pair:
    """A certificate for a server reached under `hosts`, or without any for a client."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A server is a client too, of the one that it replicates.
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
    signer = authority.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + timedelta(days=days)) - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    if hosts:
        names = x509.SubjectAlternativeName([host_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def host_name(host: str) -> x509.GeneralName:
    """A name or an address, as it stands in the certificate."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def save(pair: Pair, directory: Path, name: str) -> None:
    """Write NAME.crt and NAME.key. Who reads one of each fails once, and tries again."""
    key = pair.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    replace(directory / f"{name}.key", key, 0o600)
    certificate = pair.certificate.public_bytes(serialization.Encoding.PEM)
    replace(directory / f"{name}.crt", certificate, 0o644)


def replace(path: Path, content: bytes, mode: int) -> None:
    """As a whole or not at all, with the rights and the owner that it had."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.chmod(path.stat().st_mode if path.exists() else mode)
    if path.exists() and hasattr(os, "chown"):
        os.chown(fresh, path.stat().st_uid, path.stat().st_gid)
    fresh.replace(path)


def authority_in(directory: Path) -> Pair:
    """The one that is there, or a new one where there is none."""
    certificate, key = directory / "ca.crt", directory / "ca.key"
    if not certificate.exists() and not key.exists():
        made = new_authority(datetime.now(UTC))
        save(made, directory, "ca")
        print(f"made an authority: {certificate}, and {key}, which belongs into a safe")  # noqa: T201
        return made
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except FileNotFoundError as missing:
        sys.exit(f"{missing.filename} is missing: put it back there from the safe")
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        sys.exit(f"{key} was not made by this script")
    return Pair(found, private)


def main(words: list[str]) -> int:
    options = argparse.ArgumentParser(description="Make and renew certificates for Redis.")
    options.add_argument("kind", choices=["server", "client"])
    options.add_argument("names", nargs="+", help="hosts of the server, or names of clients")
    options.add_argument("--out", type=Path, required=True, help="directory of the files")
    options.add_argument("--days", type=int, default=DAYS, help=f"good for; default {DAYS}")
    asked = options.parse_intermixed_args(words)
    asked.out.mkdir(mode=0o755, parents=True, exist_ok=True)
    authority, now = authority_in(asked.out), datetime.now(UTC)
    wanted: dict[str, list[str]] = (
        {SERVER_FILE: asked.names} if asked.kind == "server" else {name: [] for name in asked.names}
    )
    if clash := {"ca", SERVER_FILE} & set(wanted) if asked.kind == "client" else set[str]():
        sys.exit(f"{', '.join(clash)}: another file has that name; take another")
    for name, hosts in wanted.items():
        save(issued(authority, name, hosts, now, asked.days), asked.out, name)
        ends = now + timedelta(days=asked.days)
        print(f"{asked.out / name}.crt and .key, good until {ends:%Y-%m-%d}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
