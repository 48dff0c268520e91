"""How the benchmark measures and reports, and what it may ask others for."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from bench import compare, engines, environments, latency, machine, processes, report, scale, soak
from bench.events import SESSION_EVENTS
from bench.outputs import exact
from deploy.local.process import await_condition
from streamer.errors import StackError

ROOT = Path(__file__).parents[2]
BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.5: pass\n"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"


def run(command: list[str], directory: Path, *, limit_seconds: float = 60) -> processes.Usage:
    with processes.measured(command, broker_pid=1, log=directory / "log", environment={}, directory=directory) as running:
        running.wait(limit_seconds)
    return running.usage


def test_the_cpu_of_an_engine_is_that_of_its_children_too(tmp_path: Path) -> None:
    usage = run([sys.executable, "-c", CHILD], tmp_path)
    assert 0.5 <= usage.cpu_seconds < 5
    assert usage.exit_code == 0
    assert usage.wall_seconds >= 0.5


def test_peak_memory_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    hold = "import sys; held = bytearray(150 << 20); print(1, flush=True); sys.stdin.read(1)"
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {hold!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); time.sleep(1); child.communicate(b'x')"
    )
    assert run([sys.executable, "-c", parent], tmp_path).rss_peak_megabytes > 150


def test_what_two_used_side_by_side_is_the_sum_and_the_time_is_the_firsts() -> None:
    first = processes.Usage(wall_seconds=9.0, cpu_seconds=7.5, rss_peak_megabytes=400, broker_cpu_seconds=2.0, other_cpu_seconds=6.5)
    second = processes.Usage(exit_code=70, wall_seconds=8.5, cpu_seconds=6.0, rss_peak_megabytes=300, broker_cpu_seconds=1.5)
    both = processes.together([first, second])
    assert (both.exit_code, both.wall_seconds, both.cpu_seconds, both.rss_peak_megabytes) == (70, 9.0, 13.5, 700)
    assert (both.broker_cpu_seconds, both.other_cpu_seconds) == (2.0, 0.5), "of the first's others the second was one"
    assert processes.together([first]) == first


def test_an_engine_that_does_not_end_is_ended(tmp_path: Path) -> None:
    usage = run([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, limit_seconds=0.5)
    assert usage.exit_code == -15


def test_an_engine_that_has_just_ended_at_the_limit_keeps_its_figures(tmp_path: Path) -> None:
    end = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(3))\n" + BURN + "time.sleep(600)"
    with processes.measured([sys.executable, "-c", end], broker_pid=1, log=tmp_path / "log", environment={}, directory=tmp_path) as running:
        assert await_condition(lambda: processes.tree_cpu(running.process.pid) >= 0.4, 60)
        running.wait(0)
        assert await_condition(lambda: psutil.Process(running.process.pid).status() == psutil.STATUS_ZOMBIE, 60)
    assert running.usage.exit_code == 3
    assert running.usage.cpu_seconds >= 0.4


def test_what_an_engine_says_last_about_itself_is_kept(tmp_path: Path) -> None:
    run([sys.executable, "-c", "print('noise'); print('{\"events\": 1}'); print('{\"events\": 2}'); print('bye')"], tmp_path)
    assert processes.last_object(tmp_path / "log") == {"events": 2}


def test_quantiles_and_histogram_are_of_all_latencies() -> None:
    found = latency.summary([float(n) for n in range(1, 101)])
    assert (found["n"], found["min"], found["p50"], found["p99"], found["max"]) == (100, 1, 51, 100, 100)
    assert dict(found["histogram"])[5] == 5
    assert sum(count for _, count in found["histogram"]) == 100
    assert latency.summary([20_000.0])["histogram"][-1] == [None, 1]
    assert latency.summary([]) == {"n": 0}


# --- the page ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report.RESULTS.read_text())
    return found


def test_the_page_is_the_generated_one(results: dict[str, Any]) -> None:
    page = (ROOT / "docs/reference/benchmarks.md").read_text()
    assert page == report.page(results, *report.kept()), "run: python -m bench.report > docs/reference/benchmarks.md"
    assert "<!--" not in page


def test_what_the_readme_says_was_measured_is_what_the_benchmarks_say() -> None:
    results = json.loads(report.RESULTS.read_text())
    warm = {row["id"]: row["warm"]["events_per_cpu_second"] for row in results["rows"]}
    live = next(one["redis_ms"] for one in results["latency"] if one["id"] == "product" and one["rate"] == compare.LATENCY_RATE)
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"all roles, [compiled](docs/how-to/compile.md)): {warm['product']:,} events per CPU-second" in readme
    assert f"({warm['product-source']:,} not compiled), {warm['product-all']:,} with the default definitions" in readme
    assert f"appended to alert readable in Redis p50 {live['p50']:.0f} ms, p99 {live['p99']:.0f} ms" in readme


def test_the_page_has_every_engine_and_says_where_one_differs(results: dict[str, Any]) -> None:
    page = report.page(results)
    for row in results["rows"]:
        assert f"| {row['title']}" in page
        compared = row["runs"][-1]["compared"]
        if compared and compared["abandoned"]["missing"]:
            assert f"{compared['abandoned']['missing']:,} missing" in page
    there = {row["id"] for row in results["rows"]}
    assert there >= {"product", "product-all", "kstreams", "flink", "quix", "bytewax", "faust", "plain"}
    for engine in engines.RIVALS:
        assert engine.title in page, "measured, or named as left out"


def test_a_small_run_is_labelled(results: dict[str, Any]) -> None:
    assert (report.SMALL in report.page(results)) == (results["quick"] or results["rows"][0]["runs"][0]["events"] < report.FULL_EVENTS)
    results["quick"] = True
    assert report.SMALL in report.page(results)


def test_warm_is_the_difference_of_two_sizes() -> None:
    def of(events: int, cpu: float, wall: float) -> dict[str, Any]:
        return {"events": events, "cpu_seconds": cpu, "wall_seconds": wall, "broker_cpu_seconds": cpu / 10}

    row = compare.row_of("x", "X", "none", "arrival", [of(100, 11.0, 21.0), of(300, 13.0, 31.0)])
    assert row["revision"] == machine.revision()
    assert row["warm"] == {"events_per_cpu_second": 100, "events_per_second": 20, "broker_cpu_seconds_per_million": 1000.0}


def test_a_merge_keeps_what_was_not_measured_anew_and_refuses_other_sizes(tmp_path: Path) -> None:
    before = {"topics": {"main1": {"events": 2_000}}, "rows": [{"id": "product"}, {"id": "plain"}], "latency": [{"id": "product"}]}
    given = ["--engines", "product", "--merge", "--output", str(tmp_path / "r.json")]
    options = compare.parsed([*given, "--events", "2000"])
    assert compare.others(before, options) == {"rows": [{"id": "plain"}], "latency": [], "topics": before["topics"]}
    with pytest.raises(StackError, match="choose the same size"):
        compare.others(before, compare.parsed([*given, "--events", "3000"]))


def test_a_kind_of_alert_that_is_not_made_does_not_make_a_run_differ() -> None:
    assert exact({"abandoned": {"missing": 0, "extra": 0}, "switched": None, "panes": {"differ": 0}})
    assert not exact({"abandoned": {"missing": 0, "extra": 1}, "switched": None, "panes": {"differ": 0}})


# --- the cost curve and the soak ------------------------------------------------------------------------------------------


def point(customers: int, cpu: float, megabytes: int, rate: int = 300_000, *, every_row: bool = False, pool: int = 0) -> dict[str, Any]:
    back = {"rows": customers, "busy_seconds": 1.0, "rows_per_second": rate}
    return {
        "customers": customers,
        "pool": pool or customers,
        "every_row": every_row,
        "rebalance_pause_milliseconds": customers / 10_000,
        "known_customers": customers,
        "cpu_microseconds_per_event": cpu,
        "warm_cpu_microseconds_per_event": cpu - 2,
        "journeys_megabytes": megabytes,
        "restore": back,
    }


def test_the_curve_is_judged_by_what_each_further_customer_takes() -> None:
    curve = [point(1_000, 20, 100), point(10_000, 20, 110), point(1_001_000, 25, 1_100)]
    curve.append(point(5_000_000, 24, 3_000))
    found = scale.verdicts([*curve, point(50_000, 24, 900, pool=4_000_000), point(10_000, 40, 5_000, 250_000, every_row=True)])
    assert found == {
        "bytes_per_customer": 1049, "restored_rows_per_second": 300_000, "rebalance_pause_milliseconds": 500.0, "cost_ratio": 1.2,
        "cost_ratio_all_at_once": 1.25, "cost_ratio_all_at_once_warm": 1.28, "restored_rows_per_second_uncompacted": 250_000,
    }  # fmt: skip
    found = scale.verdicts(curve)
    assert (found["restored_rows_per_second_uncompacted"], found["cost_ratio"]) == (None, None)


def test_of_those_who_come_and_go_about_a_million_are_known_in_the_end() -> None:
    crowd = scale.Crowd.coming_and_going(6_000_000)
    sessions = crowd.events / SESSION_EVENTS + crowd.active
    assert 1_000_000 < crowd.pool * -math.expm1(-sessions / crowd.pool) < 1_100_000
    assert crowd.active == 50_000


def look(at: int, *, megabytes: int = 100, batch_seconds: float | None = None, gaps: int = 0, consumers: int = 1) -> dict[str, Any]:
    return {
        "seconds": float(at), "megabytes": {"journeys": megabytes}, "customers": 10, "events": at * 100, "lag": 0, "batches": at,
        "batch_seconds": at / 1000 if batch_seconds is None else batch_seconds,
        "books": {"consumers": consumers, "gaps": gaps, "unacked": 0, "acked": 0},
    }  # fmt: skip


def test_a_flat_soak_has_nothing_to_say_and_the_filling_does_not_count() -> None:
    assert soak.verdict([look(at, megabytes=min(100, 20 + at * 2)) for at in range(1, 101)])["reasons"] == []


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([look(at, megabytes=100 + at) for at in range(1, 101)], "memory of journeys"),
        ([look(at, batch_seconds=at**3 / 1e6) for at in range(1, 101)], "folding an event"),
        ([look(at, gaps=int(at > 90)) for at in range(1, 101)], "gaps"),
        ([look(at, consumers=0) for at in range(1, 101)], "not seen"),
    ],
)
def test_what_grows_in_a_soak_is_named(samples: list[dict[str, Any]], reason: str) -> None:
    (said,) = soak.verdict(samples)["reasons"]
    assert reason in said


def test_the_probe_sees_fausts_books() -> None:
    spec = importlib.util.spec_from_file_location("probe", soak.PROBE / "sitecustomize.py")
    assert spec
    assert spec.loader
    probe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(probe)

    class Books:
        _gap: ClassVar = {"a": [1, 2], "b": [3]}
        _unacked_messages: ClassVar = {1}
        _acked: ClassVar = {"a": [1, 2, 3, 4]}

    assert probe.sizes([Books()]) == {"consumers": 1, "gaps": 3, "unacked": 1, "acked": 4}


# --- the rivals -----------------------------------------------------------------------------------------------------------

REQUIREMENTS = sorted(environments.RIVALS.glob("requirements-*.txt"))


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_rivals_requirements_are_pinned_with_hashes_and_without_addresses(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert pins
    assert all(re.match(r"[a-z0-9._-]+==", line) and line.endswith("\\") for line in pins)
    wanted = re.findall(r"^[a-z-]+==[0-9.]+$", path.with_suffix(".in").read_text(), re.MULTILINE)
    assert wanted
    assert {line.split(" ")[0] for line in pins} >= set(wanted)


def test_there_is_a_lock_for_each_python_rival() -> None:
    assert [path.stem for path in REQUIREMENTS] == [f"requirements-{name}" for name in ("bytewax", "faust", "plain", "quix")]


@pytest.mark.parametrize("path", sorted(environments.RIVALS.glob("*/pom.xml")), ids=lambda path: path.parent.name)
def test_java_rivals_are_coordinates_without_a_repository(path: Path) -> None:
    text = path.read_text()
    assert "<repositor" not in text
    assert text.count("<version>") >= text.count("<dependency>")


def test_rivals_do_not_import_the_product() -> None:
    for path in environments.RIVALS.glob("*.py"):
        assert not re.search(r"^(from|import) streamer", path.read_text(), re.MULTILINE), path
    assert not re.search(r"^(from|import) streamer", Path(environments.__file__).with_name("job.py").read_text(), re.MULTILINE)
