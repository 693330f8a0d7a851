"""The manifests of the gateway: by Kubernetes' own schemas, and hardened."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deploy.conftest import DEPLOY, package, yaml_documents

pytestmark = pytest.mark.integration

FOLDER = DEPLOY / "kubernetes"
MANIFESTS = [FOLDER / "gateway.yaml", FOLDER / "network.yaml"]
KUBERNETES = "1.30"


def resources() -> list[Any]:
    return [one for manifest in MANIFESTS for one in yaml_documents(manifest)]


def the(kind: str) -> Any:
    (found,) = [one for one in resources() if one["kind"] == kind]
    return found


def test_they_fit_the_schemas_of_kubernetes() -> None:
    validation = package("kubernetes_validate", "pip install kubernetes-validate")
    for one in resources():
        validation.validate(one, KUBERNETES, strict=True)


def test_kustomize_names_every_manifest() -> None:
    (found,) = yaml_documents(FOLDER / "kustomization.yaml")
    assert found["resources"] == [manifest.name for manifest in MANIFESTS]


def test_the_gateway_has_no_more_rights_than_it_needs() -> None:
    pod = the("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_gateway_asks_for_paths_that_exist() -> None:
    pytest.importorskip("starlette", reason="pip install 'mt5relay[http]'")
    from mt5relay_gateway.http.routes import ENDPOINTS

    served = {endpoint.path for endpoint in ENDPOINTS}
    (container,) = the("Deployment")["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{name}Probe"] for name in ("liveness", "readiness", "startup")]
    assert {probe["httpGet"]["path"] for probe in probes} <= served


def test_a_service_finds_the_pods() -> None:
    labels = the("Deployment")["spec"]["template"]["metadata"]["labels"]
    for kind, at in (("Service", "selector"), ("PodDisruptionBudget", "selector")):
        wanted = the(kind)["spec"][at]
        assert wanted.get("matchLabels", wanted) == labels


def test_no_manifest_holds_a_secret() -> None:
    assert [one["kind"] for one in resources() if one["kind"] == "Secret"] == []
    container = the("Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert {"secretRef": {"name": "mt5relay-gateway"}} in container["envFrom"]
