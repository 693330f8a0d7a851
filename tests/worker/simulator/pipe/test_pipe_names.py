"""The pipe is called what the package was seen to look for."""

from __future__ import annotations

import pytest

from mt5relay_worker.simulator.pipe.names import PREFIX, pipe_name

OF_A_FILE = "6F821A51B68B2B4439CD7C3072603DB9B1CB3F474E8BC649CD6CF2E1EC51A1AD"
OF_NO_FILE = "A74A3AB803BAA87A0FEB377E2B9A23EE72B1E74B41C84C8F2B5D277EA51AE86B"


@pytest.mark.parametrize(
    ("path", "exists", "digest"),
    [
        ("C:\\sim5\\terminal64.exe", True, OF_A_FILE),
        ("c:\\SIM5\\Terminal64.exe", True, OF_A_FILE),
        ("\\\\?\\C:\\sim5\\terminal64.exe", True, OF_A_FILE),
        ("C:\\sim\\terminal64.exe", False, OF_NO_FILE),
    ],
)
def test_the_name_is_the_digest_of_the_final_path(path: str, exists: bool, digest: str) -> None:
    assert pipe_name(path, exists=exists) == PREFIX + digest
