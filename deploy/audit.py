"""Asks pip-audit about every pinned package, and fails where an advisory is open.

    python3 deploy/audit.py [--required]

It needs pip-audit (`pip install pip-audit`) and a way to its advisories. Where nothing could be
asked it says so, with status 0; with --required that is a failure too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILES = ("deploy/gateway/requirements.txt", "deploy/windows/requirements.txt")
UNREACHABLE = 3
NOTHING, FOUND = 0, 1
LIMIT = 300.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--required", action="store_true")
    given = parser.parse_args()
    statuses = [judge(file, ask(file)) for file in FILES]
    if FOUND in statuses:
        return FOUND
    return UNREACHABLE if given.required and UNREACHABLE in statuses else NOTHING


def ask(file: str) -> list[Any] | str:
    """What is known of each package of a file, or why nothing is."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", file, "--require-hashes"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "20"]
    try:
        ran = subprocess.run(  # noqa: S603 - our own command
            command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False
        )
        found: list[Any] = json.loads(ran.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"no answer within {LIMIT:g} s"
    except (ValueError, KeyError):
        return (ran.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1][:200]
    return found


def judge(file: str, found: list[Any] | str) -> int:
    """Say what was found of one file."""
    if isinstance(found, str):
        say(f"{file}: SKIPPED, nothing was audited: {found}")
        return UNREACHABLE
    audited = [one for one in found if "vulns" in one]
    skipped = [one["name"] for one in found if "vulns" not in one]
    open_ones = [(one, vulnerability) for one in audited for vulnerability in one["vulns"]]
    for one, vulnerability in open_ones:
        fixed = ", ".join(vulnerability.get("fix_versions", ())) or "none yet"
        say(f"{file}: {one['name']} {one['version']}: {vulnerability['id']}; fixed in: {fixed}")
    if open_ones:
        return FOUND
    if not audited:
        say(f"{file}: SKIPPED, nothing was audited: no advisories can be had of any package here")
        return UNREACHABLE
    left = f"; not audited: {', '.join(skipped)}" if skipped else ""
    say(f"{file}: no open advisory for {len(audited)} packages{left}")
    return NOTHING


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
