"""Commands of the documentation that no test runs as they stand there, with the reason. They are
checked against the programs' own arguments all the same. A command that is neither run nor here
fails `test_documented_commands.py`, as does an entry for a command that is not shown any more."""

from __future__ import annotations

MINUTES = "takes minutes; continuous integration runs it, or a shorter form of it"
NOT_RUN = {
    ".ci/run": "is what runs this test",
    "python3 run.py check": MINUTES,
    "python3 run.py unit": MINUTES,
    "python3 run.py test": MINUTES,
    "python3 run.py coverage": MINUTES,
    "python3 run.py simulate": MINUTES,
    "python3 run.py chaos": MINUTES,
    "python3 run.py hostile": MINUTES,
    "python3 run.py rehearse": MINUTES,
    "python3 run.py conformance": "tests/conformance runs its runner",
    "python3 run.py bench": MINUTES,
    "mt5relay-worker probe": "waits between dozens of logins; tests/worker/probe runs it",
}
"""By the beginning of the command."""

UNRUNNABLE = {
    "worker/README.md": "a fragment whose parts stand in tests/worker/test_connection_manager.py",
}
"""Pages whose blocks of Python are parsed and not run."""
