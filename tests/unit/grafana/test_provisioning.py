"""Grafana's set-up files agree with the dashboards, with the scrape, and with where the composed stack mounts them."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from tests.unit.grafana.dashboards import FILES, ROOT, load, variables

yaml: Final[Any] = import_module("yaml")  # comes with yamllint, without annotations


def _read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def _source() -> dict[str, Any]:
    (source,) = _read("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    return dict(source)


def test_dashboards_open_on_the_provisioned_data_source() -> None:
    for name in FILES:
        (chosen,) = [variable["current"]["value"] for variable in variables(load(name)) if variable["type"] == "datasource"]
        assert chosen == _source()["uid"]


def test_data_source_belongs_to_the_files_and_nobody_edits_it_in_grafana() -> None:
    assert _source()["editable"] is False
    assert _read("grafana/provisioning/datasources/prometheus.yaml")["prune"] is True


def test_rate_interval_follows_the_scrape_interval() -> None:
    scrape = _read("deploy/prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert _source()["jsonData"]["timeInterval"] == scrape


def test_dashboards_cannot_be_changed_or_deleted_in_grafana() -> None:
    (provider,) = _read("grafana/provisioning/dashboards/journey-streamer.yaml")["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True


def test_composed_grafana_mounts_what_the_provider_reads_and_sets_what_the_data_source_needs() -> None:
    grafana = _read("docker-compose.yml")["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    (provider,) = _read("grafana/provisioning/dashboards/journey-streamer.yaml")["providers"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert _source()["url"].removeprefix("$") in grafana["environment"]
