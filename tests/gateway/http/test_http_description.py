"""What the gateway says of itself is true: every call that its OpenAPI description allows.

`MT5RELAY_SCHEMATHESIS_EXAMPLES` examples are made for each operation and caller; 5 where nothing is
said. Beside them come the cases that schemathesis derives from the description by itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.gateway.http.description_server import running_gateway

from mt5relay_gateway.http import HttpSettings
from mt5relay_shared.keys import Keys

pytestmark = pytest.mark.integration

EXAMPLES = int(os.environ.get("MT5RELAY_SCHEMATHESIS_EXAMPLES", "5"))
LIMIT = 1_800  # seconds

# Refused as 422 is what is well formed but makes no sense, which JSON Schema can't say: a range
# that ends before it begins, the 31st of February, one idempotency key for two questions.
CONFIG = """
generation.deterministic = true
generation.database = "none"
request-timeout = 20.0
[checks]
positive_data_acceptance.expected-statuses = [
    "2xx", "304", "401", "403", "404", "409", "415", "422", "424", "429", "5xx"
]
"""


@pytest.mark.parametrize("caller", ["with a token", "without one"])
def test_schemathesis_finds_nothing(
    settings: HttpSettings, keys: Keys, tmp_path: Path, caller: str
) -> None:
    config = CONFIG
    with running_gateway(settings, keys) as running:
        if caller == "with a token":
            config += f'[headers]\nAuthorization = "Bearer {running.token}"\n'
        file = tmp_path / "schemathesis.toml"
        file.write_text(config, "utf-8")
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(file), "run"),
                *(f"{running.address}/openapi.json", "--checks", "all"),
                *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"),
                *("--exclude-path", "/v1/events"),  # it never ends
            ],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    print(ended.stdout[-6000:])  # noqa: T201 - shown where it fails
    assert ended.returncode == 0, ended.stderr[-2000:]
    generated = re.search(r"(\d[\d,]*) generated", ended.stdout)
    assert generated is not None
    assert int(generated[1].replace(",", "")) >= 300
