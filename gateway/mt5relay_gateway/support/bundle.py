"""Puts a bundle together: masked, as one zip that its owner alone may read."""

from __future__ import annotations

import json
import os
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mt5relay_gateway.support.masking import Masker

LOG_LINES = 20_000  # the last of each log file
LONGEST_LINE = 65_536  # characters; one that is cut could end within a secret, so it is left out

README = """\
A support bundle of mt5relay, made at {at} by version {version}.

doctor.json                 what `mt5relay doctor` found
versions.json               Python, operating system, packages
settings.json               settings in force; of secrets only whether they are set
redis/info.json             INFO; config.json: persistence and limits
redis/slowlog.json          slow commands by name and duration, without arguments
redis/clients.json          connections by name and user, without addresses
redis/acl-log.json          who was refused what
fleet.json                  registered terminals and pins
terminals/T/health.json     what the worker says of itself
terminals/T/lease.json      who works for the terminal, without the value that proves it
terminals/T/line.json       who waits, since when
terminals/T/streams.json    lengths, the oldest and the pending entries; groups.json: its groups
terminals/T/events.json     the last {events} transitions
terminals/T/dead-letters.json   the last {letters}: account, operation, error; arguments by name
terminals/T/timings.json    histograms; logins.json: logins of the last hour by account
terminals/T/credentials.json    which account is sealed for which key, never what is sealed
terminals/T/snapshots.json  how old each account's snapshot is
log/…                       the end of the log files that were given, masked line by line

"not_seen" stands where the user of REDIS_URL may not look.

{accounts}
Not in here: passwords, keys, tokens, sealed credentials, replies and snapshots with their balances,
positions and orders. In logs, amounts of money, names, comments, long random texts and the names of
users' folders are replaced by {mask}. Hosts, terminals' ids and brokers' servers are as they are:
look through the files before you give them away.
"""
MASKED_ACCOUNTS = (
    "Account numbers are replaced: account-N is the same account throughout this bundle, and\n"
    "another one in the next. `mt5relay support-bundle --with-account-numbers` keeps them.\n"
)
KEPT_ACCOUNTS = "Account numbers are as they are, as --with-account-numbers asked for.\n"


def packed(
    members: Mapping[str, object], logs: Sequence[Path], masker: Masker, readme: str
) -> dict[str, bytes]:
    """Every file of the bundle, masked.

    Raises:
        OSError: a log file can't be read.
    """
    files = {
        masker.text(name): json.dumps(masker.data(content), indent=1, ensure_ascii=False).encode()
        for name, content in members.items()
    }
    for number, log in enumerate(logs, 1):
        files[f"log/{number}-{masker.text(log.name)}"] = _log(log, masker)
    return {"README.txt": readme.encode(), **files}


def _log(file: Path, masker: Masker) -> bytes:
    with file.open(encoding=_encoding(file), errors="replace") as log:
        last = deque(log, LOG_LINES)
    return "\n".join(_masked(last, masker)).encode()


def _encoding(file: Path) -> str:
    """Terminals' journals, and what PowerShell redirects, are UTF-16."""
    with file.open("rb") as log:
        return "utf-16" if log.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8"


def _masked(lines: Iterable[str], masker: Masker) -> Iterable[str]:
    in_key = False
    for line in lines:
        begins, ends = "-----BEGIN " in line, "-----END " in line
        if not in_key or begins:
            yield _line(line.rstrip("\n").replace("\0", ""), masker)
        in_key = (in_key or begins) and not ends


def _line(line: str, masker: Masker) -> str:
    """NULs are gone: between letters, as in UTF-16 without its mark, they would hide a secret."""
    if len(line) > LONGEST_LINE:
        return f"[a line of {len(line)} characters]"
    return masker.log_line(line)


def write(file: Path, files: Mapping[str, bytes]) -> None:
    """Make the zip; a file that exists is left alone.

    Raises:
        FileExistsError: it exists.
        OSError: it can't be written.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    with (
        os.fdopen(descriptor, "wb") as out,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle,
    ):
        for name, content in files.items():
            bundle.writestr(name, content)


_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
