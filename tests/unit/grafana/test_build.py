"""The committed dashboards are what their source says, and survive the trip through the SDK's models (layer 1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from grafana.src import build, sdk
from tests.unit.grafana.dashboards import DASHBOARDS, FILES, load

if TYPE_CHECKING:
    from pathlib import Path


def test_committed_dashboards_are_what_the_source_generates() -> None:
    assert build.outdated() == [], "run `make dashboards` and commit the result"


def test_an_edited_a_missing_and_a_stray_file_are_noticed(tmp_path: Path) -> None:
    first = FILES[0]
    (tmp_path / first).write_text((DASHBOARDS / first).read_text().replace('"editable": false', '"editable": true'))
    (tmp_path / "stray.json").write_text("{}")
    assert build.outdated(tmp_path) == sorted([*FILES, "stray.json"])


def test_generating_twice_gives_the_same_bytes() -> None:
    assert build.render() == build.render()


def test_check_fails_with_exit_code_1_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "outdated", lambda: ["pipeline.json"])
    assert build.main(["--check"]) == 1
    assert "pipeline.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", FILES)
def test_dashboard_survives_the_sdk_models(name: str) -> None:
    sdk.plugins.register_default_plugins()
    model = sdk.models.Dashboard.from_json(load(name))
    encoded = json.dumps(model, cls=sdk.encoder.JSONEncoder, indent=2, sort_keys=True) + "\n"
    assert encoded == (DASHBOARDS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_dashboard_is_the_classic_model_that_file_provisioning_loads(name: str) -> None:
    assert load(name)["schemaVersion"] == 42
