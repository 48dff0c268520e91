"""`make bench`: this product and its rivals on one broker and the same topics, one after the other, each compared with the oracle.

Two topics of the same density, one three times the other: the difference of two runs is an engine's warm cost, without start-up. Slow
engines read smaller ones. Prints each row as it comes and writes everything to a JSON file, of which `bench.report` makes the page.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.console import Console

from bench import engines, environments, latency, outputs, processes, product
from bench.events import Shape, begin_of, events, shape_of
from bench.machine import machine, revision
from bench.oracle import Oracle, Truth, decode
from bench.worker import PARTITIONS
from deploy.local.stack import STATE, Stack
from streamer.engine.ingest import sender
from streamer.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGE_TIMES: Final = 3
MAIN_EVENTS: Final = 2_000_000
SLOW_EVENTS: Final = 100_000
QUICK_EVENTS: Final = 100_000
QUICK_ENGINES: Final = ("product", "plain")
MUST: Final = frozenset({"product", "product-cores", "plain"})  # be exact
LATENCY_ENGINES: Final = ("product", "kstreams")
LATENCY_RATE: Final = 2_000.0
# Of the product's warm rate, the second rate: 80 % of half of it, because half of the cores is the generator's, the readers', the broker's.
LATENCY_SHARE: Final = 0.4
LATENCY_SECONDS: Final = 40.0
LIMIT_SECONDS: Final = 1_800.0
OUTPUT: Final = environments.STATE / "results.json"


class Topic(NamedTuple):
    """A filled source topic and what must come of it."""

    prefix: str
    shape: Shape
    arrival: Truth
    event: Truth

    @property
    def name(self) -> str:
        """In Kafka."""
        return f"{self.prefix}touchpoints.v1"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    known = [row.id for row in product.ROWS] + [engine.id for engine in engines.RIVALS]
    parser = argparse.ArgumentParser(prog="bench.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--events", type=int, help=f"size of the smaller topic (default {MAIN_EVENTS:,}); the larger has {LARGE_TIMES} times"
    )
    parser.add_argument("--slow-events", type=int, default=SLOW_EVENTS, help="the same of the topics for slow engines")
    parser.add_argument("--engines", nargs="+", choices=known, metavar="ENGINE", help=f"only these of {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK_ENGINES)} on {QUICK_EVENTS:,} events, for builds")
    parser.add_argument("--merge", action="store_true", help="keep what the file has of other engines, at the same sizes")
    parser.add_argument("--latency-seconds", type=float, help=f"of a latency measurement, 0: none (default {LATENCY_SECONDS:.0f})")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the JSON file goes")
    options = parser.parse_args(arguments)
    options.events = options.events or (QUICK_EVENTS if options.quick else MAIN_EVENTS)
    if options.latency_seconds is None:
        options.latency_seconds = 0.0 if options.quick else LATENCY_SECONDS
    options.engines = options.engines or (list(QUICK_ENGINES) if options.quick else known)
    return options


class Bench:
    """One run of the whole comparison."""

    def __init__(self, stack: Stack, directory: Path, console: Console) -> None:
        self._stack, self._directory, self._console = stack, directory, console
        self._bootstrap = stack.kafka.bootstrap

    def topics(self, name: str, base: int) -> list[Topic]:
        """Fill the smaller and the larger topic of a kind, and ask the oracle."""
        begin_ms = begin_of(LARGE_TIMES, round(time.time() * 1000))
        return [self._topic(f"{name}{times}.", shape_of(base, times, begin_ms)) for times in (1, LARGE_TIMES)]

    def _topic(self, prefix: str, shape: Shape) -> Topic:
        made = product.environment(self._stack, product.ROWS[0], prefix)
        product.create_topics(made)
        begun = time.monotonic()
        asyncio.run(fill(made, shape))
        filled = time.monotonic()
        arrival, event = asyncio.run(_judged(self._bootstrap, f"{prefix}touchpoints.v1"))
        self._console.print(
            f"{prefix}touchpoints.v1: {shape.events:,} events of {shape.customers:,} customers in {filled - begun:.0f} s, "
            f"the oracle took {time.monotonic() - filled:.0f} s"
        )
        return Topic(prefix, shape, arrival, event)

    def product_row(self, row: product.Row, pair: Sequence[Topic]) -> dict[str, Any]:
        """The product on both topics."""
        runs = []
        for topic in pair:
            log = self._directory / f"{row.id}-{topic.prefix}log"
            usage, own = product.run(self._stack, row, topic.prefix, log)
            report = None
            if row.definitions is not None:
                alerts, panes, taken_back = asyncio.run(product.found(self._bootstrap, topic.prefix))
                report = {**product.compared(topic.event, alerts, panes), "retracted": taken_back}
            runs.append(self._run(row.id, topic, usage, own, report))
        return row_of(row.id, row.title, engines.EXACTLY, "event", runs)

    def rival_row(self, engine: engines.Engine, pair: Sequence[Topic]) -> dict[str, Any]:
        """A rival on both topics."""
        runs = []
        for topic in pair:
            name = f"{engine.id}-{topic.prefix.rstrip('.')}"
            written = [f"{name}-alerts", f"{name}-panes"]
            asyncio.run(outputs.create(self._bootstrap, written))
            directory = self._directory / name
            directory.mkdir()
            log = self._directory / f"{name}.log"
            command = engine.command(engines.Run(self._bootstrap, topic.name, name, topic.shape.events, directory))
            made = {**os.environ, "PYTHONPATH": str(environments.ROOT)}
            with processes.measured(command, broker_pid=self._stack.kafka.pid, log=log, environment=made, directory=directory) as running:
                running.wait(LIMIT_SECONDS)
            report = asyncio.run(_rival_report(self._bootstrap, engine, written, topic.arrival))
            runs.append(self._run(engine.id, topic, running.usage, processes.last_object(log), report))
            if running.usage.exit_code:
                self._console.print(f"{engine.id} ended with {running.usage.exit_code}: {log.read_text(errors='replace')[-2000:]}")
            asyncio.run(outputs.remove(self._bootstrap, written))
        return row_of(engine.id, engine.title, engine.guarantee, "arrival", runs)

    def latencies(self, chosen: Sequence[str], seconds: float, warm_rate: float | None) -> list[dict[str, Any]]:
        """At a steady rate, and the product also near the most it can do."""
        found = []
        for row in product.ROWS:
            if row.id in chosen and row.id in LATENCY_ENGINES:
                rates = [LATENCY_RATE, *([LATENCY_SHARE * warm_rate] if warm_rate else [])]
                found += [latency.of_product(self._stack, row, rate, seconds, self._directory) for rate in rates]
        for engine in engines.RIVALS:
            if engine.id in chosen and engine.id in LATENCY_ENGINES:
                found.append(latency.of_rival(self._stack, engine, LATENCY_RATE, seconds, self._directory))
        for one in found:
            shown = {name: {key: one[name].get(key) for key in ("n", "p50", "p99")} for name in ("kafka_ms", "redis_ms") if name in one}
            self._console.print(f"{one['id']} at {one['rate']:,} events/s: {shown}")
        return found

    def _run(self, name: str, topic: Topic, usage: processes.Usage, own: dict[str, Any], report: dict[str, Any] | None) -> dict[str, Any]:
        n = topic.shape.events
        verdict = "not compared" if report is None else "exact" if outputs.exact(report) else "differs"
        self._console.print(
            f"{name}: {n:,} events, {n / usage.cpu_seconds:,.0f} per CPU-second, {usage.wall_seconds:.1f} s, "
            f"{usage.rss_peak_megabytes} MB, broker {usage.broker_cpu_seconds:.1f} s: {verdict}"
        )
        gross = {"events_per_cpu_second": round(n / usage.cpu_seconds), "events_per_second": round(n / usage.wall_seconds)}
        figures = {name: getattr(usage, name) for name in usage.__struct_fields__}
        return {"events": n, "customers": topic.shape.customers, **figures, "gross": gross, "own": own, "compared": report}


def row_of(name: str, title: str, guarantee: str, order: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The result of an engine: the smaller run, the larger, and what the difference costs."""
    small, large = runs
    n, cpu, wall = (large[key] - small[key] for key in ("events", "cpu_seconds", "wall_seconds"))
    warm = {
        "events_per_cpu_second": round(n / cpu) if cpu > 0 else None,
        "events_per_second": round(n / wall) if wall > 0 else None,
        "broker_cpu_seconds_per_million": round((large["broker_cpu_seconds"] - small["broker_cpu_seconds"]) / n * 1e6, 2),
    }
    made = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "revision": revision()}
    return {"id": name, "title": title, "guarantee": guarantee, "oracle_order": order, **made, "warm": warm, "runs": runs}


async def fill(environment: dict[str, str], shape: Shape) -> None:
    """Append the events of a shape to the source topic."""
    async with sender(product.config_of(environment)) as opened:
        for number, made in enumerate(events(shape)):
            partition = opened.partition(made.key, number)
            value = made.value(made.time_ms)
            if not opened.put(partition, made.key, value):
                await opened.flush(partition)
                opened.put(partition, made.key, value)


async def _judged(bootstrap: str, topic: str) -> tuple[Truth, Truth]:
    arrival, event = Oracle(PARTITIONS, "arrival"), Oracle(PARTITIONS, "event")
    async for batch in outputs.read(bootstrap, topic):
        records = [(kept.offset, decode(kept.value)) for kept in batch]
        arrival.feed(batch[0].partition, records)
        event.feed(batch[0].partition, records)
    return arrival.truth(), event.truth()


async def _rival_report(bootstrap: str, engine: engines.Engine, written: Sequence[str], truth: Truth) -> dict[str, Any]:
    values: list[list[bytes]] = []
    for name in written:
        kept: list[bytes] = []
        async for batch in outputs.read(bootstrap, name):
            kept.extend(one.value for one in batch)
        values.append(kept)
    alerts = [outputs.rival_alert(value) for value in values[0]]
    return outputs.compared(truth, alerts, outputs.rival_panes(values[1]) if engine.panes else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 1 if an engine that must be exact is not: the product, or the plain loop that shows the harness right."""
    options = parsed(arguments)
    console = Console(stderr=True)
    report: dict[str, Any] = {"bench": "compare", "quick": options.quick, "machine": machine(), "topics": {}, "rows": [], "latency": []}
    if options.merge and options.output.exists():
        report |= others(json.loads(options.output.read_text()), options)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with Stack(directory, kafka_port=0, redis_port=0, prometheus_port=0, cache=STATE, fresh=True) as stack:
            bench = Bench(stack, directory, console)
            for kind, base in (("main", options.events), ("slow", options.slow_events)):
                run_kind(bench, kind, base, options, report)
            if options.latency_seconds:
                warm = next((row["warm"]["events_per_second"] for row in report["rows"] if row["id"] == "product"), None)
                report["latency"] += bench.latencies(options.engines, options.latency_seconds, warm)
                write(options.output, report)
    console.print(f"written to {options.output}")
    must = [run["compared"] for row in report["rows"] if row["id"] in MUST & {*options.engines} for run in row["runs"]]
    return 0 if all(outputs.exact(one) for one in must) else 1


def others(before: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Of an earlier report, what this run does not measure anew. Raises StackError if its sizes were others."""
    sizes = {"main1": options.events, "slow1": options.slow_events}
    for name, shape in before["topics"].items():
        if name in sizes and shape["events"] != sizes[name]:
            found = f"{options.output} has {shape['events']:,} events in {name}, not {sizes[name]:,}"
            raise StackError(f"{found}: choose the same size, or another file")
    kept = {key: [one for one in before.get(key, []) if one["id"] not in options.engines] for key in ("rows", "latency")}
    return {**kept, "topics": before["topics"]}


def run_kind(bench: Bench, kind: str, base: int, options: argparse.Namespace, report: dict[str, Any]) -> None:
    """The chosen engines that read this kind of topics; the report is written after each, so that a late fault loses little."""
    rows = [row for row in product.ROWS if row.id in options.engines and kind == "main"]
    rivals = [engine for engine in engines.RIVALS if engine.id in options.engines and engine.topics == kind]
    if not rows and not rivals:
        return
    pair = bench.topics(kind, base)
    report["topics"] |= {t.prefix.rstrip("."): {**t.shape._asdict(), "totals": t.arrival.totals()} for t in pair}
    for row in rows:
        report["rows"].append(bench.product_row(row, pair))
        write(options.output, report)
    for engine in rivals:
        report["rows"].append(bench.rival_row(engine, pair))
        write(options.output, report)


def write(path: Path, report: dict[str, Any]) -> None:
    """As indented JSON."""
    order = [row.id for row in product.ROWS] + [engine.id for engine in engines.RIVALS]
    report["rows"].sort(key=lambda row: order.index(row["id"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StackError as exc:
        sys.exit(f"error: {exc}")
