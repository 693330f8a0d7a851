from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def test_callers_see_precise_types_and_their_mistakes_are_found() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", str(Path(__file__).with_name("public_api.py"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
