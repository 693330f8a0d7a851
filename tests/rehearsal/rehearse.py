"""From zero to production on this machine, by the text of `deploy/README.md` itself.

    python3 run.py rehearse            a scratch folder, removed afterwards
    python3 run.py rehearse --keep     leave the folder: logs are in host/var/log

Exit status: 0 when every step went well, 1 when one failed, 2 where something is missing here.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.rehearsal.checks import CheckFailedError, Checks
from tests.rehearsal.guide import Block, script_of
from tests.rehearsal.host import ROOT, Host, end_processes_of, prepared_host
from tests.rehearsal.shell import BlockFailedError, Shell
from tests.rehearsal.supervisor import Supervisor

PAGE = "deploy/README.md"
WHOLE_LIMIT = 300.0  # seconds
NEEDED = {
    "bash": "bash",
    "curl": "curl",
    "redis-server": "redis-server",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}
SHOWN = 60  # lines of what a failed step said


class Rehearsal:
    """Takes the steps, and tells of each whether it went well and how long it took."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.supervisor = Supervisor(host.root)
        self.began = time.monotonic()
        self.steps = 0

    @property
    def left(self) -> float:
        return WHOLE_LIMIT - (time.monotonic() - self.began)

    def run(self) -> bool:
        """Whether every step went well. Nothing runs any more afterwards."""
        shell = Shell(self.host.checkout, self.host.scratch, self.host.environment())
        try:
            with self.supervisor.listening():
                if not self._follow(shell):
                    return False
                shell.close()  # the person at the prompt has done
                return self._check()
        finally:
            shell.close()
            end_processes_of(self.host.scratch)

    def _follow(self, shell: Shell) -> bool:
        page = (ROOT / PAGE).read_text("utf-8")
        here = script_of(self.host.substitutions.apply(page))
        return bool(here) and all(
            self._step(
                f"{PAGE}:{shown.line}  {titled(shown)}", partial(self._carry_out, shell, block)
            )
            for shown, block in zip(script_of(page), here, strict=True)
        )

    def _carry_out(self, shell: Shell, block: Block) -> None:
        shell.run(block, self.left)

    def _check(self) -> bool:
        checks = Checks(self.host, self.supervisor)
        steps = [*checks.in_order(), *checks.at_the_end()]
        return all(self._step(step.__name__.replace("_", " "), step) for step in steps)

    def _step(self, title: str, act: Callable[[], object]) -> bool:
        began = time.monotonic()
        try:
            if self.left <= 0:
                raise CheckFailedError(f"{WHOLE_LIMIT:.0f} s are over")
            act()
        except (BlockFailedError, CheckFailedError) as failed:
            tell(f"✗ {time.monotonic() - began:5.1f} s  {title}")
            tell("\n".join(str(failed).splitlines()[-SHOWN:]))
            for service in self.supervisor.services.values():
                tell(f"---- log of {service.unit.name} ----\n{service.tail()}")
            return False
        self.steps += 1
        tell(f"✓ {time.monotonic() - began:5.1f} s  {title}")
        return True


def titled(block: Block) -> str:
    """Where it stands and what it begins with, to know it again."""
    title = f"{block.heading}: {block.text.partition(chr(10))[0]}"
    return title if len(title) <= 66 else f"{title[:65]}…"


def missing() -> list[str]:
    """Packages of Debian that would have to be installed first."""
    return [package for name, package in NEEDED.items() if shutil.which(name) is None]


def tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command


def main(words: Sequence[str]) -> int:
    options = argparse.ArgumentParser(
        prog="run.py rehearse", description=f"Follow {PAGE} in a scratch folder, then check it."
    )
    options.add_argument("--keep", action="store_true", help="leave the folder there")
    asked = options.parse_args(words)
    if absent := missing():
        tell(f"missing here; on Debian: apt-get install {' '.join(absent)}")
        return 2
    scratch = Path(tempfile.mkdtemp(prefix="mt5relay-rehearsal-"))
    try:
        rehearsal = Rehearsal(prepared_host(scratch))
        well = rehearsal.run()
        took = time.monotonic() - rehearsal.began
        outcome = "all went well" if well else "FAILED at the step above"
        tell(f"{rehearsal.steps} steps in {took:.0f} s: {outcome}")
        return 0 if well else 1
    finally:
        if asked.keep:
            tell(f"kept: {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
