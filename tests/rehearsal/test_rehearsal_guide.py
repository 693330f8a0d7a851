"""A rehearsal carries out the guide's own text, with other places and ports and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.rehearsal.guide import PORTS, Substitutions, blocks_of, script_of
from tests.rehearsal.host import ROOT, STAND_INS

pytestmark = pytest.mark.integration

PAGE = (ROOT / "deploy" / "README.md").read_text("utf-8")
HERE = Substitutions(Path("/scratch"), {6380: 40001, 8080: 40002})


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("cp x /etc/mt5relay/tls/", "cp x /scratch/etc/mt5relay/tls/"),
        ("ExecStart=/opt/mt5relay/bin/mt5relay", "ExecStart=/scratch/opt/mt5relay/bin/mt5relay"),
        ("dir /var/lib/mt5relay-redis", "dir /scratch/var/lib/mt5relay-redis"),
        (
            "/opt/mt5/%i:/run/mt5relay-worker-%i",
            "/scratch/opt/mt5/%i:/scratch/run/mt5relay-worker-%i",
        ),
        ("ssl_ca_certs=/etc/mt5relay/ca", "ssl_ca_certs=/scratch/etc/mt5relay/ca"),
        ("/usr/bin/redis-server /etc/passwd", "/usr/bin/redis-server /etc/passwd"),
        ("~/etc/mt5relay ./opt/mt5", "~/etc/mt5relay ./opt/mt5"),
        ("tls-port 6380", "tls-port 40001"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:40002/v1"),
        ("16380 80800", "16380 80800"),
    ],
)
def test_places_and_ports_are_replaced_and_nothing_else(text: str, moved: str) -> None:
    assert HERE.apply(text) == moved


def test_a_page_is_read_block_by_block() -> None:
    page = "# One\n\n```bash\na\nb\n```\ntext\n\n## Two\n\n```\nshown\n```\n```bash\nc\n```\n"
    read = [(one.language, one.text, one.heading, one.line) for one in blocks_of(page)]
    assert read == [
        ("bash", "a\nb\n", "One", 4),
        ("", "shown\n", "Two", 12),
        ("bash", "c\n", "Two", 15),
    ]
    assert [one.text for one in script_of(page)] == ["a\nb\n", "c\n"]


def test_the_guide_says_what_is_replaced() -> None:
    said = PAGE.split("\n## Rehearse\n", 1)[1].split("\n## ", 1)[0]
    for name in (*STAND_INS, "systemctl", "python3", *map(str, PORTS)):
        assert name in said, name


def test_the_guide_leads_through_all_of_a_system() -> None:
    """One block at least of each part that a system needs."""
    headings = {block.heading for block in script_of(PAGE)}
    assert [heading.partition(".")[0] for heading in sorted(headings)] == ["1", "3", "4", "5", "6"]
    text = "".join(block.text for block in script_of(PAGE))
    for word in ("certificates.py", "passwords.py", "keygen", "accounts add", "tokens add", "curl"):
        assert word in text, word
