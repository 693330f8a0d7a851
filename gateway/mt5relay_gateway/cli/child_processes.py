"""How the processes that a command starts are kept out of its Ctrl-C.

A console sends Ctrl-C to its whole foreground group: the store would be gone before the worker
could give back its lease. In groups of their own, they end in the order in which the command
ends them.
"""

from __future__ import annotations

import os
import subprocess

PROCESS_GROUP = 0 if os.name == "posix" else None  # 0: a new group
CREATION_FLAGS: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # 0 but on Windows
