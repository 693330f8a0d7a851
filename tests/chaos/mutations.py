"""Takes safeguards out, one at a time, and shows which test notices.

    python -m tests.chaos.mutations [NAME ...]

Each mutation is made in a copy of the tree; a test that still passes there checks nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("gateway", "worker", "shared", "tests", "pyproject.toml")
LIMIT = 300  # seconds for one mutation's test


@dataclass(frozen=True)
class Mutation:
    """`old` in `file` becomes `new`; `test` must fail then."""

    name: str
    file: str
    old: str
    new: str
    test: str


LUA = "shared/mt5relay_shared/scripts/"
WORKER = "worker/mt5relay_worker/"

MUTATIONS = (
    Mutation(
        "replies are written without looking at the fence",
        LUA + "complete.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
        "tests/contract/test_complete_script.py",
    ),
    Mutation(
        "health is published without looking at the fence",
        LUA + "renew.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
        "tests/contract/test_lease_scripts.py",
    ),
    Mutation(
        "a later reply overwrites the first",
        LUA + "complete.lua",
        "redis.call('SET', reply_key, reply, 'NX', 'PX', expiry)",
        "redis.call('SET', reply_key, reply, 'PX', expiry)",
        "tests/contract/test_complete_script.py",
    ),
    Mutation(
        "a submit that is sent again is queued again",
        LUA + "submit.lua",
        "if marker[1] then",
        "if false then",
        "tests/contract/test_submit_script.py",
    ),
    Mutation(
        "entries are acknowledged when they are read",
        WORKER + "intake.py",
        "streams, count=_COUNT, block=BLOCK_MS",
        "streams, count=_COUNT, block=BLOCK_MS, noack=True",
        "tests/system/test_process_deaths.py",
    ),
    Mutation(
        "pending entries are never read again",
        WORKER + "intake.py",
        "return _entries(found, self._keys.requests)",
        "return []",
        "tests/system/test_process_deaths.py",
    ),
    Mutation(
        "identity is not compared around a read",
        WORKER + "terminal/switching.py",
        "if self._terminal.identity() != account:",
        "if False:",
        "tests/worker/terminal/test_switching.py",
    ),
    Mutation(
        "the client does not look whose reply it got",
        "gateway/mt5relay_gateway/answers.py",
        "if (reply.account, reply.operation) != asked:",
        "if False:",
        "tests/gateway/test_account_client.py",
    ),
    Mutation(
        "an error is read as an empty list",
        WORKER + "terminal/metatrader5.py",
        "            if why.code != SUCCESS:\n                raise self._explained(what, why)",
        "            if why.code != SUCCESS:\n                return ()",
        "tests/worker/terminal/test_metatrader5_adapter.py",
    ),
    Mutation(
        "a crash is charged to nobody",
        LUA + "acquire.lua",
        "redis.call('HINCRBY', marker, 'crashes', 1)",
        "redis.call('HINCRBY', marker, 'crashes', 0)",
        "tests/contract/test_lease_scripts.py",
    ),
    Mutation(
        "the trust in a lease counts from the answer",
        WORKER + "lease.py",
        "self._trusted_until = began + self._ttl",
        "self._trusted_until = anyio.current_time() + self._ttl",
        "tests/worker/test_lease.py",
    ),
    Mutation(
        "a neutral outcome closes the half-open breaker",
        WORKER + "breaker.py",
        "self._enter(BreakerState.OPEN, cause, now)\n            case _:",
        "self._close(cause, now)\n            case _:",
        "tests/worker/test_breaker.py",
    ),
    Mutation(
        "the terminal does not follow the newest arrival when nobody waits",
        WORKER + "schedule.py",
        "return Follow(backlog.newest_account)",
        "return Wait()",
        "tests/worker/scheduling",
    ),
)


def is_noticed(mutation: Mutation) -> bool:
    """Run the mutation's test in a mutated copy; True when it fails as it should."""
    with tempfile.TemporaryDirectory(prefix="mt5relay-mutation-") as scratch:
        copy = Path(scratch)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        _mutate(copy / mutation.file, mutation)
        folders = [str(copy / folder) for folder in ("gateway", "worker", "shared")]
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", mutation.test],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    return run.returncode == 1 and " failed" in run.stdout


def _mutate(path: Path, mutation: Mutation) -> None:
    text = path.read_text("utf-8")
    if mutation.old not in text:
        raise SystemExit(f"{mutation.name}: {mutation.file} no longer holds {mutation.old!r}")
    path.write_text(text.replace(mutation.old, mutation.new), "utf-8")


def main(names: list[str]) -> int:
    chosen = [one for one in MUTATIONS if not names or one.name in names]
    missed = 0
    print("| safeguard removed | test that fails |\n|---|---|", flush=True)
    for mutation in chosen:
        noticed = is_noticed(mutation)
        missed += not noticed
        verdict = f"`{mutation.test}`" if noticed else "**NOT NOTICED**"
        print(f"| {mutation.name} | {verdict} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
