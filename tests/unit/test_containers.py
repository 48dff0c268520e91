"""The container files hold together, as far as can be said without a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local.kafka import PROPERTIES
from streamer.settings import Settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
# What is about addresses and paths differs between a container and a loopback port.
PLACE_PROPERTIES = {
    "node.id",
    "process.roles",
    "controller.quorum.voters",
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "log.dirs",
}


def check(*command: str | Path) -> str:
    result = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command[0]} says:\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services as Compose understands them, anchors and defaults resolved."""
    found: dict[str, Any] = json.loads(check(BIN / "docker-compose", "config", "--format", "json"))["services"]
    return found


def test_compose_accepts_the_file() -> None:
    assert check(BIN / "docker-compose", "config", "-q") == ""


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert check(BIN / "hadolint", DOCKERFILE) == ""


def test_promtool_accepts_the_scrape_configuration() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make servers` installs it")
    assert "SUCCESS" in check("promtool", "check", "config", "deploy/prometheus/prometheus.yml")


def test_the_parts_are_there(services: dict[str, Any]) -> None:
    assert set(services) == {"kafka", "redis", "topics", "worker", "prometheus", "grafana"}


def test_ports_are_published_on_the_loopback_address_only(services: dict[str, Any]) -> None:
    published = {(name, port.get("host_ip")) for name, service in services.items() for port in service.get("ports", [])}
    assert published == {(name, "127.0.0.1") for name in ("kafka", "redis", "prometheus", "grafana")}


def test_every_image_has_a_version(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+(-\w+)*$", image)] == []


def test_every_lasting_service_has_a_health_check(services: dict[str, Any]) -> None:
    assert "HEALTHCHECK" in DOCKERFILE.read_text()  # the worker's
    without = {name for name, service in services.items() if "test" not in service.get("healthcheck", {})}
    assert without == {"topics", "worker"}


def test_nobody_starts_before_what_it_needs(services: dict[str, Any]) -> None:
    needs = {
        name: {needed: how["condition"] for needed, how in service["depends_on"].items()}
        for name, service in services.items()
        if "depends_on" in service
    }
    assert needs == {
        "topics": {"kafka": "service_healthy"},
        "worker": {
            "topics": "service_completed_successfully",
            "kafka": "service_healthy",
            "redis": "service_healthy",
        },
        "grafana": {"prometheus": "service_healthy"},
    }


def test_no_service_has_more_rights_than_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service.get("cap_drop") == ["ALL"], name
        assert service.get("security_opt") == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
    assert {name for name, service in services.items() if service.get("read_only")} == {
        "topics",
        "worker",
        "redis",
        "prometheus",
    }


def test_no_secret_is_given(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable in service.get("environment", {}):
            assert not re.search(r"PASSWORD|SECRET|TOKEN|_KEY$", variable), f"{name}: {variable}"


def test_the_workers_variables_are_settings(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("topics", "worker"):
        variables = services[name]["environment"]
        for variable, value in variables.items():
            assert variable.removeprefix("STREAMER_").lower() in Settings.model_fields, variable
            monkeypatch.setenv(variable, value)
        settings = Settings()
        assert settings.kafka_bootstrap == "kafka:19092"
        assert settings.redis_url == "redis://redis:6379/0"


def test_mounted_folders_exist(services: dict[str, Any]) -> None:
    sources = {volume["source"] for service in services.values() for volume in service.get("volumes", []) if volume["type"] == "bind"}
    assert len(sources) == 3
    assert [source for source in sources if not Path(source).is_dir()] == []


def test_the_broker_in_a_container_is_set_up_as_the_local_one(services: dict[str, Any]) -> None:
    plain = PROPERTIES.replace("{protocol}", "PLAINTEXT").splitlines()
    local = dict(line.split("=", 1) for line in plain if line and not line.startswith("#") and "{" not in line)
    local |= {"message.max.bytes": str(8 << 20), "replica.fetch.max.bytes": str(8 << 20)}
    contained = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in services["kafka"]["environment"].items()
        if name.startswith("KAFKA_")
    }
    assert {name: contained.get(name) for name in local.keys() - PLACE_PROPERTIES} == {
        name: value for name, value in local.items() if name not in PLACE_PROPERTIES
    }
    assert contained.keys() - local.keys() <= PLACE_PROPERTIES


def test_prometheus_scrapes_the_supervisor_and_each_role() -> None:
    text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    first = Settings.model_fields["metrics_port"].default
    assert re.findall(r'"worker:(\d+)"', text) == [str(first + offset) for offset in range(4)]


def test_the_image_runs_as_a_numbered_user_that_is_not_root_and_gets_the_signal() -> None:
    text = DOCKERFILE.read_text()
    final = text[text.rindex("FROM ") :]
    user = re.search(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert user is not None
    assert "0" not in user.groups()
    assert "STOPSIGNAL SIGTERM" in final
    # The exec form: a shell in between would keep the signal from the worker.
    assert re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", final, re.MULTILINE) == ['["streamer"]', '["worker"]']


def test_the_image_is_built_from_locked_requirements_only() -> None:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install[^&\n]*", text)
    assert len(installs) == 4
    assert all("--require-hashes" in install or "--no-deps" in install for install in installs)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in line.split()}
    assert copied == {line[1:] for line in ignored if line.startswith("!")}


def test_grafana_finds_the_dashboards_and_the_data_source_where_compose_puts_them(services: dict[str, Any]) -> None:
    grafana = services["grafana"]
    provisioning = ROOT / "grafana/provisioning"
    said = "".join(path.read_text() for path in sorted(provisioning.rglob("*.y*ml")))
    folders = re.findall(r"^\s+path: (\S+)$", said, re.MULTILINE)
    assert folders != []
    assert set(folders) <= {volume["target"] for volume in grafana["volumes"]}
    assert set(re.findall(r"\$\{?([A-Z][A-Z_]+)", said)) <= set(grafana["environment"])
