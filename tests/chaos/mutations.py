"""Takes safeguards out, one at a time, and shows which tests and which proofs notice.

    python -m tests.chaos.mutations [NAME ...]

Each mutation is made in a copy of the tree; what still passes there checks nothing.
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
LIMIT = 600  # seconds for one witness of one mutation

CRASHES = "tests/chaos/test_crash_at_every_step.py"
MODEL = "tests/contract/test_script_model.py"
SIMULATION = "simulate --seeds 300"
CHAOS = "chaos --minutes 1 --seed 1"
PROOFS = {
    CRASHES: "crash at every step",
    MODEL: "stateful model",
    SIMULATION: "simulation",
    CHAOS: "chaos",
}
COMMANDS = {  # command of run.py -> its module, and what it prints of a broken promise only
    "simulate": ("tests.simulation.run", "tests.simulation.run --seed "),
    "chaos": ("tests.chaos.chaos", "VIOLATION "),
}


@dataclass(frozen=True)
class Mutation:
    """`old` in `file` becomes `new`; each of `witnesses` must fail then.

    A witness is what pytest is given, or a command of `run.py` with its arguments.
    """

    name: str
    file: str
    old: str
    new: str
    witnesses: tuple[str, ...]


LUA = "shared/mt5relay_shared/scripts/"
WORKER = "worker/mt5relay_worker/"

MUTATIONS = (
    Mutation(
        "replies are written without looking at the fence",
        LUA + "complete.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
        ("tests/contract/test_complete_script.py", MODEL, SIMULATION),
    ),
    Mutation(
        "health is published without looking at the fence",
        LUA + "renew.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
        ("tests/contract/test_lease_scripts.py",),
    ),
    Mutation(
        "a later reply overwrites the first",
        LUA + "complete.lua",
        "redis.call('SET', reply_key, reply, 'NX', 'PX', expiry)",
        "redis.call('SET', reply_key, reply, 'PX', expiry)",
        ("tests/contract/test_complete_script.py", MODEL),
    ),
    Mutation(
        "the submit script queues an id again that it has queued before",
        LUA + "submit.lua",
        "if known[1] then",
        "if false then",
        ("tests/contract/test_submit_script.py", MODEL),
    ),
    Mutation(
        "the submitter gives a request a new id when it sends it again",
        "gateway/mt5relay_gateway/submitter.py",
        "            loop.call_later(pause, self._enqueue, one)\n",
        "            again = f'{one.request.id}-again'\n"
        "            one.request = msgspec.structs.replace(one.request, id=again)\n"
        "            loop.call_later(pause, self._enqueue, one)\n",
        ("tests/gateway/test_recovery.py",),
    ),
    Mutation(
        "entries are acknowledged when they are read",
        WORKER + "intake.py",
        '*("COUNT", READ_COUNT, "BLOCK", self._block_ms),',
        '*("COUNT", READ_COUNT, "BLOCK", self._block_ms, "NOACK"),',
        ("tests/system/test_process_deaths.py", CRASHES, SIMULATION, CHAOS),
    ),
    Mutation(
        "pending entries are never read again",
        WORKER + "intake.py",
        "return _entries(found, self._keys.requests)",
        "return []",
        ("tests/system/test_process_deaths.py", CRASHES),
    ),
    Mutation(
        "pending entries are claimed by idle time",
        WORKER + "intake.py",
        '        found = await self._read("COUNT", READ_COUNT, "STREAMS", '
        "self._keys.requests, cursor)\n"
        "        return _entries(found, self._keys.requests)\n",
        "        _, rows, _ = await self._redis.xautoclaim(\n"
        "            self._keys.requests, WORKER_GROUP, WORKER_CONSUMER, 60_000, cursor\n"
        "        )\n"
        "        found = [Entry(entry.decode(), _body(fields)) for entry, fields in rows]\n"
        "        return [one for one in found if one.id != cursor]\n",
        ("tests/system/test_process_deaths.py", CRASHES, SIMULATION),
    ),
    Mutation(
        "identity is not compared around a read",
        WORKER + "terminal/switching.py",
        "if found != account:",
        "if False:",
        ("tests/worker/terminal/test_switching.py",),
    ),
    Mutation(
        "the client does not look whose reply it got",
        "gateway/mt5relay_gateway/answers.py",
        "if (reply.account, reply.operation) != asked:",
        "if False:",
        ("tests/gateway/test_account_client.py",),
    ),
    Mutation(
        "an error is read as an empty list",
        WORKER + "terminal/metatrader5.py",
        "            if why.code != SUCCESS:\n                raise self._explained(what, why)",
        "            if why.code != SUCCESS:\n                return ()",
        ("tests/worker/terminal/test_metatrader5_adapter.py",),
    ),
    Mutation(
        "a crash is charged to nobody",
        LUA + "acquire.lua",
        "redis.pcall('HINCRBY', marker, 'crashes', 1)",
        "redis.pcall('HINCRBY', marker, 'crashes', 0)",
        ("tests/contract/test_lease_scripts.py",),
    ),
    Mutation(
        "the trust in a lease counts from the answer",
        WORKER + "lease.py",
        "self._trusted_until = began + self._ttl",
        "self._trusted_until = anyio.current_time() + self._ttl",
        ("tests/worker/test_lease.py",),
    ),
    Mutation(
        "a neutral outcome closes the half-open breaker",
        WORKER + "breaker.py",
        "self._enter(BreakerState.OPEN, cause, now)\n            case _:",
        "self._close(cause, now)\n            case _:",
        ("tests/worker/test_breaker.py",),
    ),
    Mutation(
        "the terminal does not follow the newest arrival when nobody waits",
        WORKER + "schedule.py",
        "return Follow(newest) if allowed_ms <= now_ms else Wait(allowed_ms)",
        "return Wait()",
        ("tests/worker/scheduling",),
    ),
)


def is_noticed(mutation: Mutation, witness: str) -> bool:
    """Run the witness in a mutated copy; True when it fails as it should."""
    with tempfile.TemporaryDirectory(prefix="mt5relay-mutation-") as scratch:
        copy = Path(scratch)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        _mutate(copy / mutation.file, mutation)
        arguments, complaint = _run_of(witness)
        folders = [str(copy / folder) for folder in ("gateway", "worker", "shared")]
        run = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    return run.returncode == 1 and complaint in run.stdout


def _run_of(witness: str) -> tuple[list[str], str]:
    """What to run, and what stands in its output when it noticed something."""
    command, *arguments = witness.split()
    if command not in COMMANDS:
        return ["pytest", "-q", "-x", witness], " failed"
    module, complaint = COMMANDS[command]
    return [module, *arguments], complaint


def _mutate(path: Path, mutation: Mutation) -> None:
    text = path.read_text("utf-8")
    if mutation.old not in text:
        raise SystemExit(f"{mutation.name}: {mutation.file} no longer holds {mutation.old!r}")
    path.write_text(text.replace(mutation.old, mutation.new), "utf-8")


def main(names: list[str]) -> int:
    if unknown := set(names).difference(one.name for one in MUTATIONS):
        raise SystemExit(f"no mutation is named {sorted(unknown)}")
    missed = 0
    print("| safeguard removed | what fails | proof |\n|---|---|---|", flush=True)
    for mutation in MUTATIONS:
        if names and mutation.name not in names:
            continue
        for witness in mutation.witnesses:
            noticed = is_noticed(mutation, witness)
            missed += not noticed
            verdict = f"`{witness}`" if noticed else f"**NOT NOTICED** by `{witness}`"
            print(f"| {mutation.name} | {verdict} | {PROOFS.get(witness, '')} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
