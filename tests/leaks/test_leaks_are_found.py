"""Whoever leaks a secret is found out: a search that could not fail would say nothing."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.leaks.files import RIGHTFUL_PLACES, is_rightful
from tests.leaks.planted import CORE, Search, encodings, planted_private_key
from tests.leaks.witness import WITNESS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LIMIT = 120.0  # seconds
AWKWARD = 'pä"ss\\wörd%&/<é>'


def is_found(secret: str, data: bytes) -> bool:
    return bool(list(Search({"it": secret.encode()}).in_("here", data)))


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("secret", [AWKWARD, CORE, "mt5relay_0123456789abcdef_Zz-_09"])
def test_a_secret_is_found_in_each_of_its_guises(secret: str, before: str) -> None:
    whole = f"{before}{secret}after"
    guises = {
        "plain": whole.encode(),
        "JSON": json.dumps(whole).encode(),
        "JSON in UTF-8": json.dumps(whole, ensure_ascii=False).encode(),
        "repr": repr(whole).encode(),
        "repr of bytes": repr(whole.encode()).encode(),
        "URL": quote(whole, safe="").encode(),
        "hex": whole.encode().hex().encode(),
        "HEX": whole.encode().hex().upper().encode(),
        "UTF-16": whole.encode("utf-16-le"),
        "base64": base64.b64encode(whole.encode()),
        "URL-safe base64": base64.urlsafe_b64encode(whole.encode()),
    }
    assert [name for name, data in guises.items() if not is_found(secret, data)] == []


def test_what_is_no_secret_is_not_found() -> None:
    assert not is_found(AWKWARD, json.dumps({"password": "***", "account": "1@Demo"}).encode())
    assert len(encodings(CORE.encode())) >= 15


def test_a_planted_private_key_is_found_in_its_file() -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = X25519PrivateKey.from_private_bytes(planted_private_key("a-terminal"))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert is_found(CORE, pem)
    assert is_found(CORE, key.private_bytes_raw())


def test_only_what_is_there_to_hold_secrets_may(tmp_path: Path) -> None:
    assert all(RIGHTFUL_PLACES.values()), "each has its reason"
    rightful = ["worker.key", "book.json", "secrets/worker.env", "secrets/worker.password"]
    assert all(is_rightful(tmp_path / name) for name in rightful)
    wrongful = ["worker.log", "users.acl", "faults.json", "worker.env", "appendonlydir/x.aof"]
    assert not any(is_rightful(tmp_path / name) for name in wrongful)


EXPECTED = {
    "test_printed": "Captured stdout",
    "test_logged": "Captured log",
    "test_in_a_failures_report": "the report of a failure",
    "test_in_a_file": "file worker.log",
    "test_made_by_the_product": "file gateway.log",
    "test_as_an_argument": "arguments of a process",
    "test_in_a_value": "stands in Redis",
    "test_in_a_key_that_is_gone": "sent to Redis",
    "test_in_a_script": "sent to Redis",
    "test_in_an_answer_over_http": "told over HTTP",
    "test_in_a_body_over_http": "told over HTTP",
    "test_refused": "gateway may not",
}
if sys.platform == "linux":
    EXPECTED["test_as_a_grandchilds_argument"] = "arguments of a process"


@pytest.mark.usefixtures("server")  # skips where there is none
def test_every_channel_is_listened_to_and_the_test_that_leaked_is_named(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *("-n", "0", "-q", "--tb=short", "--basetemp", str(tmp_path_factory.mktemp("their"))),
            str(ROOT / "tests" / "leaks" / "leaky.py"),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    WITNESS.finds()  # what they leaked this test has seen too, and it is theirs
    said = re.split(r"^_+ ERROR at teardown of (\w+) _+$", ran.stdout, flags=re.MULTILINE)
    found = dict(zip(said[1::2], said[2::2], strict=True))
    missed = {name: place for name, place in EXPECTED.items() if place not in found.get(name, "")}
    assert missed == {}, ran.stdout.replace(CORE, "(the secret)")[-8000:]
    assert "test_innocent" not in found
