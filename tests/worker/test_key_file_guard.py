"""Whom a Windows security descriptor lets read a private key: SDDL, alike in every language."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mt5relay_shared.errors import MT5ValidationError
from mt5relay_worker.key_file_guard import create_owner_only, readers_in, require_owner_only

USER = "S-1-5-21-1004336348-1177238915-682003330-1001"
OWN = f"O:{USER}D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{USER})"


@pytest.mark.parametrize(
    "sddl",
    [
        OWN,
        f"O:{USER}G:{USER}D:PAI(A;;FA;;;{USER})",
        "D:P(A;;FA;;;OW)",
        "D:P",  # nobody but the owner, who may change that
        f"O:BAD:(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;FA;;;{USER})",  # a user's profile
        "D:P(D;;FA;;;WD)(A;;FA;;;SY)",  # refused, not granted
        "D:P(A;OICIIO;GA;;;WD)(A;;FA;;;SY)",  # only for what lies in a folder
        "D:P(A;;0x100080;;;WD)",  # to see that it is there, not what it holds
        "D:P(A;;RC;;;BU)",
        "D:P(A;;FA;;;SY)S:(AU;SAFA;FA;;;WD)",  # what is written down, not what is granted
    ],
)
def test_the_owner_the_system_and_administrators_may_read_it(sddl: str) -> None:
    assert readers_in(sddl) == []


@pytest.mark.parametrize(
    ("sddl", "reader"),
    [
        (f"{OWN}(A;;FR;;;WD)", "Everyone"),
        ("D:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)", "Users"),  # a folder in the root of a disk
        ("D:AI(A;ID;0x1301bf;;;AU)", "Authenticated Users"),
        ("D:(A;;GR;;;S-1-1-0)", "Everyone"),
        ("D:(A;;GA;;;S-1-5-32-545)", "Users"),
        ("D:(A;;FA;;;S-1-5-11)", "Authenticated Users"),
        ("D:(A;;0x80000000;;;BG)", "Guests"),
        ("D:(A;;CC;;;IU)", "Interactive users"),
        ("D:(A;;WD;;;BU)", "Users"),  # may give themselves the right
        (f"D:(A;;FR;;;{USER[:-4]}513)", "Domain Users"),
        ("D:(XA;;FR;;;WD;(Member_of {SID(BA)}))", "Everyone"),
        ("D:(A;;1179785;;;WD)", "Everyone"),
        ("D:NO_ACCESS_CONTROL", "Everyone"),
        (f"O:{USER}", "Everyone"),  # no list at all
        ("", "Everyone"),
    ],
)
def test_who_is_many_people_may_not(sddl: str, reader: str) -> None:
    assert reader in readers_in(sddl)


@pytest.mark.skipif(sys.platform != "win32", reason="only Windows has such lists")
def test_on_windows_a_new_file_inherits_nothing_and_an_open_one_is_refused(tmp_path: Path) -> None:
    made, copied = tmp_path / "made.key", tmp_path / "copied.key"
    create_owner_only(made, b"invented")
    require_owner_only(made)
    program = shutil.which("icacls")
    assert program is not None
    subprocess.run([program, str(tmp_path), "/grant", "*S-1-1-0:(OI)(CI)R"], check=True)
    require_owner_only(made)
    copied.write_bytes(made.read_bytes())
    with pytest.raises(MT5ValidationError, match=r"Everyone may read .*icacls"):
        require_owner_only(copied)


def test_a_file_that_cannot_be_written_in_full_is_not_left_there(tmp_path: Path) -> None:
    existing = tmp_path / "mt5relay.key"
    create_owner_only(existing, b"the first")
    with pytest.raises(FileExistsError):
        create_owner_only(existing, b"the second")
    assert existing.read_bytes() == b"the first"
