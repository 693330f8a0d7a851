"""What runs beside the terminal runs on Windows: it relies on nothing that POSIX alone has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mt5relay_shared
import mt5relay_worker

POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty", "uvloop"}
POSIX_NAMES = {
    "add_signal_handler",
    "fork",
    "forkpty",
    "geteuid",
    "getuid",
    "killpg",
    "open_unix_connection",
    "preexec_fn",
    "setsid",
    "start_new_session",
    "SIGALRM",
    "SIGCHLD",
    "SIGHUP",
    "SIGKILL",
    "SIGQUIT",
    "SIGUSR1",
    "SIGUSR2",
}
GUARDS = ("os.name", "sys.platform", "hasattr(")

ROOTS = [Path(package.__path__[0]) for package in (mt5relay_worker, mt5relay_shared)]
FILES = sorted(file for root in ROOTS for file in root.rglob("*.py"))


def posix_uses(source: str) -> list[str]:
    """Names that exist on POSIX alone, where no condition asks which system this is."""
    return [use for node in _unguarded(ast.parse(source)) for use in _posix_names(node)]


def _unguarded(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not _is_guarded(child):
            yield from _unguarded(child)


def _is_guarded(node: ast.AST) -> bool:
    if not isinstance(node, ast.If | ast.IfExp):
        return False
    return any(guard in ast.unparse(node.test) for guard in GUARDS)


def _posix_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (one.name for one in names if one.name.partition(".")[0] in POSIX_MODULES)
        case ast.ImportFrom(str() as module):
            if module.partition(".")[0] in POSIX_MODULES:
                yield module
        case ast.Attribute(attr=name) | ast.keyword(arg=str() as name):
            if name in POSIX_NAMES:
                yield name
        case _:
            pass


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_that_windows_lacks_is_used(file: Path) -> None:
    assert posix_uses(file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import fcntl", ["fcntl"]),
        ("from uvloop import install", ["uvloop"]),
        ("loop.add_signal_handler(2, stop)", ["add_signal_handler"]),
        ("os.kill(1, signal.SIGKILL)", ["SIGKILL"]),
        ("Popen(x, preexec_fn=f)", ["preexec_fn"]),
        ("if os.name == 'posix':\n    os.fork()", []),
        ("if hasattr(signal, 'SIGHUP'):\n    signal.SIGHUP", []),
        ("os.kill(1, signal.SIGTERM)", []),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, found: list[str]) -> None:
    assert posix_uses(source) == found


def test_the_search_looks_at_both_packages() -> None:
    assert {"host.py", "signals.py", "redis_client.py"} <= {file.name for file in FILES}
