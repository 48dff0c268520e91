"""`make bench-quick`: what this machine does. One worker, the whole job, exactly-once, on real servers started for it.

1. Throughput: simulated events (4 partitions) wait in Kafka; the worker folds them. Events per CPU-second over all its processes,
   from the moment each was ready until everything was consumed, committed and delivered.
   With `--catalogue` also without any chapter of the catalogue, on the same events: what the whole of it costs.
2. Latency at a steady rate of live simulated events: probes whose third event makes an alert (appended -> readable in Redis) and
   probes with a team nobody else has (appended -> gauge on the worker's endpoint).

Prints a table and, last, one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.probes import SETTLE_SECONDS, Latencies, measure
from bench.worker import PARTITIONS, Worker, compiled_environment, environment_of
from deploy.local.stack import STATE, Stack
from streamer.simulate.customers import Simulation
from streamer.simulate.scenario import Scenario

HISTORY_HOURS: Final = 3
# The whole catalogue may cost so many times the CPU of none of its chapters.
CATALOGUE_COST_MAX: Final = 1.5
DEFINITIONS_CORE: Final = Path(__file__).with_name("definitions-core.toml")
CUSTOMERS: Final = 50_000


def streamer(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run a command and give its JSON."""
    command = [sys.executable, "-m", "streamer", *arguments, "--json"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def fill(environment: dict[str, str], events: int) -> dict[str, Any]:
    """Append about `events` simulated events of the last hours."""
    rate = events / (HISTORY_HOURS * 3600)
    options = ["--seed", "1", "--customers", str(CUSTOMERS), "--hours", str(HISTORY_HOURS), "--rate", f"{rate:.3f}"]
    return streamer(environment, "simulate", *options)


def throughput(worker: Worker, events: int) -> dict[str, Any]:
    """Wait until the worker has done everything; its CPU by role."""
    other_before = worker.other_cpu_seconds()
    finished_seconds = worker.until_done()
    cpu = worker.cpu_seconds()
    total = sum(cpu.values())
    return {
        "events": events,
        "events_per_cpu_second": round(events / total),
        "events_per_second": round(events / finished_seconds),
        "cpu_seconds": {role: round(seconds, 2) for role, seconds in cpu.items()},
        "cpu_seconds_with_start": round(sum(worker.cpu_seconds(since_start=True).values()), 2),
        "wall_seconds": round(finished_seconds, 2),
        "rss_megabytes": worker.rss_megabytes(),
        "other_cpu_seconds": round(worker.other_cpu_seconds() - other_before - total, 2),
        "load_average": os.getloadavg()[0],
    }


def without_chapters(stack: Stack, state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Throughput of the same events under definitions with no chapter switched on."""
    environment = environment_of(stack, app="core", prefix="core.") | (compiled_environment() if options.compiled else {})
    environment |= {"STREAMER_DEFINITIONS": str(DEFINITIONS_CORE), "STREAMER_REDIS_PREFIX": "core:"}
    streamer(environment, "topics", "create")
    filled = fill(environment, options.events)
    with Worker(environment, state / "core.log") as worker:
        return throughput(worker, filled["events"])


def intensity(rate: int, seconds: float) -> float:
    """The simulator's rate that makes about `rate` events/s while it is measured: customers who begin now act for minutes."""
    begin_ms, end_ms = SETTLE_SECONDS * 1000, round((SETTLE_SECONDS + seconds) * 1000)
    made = sum(record.sent_ms >= begin_ms for record in Simulation(Scenario(2, CUSTOMERS, 0, end_ms, ((0, float(rate)),))).sent())
    return rate * rate * seconds / made


def latency(worker: Worker, environment: dict[str, str], redis_url: str, rate: int, seconds: float) -> dict[str, Any]:
    """Alert and gauge latencies while simulated customers send `rate` events/s."""
    options = ["--hours", "0", "--live", "--rate", f"{intensity(rate, seconds):.0f}", "--seconds", str(seconds + 40), "--seed", "2"]
    command = [sys.executable, "-m", "streamer", "simulate", *options, "--customers", str(CUSTOMERS)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as life:
        try:
            found: Latencies = asyncio.run(measure(environment, redis_url, worker, seconds))
        finally:
            life.terminate()
    return {
        "events_per_second": round(found.events_per_second),
        "alert_milliseconds": found.alert,
        "gauge_milliseconds": found.gauge,
    }


def show(console: Console, report: dict[str, Any]) -> None:
    """The report as a table."""
    table = Table("what", "measured", "bar")
    done = report["throughput"]
    table.add_row("events per CPU-second, all roles, exactly-once", f"{done['events_per_cpu_second']:,}", "40,000")
    table.add_row("events per second of wall clock", f"{done['events_per_second']:,}", "")
    table.add_row("CPU-seconds by role", ", ".join(f"{role} {seconds}" for role, seconds in done["cpu_seconds"].items()), "")
    if core := report.get("core"):
        table.add_row("the same without chapters", f"{core['events_per_cpu_second']:,}", "")
        table.add_row("cost of the whole catalogue", f"{report['catalogue_cost']:.2f} times", f"{CATALOGUE_COST_MAX} times")
    if live := report.get("latency"):
        table.add_row("live events per second", f"{live['events_per_second']:,}", "")
        for name, bar in (("alert", "p99 1,000 ms"), ("gauge", "3,000 ms")):
            found = live[f"{name}_milliseconds"]
            where = "alert readable in Redis" if name == "alert" else "gauge on the endpoint"
            table.add_row(f"appended -> {where}", f"p50 {found['p50']}, p99 {found['p99']}, max {found['max']} ms (n = {found['n']})", bar)
    console.print(table)


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="simulated events for the throughput")
    parser.add_argument("--seconds", type=float, default=30, help="length of the latency measurement, 0 to leave it out")
    parser.add_argument("--rate", type=int, default=1_000, help="live events per second during it")
    parser.add_argument("--catalogue", action="store_true", help="measure also without any chapter of the catalogue, and compare")
    parser.add_argument("--compiled", action="store_true", help="run the compiled copy of the package")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        state = Path(directory)
        with Stack(state, kafka_port=0, redis_port=0, prometheus_port=0, cache=STATE, fresh=True) as stack:
            environment = environment_of(stack) | (compiled_environment() if options.compiled else {})
            streamer(environment, "topics", "create")
            console.print(f"appending {options.events:,} simulated events to {PARTITIONS} partitions")
            filled = fill(environment, options.events)
            console.print(f"{filled['events']:,} appended in {filled['seconds']} s; starting the worker")
            report: dict[str, Any] = {
                "bench": "quick",
                "cpus": os.cpu_count(),
                "compiled": options.compiled,
                "simulate_events_per_second": round(filled["events"] / filled["seconds"]),
            }
            with Worker(environment, state / "worker.log") as worker:
                report["throughput"] = throughput(worker, filled["events"])
                if options.seconds:
                    console.print(f"measuring latencies at {options.rate:,} events/s")
                    report["latency"] = latency(worker, environment, stack.redis.url, options.rate, options.seconds)
            if options.catalogue:
                console.print("the same without chapters")
                report["core"] = without_chapters(stack, state, options)
                report["catalogue_cost"] = report["core"]["events_per_cpu_second"] / report["throughput"]["events_per_cpu_second"]
    show(Console(), report)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
