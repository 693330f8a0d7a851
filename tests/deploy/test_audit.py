"""Open advisories fail the audit; an audit that could ask nobody says that it did nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.conftest import ROOT

pytestmark = pytest.mark.integration

CLEAN: dict[str, Any] = {"name": "redis", "version": "8.1.0", "vulns": []}
OPEN: dict[str, Any] = {
    "name": "anyio",
    "version": "4.9.0",
    "vulns": [{"id": "GHSA-xxxx", "fix_versions": ["4.9.1"]}],
}
UNKNOWN: dict[str, Any] = {"name": "rich", "skip_reason": "not found"}

Audit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Run the audit with a pip-audit that answers as it is told."""
    (tmp_path / "pip_audit").mkdir()
    (tmp_path / "pip_audit" / "__init__.py").touch()
    main = tmp_path / "pip_audit" / "__main__.py"

    def run(answer: str, *words: str) -> subprocess.CompletedProcess[str]:
        main.write_text(f"print({answer!r})", "utf-8")
        return subprocess.run(
            [sys.executable, ROOT / "deploy" / "audit.py", *words],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def dependencies(*found: dict[str, Any]) -> str:
    return json.dumps({"dependencies": found})


def test_an_open_advisory_fails_and_says_where_it_is_mended(audit: Audit) -> None:
    ran = audit(dependencies(CLEAN, OPEN))
    assert ran.returncode == 1
    assert "deploy/gateway/requirements.txt: anyio 4.9.0: GHSA-xxxx; fixed in: 4.9.1" in ran.stdout
    assert "deploy/windows/requirements.txt: anyio" in ran.stdout


def test_without_an_open_advisory_it_passes_and_names_what_was_not_audited(audit: Audit) -> None:
    ran = audit(dependencies(CLEAN, UNKNOWN), "--required")
    assert ran.returncode == 0
    assert "no open advisory for 1 packages; not audited: rich" in ran.stdout


@pytest.mark.parametrize("answer", [dependencies(UNKNOWN), "", "no JSON", "{}"])
def test_where_nobody_could_be_asked_it_is_skipped_aloud(audit: Audit, answer: str) -> None:
    ran = audit(answer)
    assert ran.returncode == 0
    assert ran.stdout.count("SKIPPED, nothing was audited") == 2
    assert audit(answer, "--required").returncode == 3
