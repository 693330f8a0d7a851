"""What stands in the log, and what never does."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import structlog

from mt5relay_shared.log_output import configure_logs
from mt5relay_shared.logs import get_logger
from mt5relay_shared.secret import Secret

PASSWORD = "Planted-Secret-1"


class Screen(io.StringIO):
    """A standard error that is a person's terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.contextvars.clear_contextvars()
    structlog.configure(**before)


@contextlib.contextmanager
def logging_to(
    stream: io.StringIO, log_format: str = "json", level: str = "info"
) -> Generator[structlog.typing.FilteringBoundLogger]:
    with contextlib.redirect_stderr(stream):
        configure_logs(log_format, level)
        yield get_logger("tests")


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def fail_while_holding_a_password(log: structlog.typing.FilteringBoundLogger) -> None:
    password = "-".join(["Planted", "Secret", "1"])  # nowhere in the source as a whole
    try:
        raise ValueError(f"refused {Secret(password)}")
    except ValueError:
        log.exception("login.failed", password=Secret(password))


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_for_a_machine_each_line_is_one_json_object(log_format: str) -> None:
    output = io.StringIO()
    with logging_to(output, log_format) as log:
        log.info("visit.done", account="1@Demo", took_ms=12.5)
        log.warning("multi\nline")
    first, second = lines(output)
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "visit.done",
        "level": "info",
        "module": "tests",
        "account": "1@Demo",
        "took_ms": 12.5,
    }
    assert second["event"] == "multi\nline"


@pytest.mark.parametrize("log_format", ["console", "auto"])
def test_for_a_person_lines_are_readable(log_format: str) -> None:
    screen = Screen()
    with logging_to(screen, log_format) as log:
        log.info("visit.done", account="1@Demo")
    assert "visit.done" in screen.getvalue()
    assert not screen.getvalue().startswith("{")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_decides_what_is_written(level: str, expected: list[str]) -> None:
    output = io.StringIO()
    with logging_to(output, level=level) as log:
        for write in (log.debug, log.info, log.warning, log.error):
            write("something")
    assert [line["level"] for line in lines(output)] == expected


def test_what_is_bound_to_a_request_stands_on_every_line() -> None:
    output = io.StringIO()
    with logging_to(output) as log, structlog.contextvars.bound_contextvars(request_id="my-1"):
        log.info("one")
        log.info("two")
    assert [line["request_id"] for line in lines(output)] == ["my-1", "my-1"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_where_but_never_the_values(log_format: str) -> None:
    screen = Screen()
    with logging_to(screen, log_format) as log:
        fail_while_holding_a_password(log)
    assert "fail_while_holding_a_password" in screen.getvalue()
    assert PASSWORD not in screen.getvalue()


def test_a_traceback_is_structured_and_has_no_locals() -> None:
    output = io.StringIO()
    with logging_to(output) as log:
        fail_while_holding_a_password(log)
    (line,) = lines(output)
    (raised,) = line["exception"]
    assert (raised["exc_type"], raised["exc_value"]) == ("ValueError", "refused Secret('***')")
    assert all(not frame.get("locals") for frame in raised["frames"])


def test_a_secret_in_a_field_is_masked() -> None:
    output = io.StringIO()
    with logging_to(output) as log:
        log.info("login.started", password=Secret(PASSWORD), nested={"password": Secret(PASSWORD)})
    (line,) = lines(output)
    assert line["password"] == "Secret('***')"
    assert PASSWORD not in output.getvalue()


UNCONFIGURED = """
import logging, sys
from mt5relay_shared.logs import get_logger

log = get_logger("inbox")
log.debug("request.queued", request_id="r1")
log.warning("inbox.connection_lost", error="no route")
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(name)s %(message)s")
log.debug("request.queued", request_id="r2")
"""


def test_a_program_that_configured_no_logs_is_not_talked_to_on_standard_output() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", UNCONFIGURED], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "mt5relay.inbox request.queued request_id='r2'\n"
    assert ran.stderr == "inbox.connection_lost error='no route'\n"
