"""Writes `docs/REFERENCE.md` from the code: everything that has a name an operator may meet.

python -m tests.docs.reference --write      in the environment of the tests, at the root
python -m tests.docs.reference              print it
"""

from __future__ import annotations

import dataclasses
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr
from tests.docs import sentences
from tests.docs.acl import Grants, grants
from tests.docs.metrics import metric_families
from tests.docs.source_facts import (
    ROOT,
    event_kinds,
    exit_statuses,
    log_events,
    sent_events,
    settings_classes,
)
from tests.worker.test_env_example import as_text, listed

from mt5relay_gateway.http.problems import OWN_CODES, Refusal, problem_from
from mt5relay_gateway.http.settings import HttpSettings
from mt5relay_gateway.settings import GatewaySettings
from mt5relay_shared.errors import ERROR_CODES, error_for
from mt5relay_shared.health import Health
from mt5relay_shared.keys import FleetKeys, Keys
from mt5relay_shared.operator import Event
from mt5relay_shared.settings import RelaySettings, variable_of
from mt5relay_worker.settings import WorkerSettings

NOTHING = "\N{EN DASH}"
PAGE = ROOT / "docs" / "REFERENCE.md"
COMMAND = "python -m tests.docs.reference --write"
READERS: tuple[tuple[type[RelaySettings], str], ...] = (  # the first that has it, reads it
    (RelaySettings, "everybody"),
    (GatewaySettings, "`mt5relay`, HTTP gateways"),
    (HttpSettings, "HTTP gateways"),
    (WorkerSettings, "`mt5relay-worker`"),
)
HEAD = f"""\
# Reference

Every name that an operator may meet, written from the code: after a change run
`{COMMAND}` in the environment of the tests. What to do about an error or
an alert: the [runbook](../deploy/RUNBOOK.md). What crosses the wire:
[shared/README.md](../shared/README.md). Why it is so: [ARCHITECTURE.md](ARCHITECTURE.md).

[Settings](#settings) · [Error codes](#error-codes) · [HTTP problems](#http-problems) ·
[Exit statuses](#exit-statuses) · [Keys](#keys) · [Redis users](#redis-users) ·
[Health](#health) · [Events](#events) · [Metrics](#metrics) · [Log events](#log-events)
"""

Row = Sequence[str]


def reference() -> str:
    """The page."""
    return "\n".join(
        [
            HEAD,
            *settings_section(),
            *codes_section(),
            *problems_section(),
            *exits_section(),
            *keys_section(),
            *users_section(),
            *health_section(),
            *events_section(),
            *metrics_section(),
            *logs_section(),
        ]
    )


def section(title: str, words: str, head: Row, rows: Iterable[Row]) -> Iterator[str]:
    yield f"## {title}\n"
    if words:
        yield textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False) + "\n"
    yield table_line(head)
    yield "|" + "---|" * len(head)
    yield from map(table_line, rows)
    yield ""


def table_line(cells: Row) -> str:
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\|", cell) for cell in cells) + " |"


def settings_section() -> Iterator[str]:
    unknown = settings_classes() - {kind.__name__ for kind, _ in READERS}
    if unknown:
        raise ValueError(f"settings that READERS does not name: {', '.join(sorted(unknown))}")
    explained = listed()
    rows: dict[str, Row] = {}
    for kind, reader in READERS:
        for name, field in kind.model_fields.items():
            variable = variable_of(kind, name)
            text, _ = explained.get(variable, ("not in .env.example yet", ""))
            is_secret = SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))
            default = "" if field.default is None else f"`{as_text(field.default)}`"
            meaning = text.removesuffix(" No default.").replace("<", "&lt;")
            if is_secret and "secret" not in meaning.lower():
                meaning += " A secret."
            rows.setdefault(variable, (f"`{variable}`", default, reader, meaning))
    words = (
        "From the environment, or from a file `.env` in the working directory;"
        " [.env.example](../.env.example) is one to copy."
    )
    return section("Settings", words, ("name", "default", "read by", "meaning"), rows.values())


def codes_section() -> Iterator[str]:
    rows = [
        (
            f"[`{code}`](../deploy/RUNBOOK.md#{code.lower()})",
            f"`{spec.exception.__name__}`",
            NOTHING if spec.outcome is None else spec.outcome.value,
            yes(spec.retryable),
            str(problem_from(error_for(code, "")).status),
            spec.meaning,
        )
        for code, spec in ERROR_CODES.items()
    ]
    head = ("code", "Python exception", "for the breaker", "retryable", "HTTP status", "meaning")
    return section("Error codes", "", head, rows)


def problems_section() -> Iterator[str]:
    rows = [
        (f"`{code}`", str(status), yes(retryable), meaning)
        for code, (status, retryable, meaning) in OWN_CODES.items()
    ]
    example = problem_from(Refusal("RATE_LIMITED", "")).type
    words = (
        "What an HTTP gateway itself refuses, beside the codes above. `type` of a problem is"
        f" `urn:mt5relay:problem:` and the code in small letters with dashes: `{example}`."
    )
    return section("HTTP problems", words, ("code", "status", "retryable", "meaning"), rows)


def exits_section() -> Iterator[str]:
    rows = sorted(
        (program_of(name), f"{status:3d}".strip(), explained(sentences.EXIT_STATUSES, name))
        for name, status in exit_statuses().items()
    )
    rows.sort(key=lambda row: (row[0].strip("`"), int(row[1])))
    return section("Exit statuses", "", ("program", "status", "meaning"), rows)


def program_of(constant: str) -> str:
    if "simulator" in constant:
        return "`python -m mt5relay_worker.simulator`"
    return "`mt5relay`" if constant.startswith("mt5relay_gateway") else "`mt5relay-worker`"


def keys_section() -> Iterator[str]:
    allowed, types = grants(), key_types()
    rows = [
        (
            f"`{key}`",
            types.get(key, "not in shared/README.md yet"),
            users_who(allowed, key, "writes"),
            users_who(allowed, key, "reads"),
        )
        for key in (*spelled(Keys("T")), *spelled(FleetKeys()))
    ]
    words = (
        "`T` is the terminal's id, `mt5` the prefix. Who may read and write is what the"
        " [users](#redis-users) of `deploy/redis/users.acl` may. Contents:"
        " [shared/README.md](../shared/README.md#keys)."
    )
    return section("Keys", words, ("key", "type", "written by", "read by"), rows)


def spelled(keys: Keys | FleetKeys) -> Iterator[str]:
    """Every key of the class, with names in angle brackets where it takes them."""
    given = {field.name for field in dataclasses.fields(keys)}
    for name, member in vars(type(keys)).items():
        if name.startswith("_") or name in given:
            continue
        if isinstance(member, property):
            yield getattr(keys, name)
        elif callable(member):
            word = member.__code__.co_varnames[1]
            yield getattr(keys, name)(f"<{word.removeprefix('request_')}>")


def key_types() -> dict[str, str]:
    """The second column of the contract's tables of keys."""
    text = (ROOT / "shared" / "README.md").read_text("utf-8")
    return dict(re.findall(r"^\| `(\{mt5[^`]*)` \| ([^|]+?) \|", text, flags=re.M))


def users_who(allowed: Mapping[str, Grants], key: str, access: str) -> str:
    names = [user for user, given in allowed.items() if given.commands(key, access)]
    return ", ".join(names) or NOTHING


def users_section() -> Iterator[str]:
    allowed = grants()
    rows = [
        (
            f"`{user}`",
            f"`{pattern}`",
            commands(given, pattern, "writes"),
            commands(given, pattern, "reads"),
        )
        for user, given in allowed.items()
        for pattern in given.patterns()
    ]
    words = (
        "What each user of `deploy/redis/users.acl` may do to which keys, scripts included."
        " Everybody may say who they are and ask the time. What each is for:"
        " [deploy/redis](../deploy/redis/README.md)."
    )
    return section("Redis users", words, ("user", "keys", "writes", "reads"), rows)


def commands(given: Grants, pattern: str, access: str) -> str:
    return " ".join(f"`{one}`" for one in given.commands(pattern, access)) or NOTHING


def health_section() -> Iterator[str]:
    rows = [
        (f"`{field.name}`", explained(sentences.HEALTH_FIELDS, field.name))
        for field in msgspec.structs.fields(Health)
    ]
    words = (
        "Fields of the hash `{mt5:T}:health`: flat strings, empty where not known, `1`/`0` for yes"
        " and no; `…_at_ms` is Redis server time. Counts begin with the worker."
    )
    return section("Health", words, ("field", "meaning"), rows)


def events_section() -> Iterator[str]:
    fields = ", ".join(f"`{one.encode_name}`" for one in msgspec.structs.fields(Event))
    stream = [
        (f"`{kind}`", "stream, HTTP", explained(sentences.EVENT_KINDS, kind))
        for kind in sorted(event_kinds())
    ]
    sent = [
        (f"`{kind}`", "HTTP", explained(sentences.SENT_EVENTS, kind))
        for kind in sorted(sent_events())
    ]
    words = (
        "Of the stream `{mt5:T}:events`, and of `GET /v1/events`. An entry's field `event` is JSON"
        f" with {fields}; absent ones are left out."
    )
    return section("Events", words, ("kind", "where", "meaning"), [*stream, *sent])


def metrics_section() -> Iterator[str]:
    rows = [
        (f"`{one.name}`", one.kind, " ".join(f"`{label}`" for label in one.labels), one.help)
        for one in metric_families()
    ]
    words = "Of `GET /metrics`. Histograms have `_bucket`, `_sum` and `_count`."
    return section("Metrics", words, ("name", "type", "labels", "meaning"), rows)


def logs_section() -> Iterator[str]:
    rows = [
        (
            f"`{one.name}`",
            " ".join(one.levels),
            " ".join(f"`{field}`" for field in one.fields),
            explained(sentences.LOG_EVENTS, one.name),
            " ".join(f"`{module.removeprefix('mt5relay_')}`" for module in one.modules),
        )
        for one in log_events()
    ]
    words = (
        "Each line has `event`, `level`, `timestamp` and `module`; during a visit also `account`"
        " and `requests`. `…` stands for fields that depend on the case."
    )
    return section("Log events", words, ("event", "level", "fields", "meaning", "module"), rows)


def explained(table: Mapping[str, str], name: str) -> str:
    return table.get(name, "*no sentence in `tests/docs/sentences.py` yet*")


def yes(holds: bool) -> str:
    return "yes" if holds else "no"


def unexplained() -> dict[str, tuple[set[str], set[str]]]:
    """For each table of sentences: which names lack one, and which sentences lack their name."""
    tables: dict[str, tuple[Mapping[str, Any], Iterable[str]]] = {
        "LOG_EVENTS": (sentences.LOG_EVENTS, (one.name for one in log_events())),
        "EXIT_STATUSES": (sentences.EXIT_STATUSES, exit_statuses()),
        "EVENT_KINDS": (sentences.EVENT_KINDS, event_kinds()),
        "SENT_EVENTS": (sentences.SENT_EVENTS, sent_events()),
        "HEALTH_FIELDS": (
            sentences.HEALTH_FIELDS,
            (field.name for field in msgspec.structs.fields(Health)),
        ),
    }
    found: dict[str, tuple[set[str], set[str]]] = {}
    for table, (said, names) in tables.items():
        known = set(names)
        found[table] = (known - set(said), set(said) - known)
    return found


def main(words: list[str], page: Path = PAGE) -> int:
    if words == ["--write"]:
        page.write_text(reference(), "utf-8")
    else:
        sys.stdout.write(reference())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
