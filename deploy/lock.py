"""Writes the requirement files: every package of a role, its version and its hashes.

    python3 deploy/lock.py              keeps the versions that stand there where they still fit
    python3 deploy/lock.py --upgrade    takes the newest that fit
    python3 deploy/lock.py --check      writes nothing; the exit status is 1 where one is outdated

It needs uv (`pip install uv`). The files serve every platform and Python from 3.11 on, and name no
index: pip asks the one that it is set up for, and refuses what has another hash.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROLES = {
    "deploy/gateway/requirements.txt": "http",
    "deploy/windows/requirements.txt": "metatrader5",
    "tests/requirements.txt": "test",
}
"""File -> the extra of pyproject.toml that the role has beside the dependencies of all."""

HEADER = """\
# What mt5relay[{extra}] needs. Made by: python3 deploy/lock.py
# Install with: pip install --require-hashes -r {file}, then the wheel with --no-deps.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    outdated: list[str] = []
    for file, extra in ROLES.items():
        path = ROOT / file
        before = path.read_text("utf-8") if path.exists() else ""
        after = HEADER.format(extra=extra, file=file) + resolved(extra, before, given.upgrade)
        if after != before:
            outdated.append(file)
            if not given.check:
                path.write_text(after, "utf-8", newline="\n")
    sys.stdout.write("".join(f"{file}: changed\n" for file in outdated) or "all are up to date\n")
    return 1 if given.check and outdated else 0


def resolved(extra: str, before: str, upgrade: bool) -> str:
    """The body of a requirement file; versions in `before` are kept unless told otherwise."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "requirements.txt"
        output.write_text(before, "utf-8")
        command = [uv, "pip", "compile", "pyproject.toml", "--extra", extra, "--quiet"]
        command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-header", "--no-annotate", "--output-file", str(output)]
        command += ["--upgrade"] if upgrade else []
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own command
        return output.read_text("utf-8")


if __name__ == "__main__":
    sys.exit(main())
