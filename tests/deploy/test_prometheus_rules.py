"""Alerts and dashboard: read by promtool, tested, and about figures that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.conftest import DEPLOY, run_tool, tool, yaml_documents

pytestmark = pytest.mark.integration

PROMETHEUS = DEPLOY / "prometheus"
RULES = PROMETHEUS / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
REMEDY = "on Debian, install the package prometheus"
_METRIC = re.compile(r"\bmt5relay_[a-z0-9_]+")


def alerts() -> list[Any]:
    (found,) = yaml_documents(RULES)
    return [rule for group in found["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    """The dashboard's, as Prometheus would be asked them."""
    board = json.loads(DASHBOARD.read_text("utf-8"))
    targets = [target for panel in board["panels"] for target in panel.get("targets", [])]
    asked = [one["expr"] for one in (*targets, *board["annotations"]["list"])]
    values = {"$__rate_interval": "1m", "$__range": "3h", "$terminal": ".*"}
    for name, value in values.items():
        asked = [one.replace(name, value) for one in asked]
    return asked


def exposed() -> set[str]:
    """The names of everything that a gateway tells, of a worker in full health."""
    pytest.importorskip("prometheus_client", reason="pip install 'mt5relay[http]'")
    from mt5relay_gateway.http.exposition import exposition
    from mt5relay_gateway.http.metrics import Measures
    from mt5relay_gateway.http.monitor import Sight
    from mt5relay_shared.health import BreakerState, ConnectionState, Health, Status

    measures = Measures()
    measures.answered("positions", "ok", 0.1)
    measures.aged("positions", "terminal", 0.1)
    health = Health(
        status=Status.OK, state=ConnectionState.CONNECTED, detail="idle", state_since_ms=1,
        breaker=BreakerState.CLOSED, connection_ok=True, auth_ok=True, data_feed_ok=True,
        latency_ms=1.0, last_error_at_ms=1, last_success_at_ms=1, worker_id="w", fence=1,
        started_at_ms=1, heartbeat_at_ms=1, version="1", pool_limit=20, switch_p50_ms=1,
        switch_p95_ms=1, read_p95_ms=1,
    )  # fmt: skip
    told = exposition(measures.registry, [Sight("main", health, 2, 0)]).decode()
    return {line.split("{")[0].split(" ")[0] for line in told.splitlines() if line[:1] != "#"}


def test_promtool_reads_the_rules() -> None:
    ran = run_tool(tool("promtool", REMEDY), "check", "rules", "--lint-fatal", RULES)
    assert ran.returncode == 0, ran.stdout


def test_promtool_reads_the_configuration(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("invented")
    text = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
    text = re.sub(r"credentials_file: \S+", f"credentials_file: {token}", text)
    (tmp_path / "prometheus.yml").write_text(text, "utf-8")
    (tmp_path / "rules.yml").write_text(RULES.read_text("utf-8"), "utf-8")
    ran = run_tool(tool("promtool", REMEDY), "check", "config", tmp_path / "prometheus.yml")
    assert ran.returncode == 0, ran.stdout


def test_alerts_fire_when_they_should_and_else_do_not() -> None:
    ran = run_tool(tool("promtool", REMEDY), "test", "rules", "rules_test.yml", cwd=str(PROMETHEUS))
    assert ran.returncode == 0, ran.stdout


def test_promtool_reads_the_dashboards_queries(tmp_path: Path) -> None:
    """As rules, since that is what it can check without a server."""
    rules = [{"record": f"query:{at}", "expr": one} for at, one in enumerate(queries())]
    assert len(rules) > 20
    file = tmp_path / "queries.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    ran = run_tool(tool("promtool", REMEDY), "check", "rules", file)
    assert ran.returncode == 0, ran.stdout


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tested = (PROMETHEUS / "rules_test.yml").read_text("utf-8")
    assert [one["alert"] for one in alerts() if f'alertname="{one["alert"]}"' not in tested] == []


def test_an_alert_says_what_how_grave_and_where_to_read_on() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"].endswith(f"#{alert['alert'].lower()}")


def test_alerts_and_dashboard_ask_for_figures_that_exist() -> None:
    asked = [one["expr"] for one in alerts()] + queries()
    wanted = {name for one in asked for name in _METRIC.findall(one)}
    assert len(wanted) > 20
    assert wanted - exposed() == set()
