"""What a support bundle never holds, whatever text or data it is made of."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mt5relay_gateway.cli.support_bundle import secrets_of
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.support.bundle import packed
from mt5relay_gateway.support.masking import MASK, Masker

PASSWORD = "Planted-25-Secret"
ACCOUNTS = ["25115284@Broker-Demo", "9001@Broker-Live"]
KEY_ID = "0123456789abcdef" * 2


def masker(**options: Any) -> Masker:
    return Masker(ACCOUNTS, [PASSWORD], **options)


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("redis://gateway:other-secret@10.0.0.7:6379/0", "other-secret"),
        ("rediss+sentinel://u:p%40ss@one,two/relay", "p%40ss"),
        ("password=hunter22", "hunter22"),
        ('the "password": "hun ter22", and more', "hun ter22"),
        ("MT5_WEBHOOK_SECRET=whsec-0123456789", "whsec-0123456789"),
        ("Authorization: Bearer abcdef.ghijkl-123", "abcdef.ghijkl-123"),
        ("sent token mt5relay_0123456789abcdef_Zm9vYmFy-baz", "Zm9vYmFy-baz"),
        (f"text with {PASSWORD} in it", PASSWORD),
        ("url with Planted-25-Secret%21", PASSWORD),
        ("balance=98765.43 equity: 98765.43", "98765.43"),
        ("'profit': -98765.43", "98765.43"),
        ("-----BEGIN PRIVATE KEY----- MC4CAQAw -----END PRIVATE KEY-----", "MC4CAQAw"),
        ("MC4CAQAwBQYDK2VuBCIEIKt8mF3Zq1xYw0Pj9sVhR2LtU6bNcXeGiDoKfQ==", "MC4CAQAw"),
        ("sha " + "0123456789abcdef" * 4, "0123456789abcdef" * 4),
        ("login to 25115284@Broker-Demo failed", "25115284"),
        ("login of 25115284, server Broker-Demo", "25115284"),
        ("login to 777888@Other-Live failed", "777888"),
        (r"C:\Users\ada\AppData\mt5relay.log", "ada"),
        ("/home/ada/mt5relay.log", "ada"),
        ('company: "Ada Ltd"', "Ada Ltd"),
        ("RG 0 10:00:00.000 Network '7654321': authorized on Broker-Demo", "7654321"),
        ("'7654321': deal #12 sell 0.10 EURUSD at 1.08501 done", "1.08501"),
        ("'7654321': market buy 0.10 EURUSD placed as order #5 buy 0.10 at 1.08501", "1.08501"),
        ("login of 7654321 failed", "7654321"),
    ],
)
def test_a_line_is_told_without_what_nobody_is_to_see(line: str, hidden: str) -> None:
    assert hidden not in masker().log_line(line)


@pytest.mark.parametrize(
    "line",
    [
        f"key {KEY_ID} published",
        "2026-01-05T10:00:00.000Z breaker CLOSED -> OPEN (MT5_TIMEOUT)",
        'File "/opt/mt5relay/mt5relay_gateway/cli/app.py", line 12, in run',
        "terminal.process.started pid=4711 after_ms=182.5",
        r"C:\Program Files\MetaTrader 5\terminal64.exe",
        "read 3 entries of {mt5:main}:requests in 0.004 s",
    ],
)
def test_what_helps_stays_as_it_is(line: str) -> None:
    assert masker().log_line(line) == line


def test_json_is_masked_field_by_field() -> None:
    line = {
        "event": "visit.ended",
        "account": "25115284@Broker-Demo",
        "login": 25115284,
        "balance": 98765.43,
        "margin_free": "98765.43",
        "positions": [{"ticket": 5, "price_open": 1.08501, "comment": "for Ada"}],
        "api_token": "abc",
        "took_ms": 12.5,
        "name": "main",
        "ok": True,
        "nothing": None,
    }
    assert json.loads(masker().log_line(json.dumps(line))) == {
        "event": "visit.ended",
        "account": "account-1@Broker-Demo",
        "login": "account-1",
        "balance": MASK,
        "margin_free": MASK,
        "positions": [{"ticket": 5, "price_open": MASK, "comment": MASK}],
        "api_token": MASK,
        "took_ms": 12.5,
        "name": "main",
        "ok": True,
        "nothing": None,
    }


def test_an_account_has_one_name_wherever_it_stands() -> None:
    masked = masker().data(
        {
            "line": {"9001@Broker-Live": 1},
            "text": "9001@Broker-Live, then 9001",
            "login": 9001,
            "stranger": "5555@New-Server",
        }
    )
    assert masked == {
        "line": {"account-2@Broker-Live": 1},
        "text": "account-2@Broker-Live, then account-2",
        "login": "account-2",
        "stranger": "account-3@New-Server",
    }


def test_account_numbers_stay_where_that_is_asked_for_and_secrets_still_go() -> None:
    kept = masker(keeps_numbers=True)
    assert kept.text("25115284@Broker-Demo") == "25115284@Broker-Demo"
    assert kept.data({"login": 25115284, "balance": 5}) == {"login": 25115284, "balance": MASK}
    assert PASSWORD not in kept.text(f"x{PASSWORD}x")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.text(string.ascii_letters, max_size=5))
def test_a_known_secret_is_found_in_any_surroundings(value: Any, around: str) -> None:
    hidden = f"{around}{PASSWORD}{around}"
    masked = masker().data({hidden: value, "a": [value, hidden], "b": {"c": hidden}})
    assert PASSWORD not in json.dumps(masked)


def test_settings_and_environment_say_what_is_secret() -> None:
    settings = HttpSettings(
        redis_url=SecretStr("redis://u:p%40ssword@127.0.0.1/0"), webhook_secret=SecretStr("w" * 24)
    )
    environment = {
        "HTTPS_PROXY": "http://user:proxy-pass@proxy:3128",
        "OTHER_PASSWORD": "other-pass",
        "PATH": "/usr/bin",
        "MT5_PRIVATE_KEY_FILE": "/etc/mt5relay/key",
    }
    found = secrets_of(settings, environment)
    assert {"p%40ssword", "p@ssword", "w" * 24, "proxy-pass", "other-pass"} <= found
    assert not {"/usr/bin", "/etc/mt5relay/key"} & found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_log_is_read_in_the_encoding_that_it_has(tmp_path: Path, encoding: str) -> None:
    log = tmp_path / "worker.log"
    log.write_text(f"login of 25115284 with {PASSWORD}\nlast line\n", encoding)
    told = packed({}, [log], masker(), "")["log/1-worker.log"].decode()
    assert PASSWORD not in told.replace("\0", "")
    assert "25115284" not in told.replace("\0", "")
    assert told.split("\n")[:2] == [f"login of account-1 with {MASK}", "last line"]


def test_no_line_ends_within_a_secret_or_takes_for_ever(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    nested = '{"a":' * 20_000
    log.write_text(f"{'x' * 65_530}{PASSWORD}\n{nested}\n{'aB3/' * 16_000}\nlast\n")
    told = packed({}, [log], masker(), "")["log/1-worker.log"].decode().split("\n")
    assert told == ["[a line of 65547 characters]", "[a line of 100000 characters]", MASK, "last"]
    assert masker().log_line('{"a":' * 10_000).startswith("{")


def test_short_logins_do_not_blot_out_other_figures() -> None:
    short = Masker(["7@Broker"], [])
    assert short.data({"count": 7, "text": "7 of 7@Broker"}) == {
        "count": 7,
        "text": "7 of account-1@Broker",
    }


def test_a_key_over_many_lines_of_a_log_is_left_out_as_a_whole(tmp_path: Path) -> None:
    log = tmp_path / "25115284.log"
    log.write_text(
        "before\n-----BEGIN PRIVATE KEY-----\nshort\nlines\n-----END PRIVATE KEY-----\nafter\n"
    )
    files = packed({}, [log], masker(), "read me")
    assert list(files) == ["README.txt", "log/1-account-1.log"]
    assert files["log/1-account-1.log"].decode().split("\n") == ["before", MASK, "after"]
