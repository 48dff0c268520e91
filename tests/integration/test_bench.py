"""The benchmarks' harnesses with the real chain, at the smallest sizes that still say something: what they run, measure and compare."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench import compare, scale, soak
from bench.job import ABANDONED
from streamer.metrics.families import ROLES, SUPERVISOR

# Starting processes takes long on a machine that others use too, and the first test may have to compile the hot path.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PROCESSES = {SUPERVISOR, *ROLES}


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON object with which a harness ends."""
    report: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return report


def test_the_product_is_run_measured_and_found_exact_with_a_worker_for_each_core(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    code = compare.main(["--events", "4000", "--engines", "product-cores", "--latency-seconds", "0", "--output", str(output)])
    report = json.loads(output.read_text())
    (product,) = report["rows"]
    for run in product["runs"]:
        assert run["exit_code"] == 0
        assert run["rss_peak_megabytes"] > 10
        assert run["compared"]["panes"]["expected"] > 1_000
        assert run["compared"]["panes"]["differ"] == 0
        assert run["compared"][ABANDONED]["expected"] > 20
    assert [run["events"] for run in product["runs"]] == [4_000, 12_000]
    for run in product["runs"]:
        assert run["cpu_seconds"] >= sum(run["own"]["cpu_seconds_by_role"].values())
        assert set(run["own"]["cpu_seconds_by_role"]) == PROCESSES
    assert code == 0


@pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="takes a minute of two cores: LONG_TESTS=1 make test runs it, too")
def test_what_a_customer_costs_is_measured_and_what_was_left_is_restored(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["--customers", "100", "--events", "5000"]) == 0
    report = printed(capsys)
    few, passing, many = report["points"]
    assert [point["every_row"] for point in (few, passing, many)] == [False, False, True]
    assert [point["events"] for point in (few, passing, many)] == [5_000, 13_000, 5_000]
    for point in (few, passing, many):
        assert 0 < point["rebalance_pause_milliseconds"] < 60_000
        assert point["customers"] <= point["known_customers"]
        assert point["restore"]["rows"] >= point["known_customers"]
        assert point["restore"]["rows_per_second"] > 0
        assert 0 < point["journeys_cpu_microseconds_per_event"] < point["cpu_microseconds_per_event"]
        assert point["journeys_megabytes"] > 10
        assert point["journeys_megabytes_restored"] > 10
        assert point["changelog_bytes_per_event"] > 0
        assert point["checkpoint_bytes_per_event"] > 0
    assert few["known_customers"] < many["known_customers"] < passing["known_customers"]
    assert report["verdicts"].keys() == report["bars"].keys()
    assert report["verdicts"]["restored_rows_per_second"] == few["restore"]["rows_per_second"]
    assert report["verdicts"]["restored_rows_per_second_uncompacted"] == many["restore"]["rows_per_second"]
    assert report["verdicts"]["cost_ratio"] > 0


def test_a_soak_looks_at_memory_and_at_the_books_of_every_process(capsys: pytest.CaptureFixture[str]) -> None:
    code = soak.main(["--seconds", "12", "--days", "2", "--rate", "200", "--sample-seconds", "1"])
    report = printed(capsys)
    verdict, samples = report["verdict"], report["samples"]
    assert len(samples) > 5
    for sample in samples:
        assert sample["megabytes"].keys() == PROCESSES
        assert min(sample["megabytes"].values()) > 10
    consumed = [sample["events"] for sample in samples]
    assert consumed == sorted(consumed)
    assert consumed[-1] > 1_000
    assert 0 < samples[0]["batches"] < samples[-1]["batches"]
    assert samples[-1]["customers"] > 0
    # So short a run may well show memory that still fills; what must be empty is empty from the first message on.
    assert verdict["books_max"] == {"consumers": 2, "gaps": 0, "unacked": 0, "acked": 0}
    assert verdict["memory_growth_share"].keys() == PROCESSES
    assert min(verdict["fold_microseconds_per_event"]) > 0
    assert not [reason for reason in verdict["reasons"] if "Faust" in reason]
    assert code == bool(verdict["reasons"])
