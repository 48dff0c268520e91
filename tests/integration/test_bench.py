"""The benchmark's harness with the real chain: topics filled, a worker run and measured, its output read back and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import compare
from bench.job import ABANDONED

pytestmark = pytest.mark.integration


@pytest.mark.timeout(900)
def test_the_product_is_run_measured_and_found_exact(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    code = compare.main(["--events", "4000", "--engines", "product", "--latency-seconds", "0", "--output", str(output)])
    report = json.loads(output.read_text())
    (row,) = report["rows"]
    assert [run["events"] for run in row["runs"]] == [4_000, 12_000]
    for run in row["runs"]:
        assert run["exit_code"] == 0
        assert run["cpu_seconds"] >= sum(run["own"]["cpu_seconds_by_role"].values())
        assert set(run["own"]["cpu_seconds_by_role"]) == {"supervisor", "journeys", "rollup", "publisher"}
        assert run["compared"]["panes"]["expected"] > 1_000
        assert run["compared"]["panes"]["differ"] == 0
        assert run["compared"][ABANDONED]["expected"] > 20
    assert code == 0
