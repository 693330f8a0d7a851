"""What the simulator's README promises a user of MetaTrader5 is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mt5relay_worker import simulator

README = Path(simulator.__file__).parent / "README.md"
YOUR_CODE = """
import time
import MetaTrader5 as mt5
from MetaTrader5 import TIMEFRAME_M1

assert mt5.initialize(login=LOGIN, password="PASSWORD", server="SERVER"), mt5.last_error()
print(mt5.account_info().login, mt5.positions_get())
time.sleep(0.6)
print(len(mt5.positions_get()), len(mt5.copy_rates_from_pos("EURUSD", TIMEFRAME_M1, 0, 10)))
"""


def readme() -> str:
    return README.read_text("utf-8")


def example() -> str:
    found = re.search(r"```python\n(.*?)```", readme(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_has_five_lines() -> None:
    assert len([line for line in example().splitlines() if line]) == 5


def test_the_example_runs_code_that_imports_the_package(tmp_path: Path) -> None:
    named = re.search(r"always (\d+), `([^`]+)`, `([^`]+)`", readme())
    assert named is not None
    login, password, server = named.groups()
    code = YOUR_CODE.replace("LOGIN", login).replace("PASSWORD", password)
    (tmp_path / "your_code.py").write_text(code.replace("SERVER", server))
    (tmp_path / "example.py").write_text(example())
    seen = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert seen.returncode == 0, seen.stderr
    first, second = seen.stdout.splitlines()
    assert first == f"{login} ()"
    positions, bars = second.split()
    assert int(positions) > 0
    assert bars == "10"
