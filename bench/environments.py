"""The interpreters of the contestants: the benchmark's own, but for arq, which needs redis < 6."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.processes import ROOT, BenchError

ARQ_REQUIREMENTS = ("arq==0.28.*", "hiredis>=3", "msgspec>=0.20")


def pythons(names: tuple[str, ...]) -> dict[str, Path]:
    """The interpreter of each contestant; makes arq's own environment where it is missing."""
    here = Path(sys.executable)
    return {name: arq_python() if name == "arq" else here for name in names}


def arq_python() -> Path:
    """An environment of its own, beside the ones that `run.py` makes.

    Raises:
        BenchError: it could not be made.
    """
    path = ROOT / ".run" / "bench-arq"
    python = path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = path / "stamp"
    wanted = "\n".join((sys.version, *ARQ_REQUIREMENTS))
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(path)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *ARQ_REQUIREMENTS])
    stamp.write_text(wanted, "utf-8")
    return python


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise BenchError(f"arq's environment: {' '.join(command[1:4])} failed")
