"""`make soak`: whether anything grows. Live events whose own time runs through weeks, with new customers all the time.

Every few seconds: memory of each role, customers held, time per fetched batch and per event, lag, and the sizes of Faust's books of
unfinished messages. Afterwards: slopes over the run without its first part, in which the windows fill. Prints one JSON object; exit
code 1 if something grows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from bench import environments, product
from bench.machine import machine
from bench.worker import Worker
from deploy.local.stack import STATE, Stack
from streamer.definitions import default_text, parse
from streamer.engine.ingest import sender

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS: Final = 1_200.0
DAYS: Final = 60.0
RATE: Final = 2_000.0
QUICK: Final = {"seconds": 90.0, "days": 21.0, "rate": 500.0}
CUSTOMERS: Final = 10_000_000  # so many that nearly every session is somebody new
FILLING_SHARE: Final = 0.4  # the longest window of the default definitions is 14 days and 7: it has to be full
# By default buyers are remembered for two years. What is kept of a customer must end within the filling: 10 days, and what waits for it.
KEPT_DAYS_MAX: Final = 10
SAMPLE_SECONDS: Final = 5.0
# Over the part that is looked at: memory may drift by so much of itself, a batch may take so many times longer at the end.
GROWTH_SHARE_MAX: Final = 0.10
SLOWER_MAX: Final = 1.5
PROBE: Final = Path(__file__).with_name("soak_probe")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line."""
    n = len(points)
    x_mean, y_mean = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread if spread else 0.0


def growth(points: Sequence[tuple[float, float]]) -> float:
    """How much the line rises over the points, as a share of its mean."""
    mean = sum(y for _, y in points) / len(points)
    return slope(points) * (points[-1][0] - points[0][0]) / mean if mean else 0.0


def books(directory: Path) -> dict[str, int]:
    """Faust's books of all processes together, as the probe has written them last."""
    found: dict[str, int] = {}
    for path in directory.glob("*.json"):
        for name, size in json.loads(path.read_text()).items():
            found[name] = found.get(name, 0) + size
    return found


def sample(worker: Worker, directory: Path, begun: float) -> dict[str, Any]:
    """One look."""
    return {
        "seconds": round(time.monotonic() - begun, 1),
        "megabytes": worker.rss_megabytes(),
        "customers": round(worker.value("journeys", "streamer_state_entries")),
        "events": round(worker.events_consumed()),
        "lag": round(worker.value("journeys", "streamer_source_lag_records")),
        "batches": round(worker.value("journeys", "streamer_batch_duration_seconds_count")),
        "batch_seconds": worker.value("journeys", "streamer_batch_duration_seconds_sum"),
        "books": books(directory),
    }


def verdict(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What grew, from the samples after the filling."""
    kept = [one for one in samples if one["seconds"] >= samples[-1]["seconds"] * FILLING_SHARE]
    roles = kept[0]["megabytes"]
    grown = {role: round(growth([(one["seconds"], one["megabytes"][role]) for one in kept]), 3) for role in roles}
    half = len(kept) // 2
    first, second = _microseconds(kept[: half + 1]), _microseconds(kept[half:])
    found: dict[str, Any] = {
        "memory_growth_share": grown,
        "customers_growth_share": round(growth([(one["seconds"], one["customers"]) for one in kept]), 3),
        "fold_microseconds_per_event": [round(first, 1), round(second, 1)],
        "books_max": {name: max(one["books"].get(name, 0) for one in kept) for name in ("consumers", "gaps", "unacked", "acked")},
        "lag_max": max(one["lag"] for one in kept),
    }
    reasons = [f"memory of {role} grew by {share:.0%}" for role, share in grown.items() if share > GROWTH_SHARE_MAX]
    if second > first * SLOWER_MAX:
        reasons.append(f"folding an event took {first:.1f} us in the first half and {second:.1f} us in the second")
    reasons += [f"Faust holds {size} {name}" for name, size in found["books_max"].items() if name in ("gaps", "unacked") and size]
    if not found["books_max"]["consumers"]:
        reasons.append("Faust's books were not seen")
    return {**found, "reasons": reasons}


def _microseconds(samples: Sequence[dict[str, Any]]) -> float:
    events = samples[-1]["events"] - samples[0]["events"]
    return float((samples[-1]["batch_seconds"] - samples[0]["batch_seconds"]) / events * 1e6) if events else 0.0


async def _begin(environment: dict[str, str], begin_ms: int) -> None:
    """Let the topic's time begin then: that of a partition never written is the broker's, and ticks would not end before it."""
    async with sender(product.config_of(environment)) as out:
        await out.control("begin", begin_ms)


def definitions() -> str:
    """The default ones, but that nothing is kept for longer than `KEPT_DAYS_MAX`."""
    text = re.sub(r'"(\d+)d"', lambda span: f'"{min(int(span[1]), KEPT_DAYS_MAX)}d"', default_text())
    # A shipment is kept for longer than one and a half times the cadence.
    text = re.sub(r"^cadence = .*$", 'cadence = "6d"\nper_customer = "6d"', text, flags=re.MULTILINE)
    parse(text)
    return text


def run(stack: Stack, directory: Path, options: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """The soak; its samples."""
    made = product.environment(stack, product.ROWS[1], "soak.")
    made["STREAMER_DEFINITIONS"] = str(directory / "definitions.toml")
    Path(made["STREAMER_DEFINITIONS"]).write_text(definitions())
    product.create_topics(made)
    probes = directory / "probes"
    probes.mkdir()
    probed = {**made, "BENCH_PROBE_DIRECTORY": str(probes), "PYTHONPATH": f"{PROBE}{os.pathsep}{environments.ROOT}"}
    speed = options.days * 86_400 / options.seconds
    asyncio.run(_begin(made, time.time_ns() // 1_000_000 - round(options.days * 86_400_000)))
    command = [sys.executable, "-m", "bench.live", str(options.rate), str(options.seconds), str(speed), str(CUSTOMERS)]
    samples = []
    with Worker(probed, directory / "soak.log") as worker, subprocess.Popen(command, env=made, stdout=subprocess.PIPE) as live:
        assert live.stdout is not None  # noqa: S101  it is a pipe
        live.stdout.readline()  # it begins
        begun = time.monotonic()
        try:
            while live.poll() is None:
                time.sleep(options.sample_seconds)
                samples.append(sample(worker, probes, begun))
                if len(samples) % 12 == 0:
                    console.print(samples[-1])
        finally:
            live.terminate()
        if live.returncode:
            raise RuntimeError(f"the generator ended with {live.returncode}")
        worker.until_done()
    return samples


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help=f"how long (default {SECONDS:.0f})")
    parser.add_argument("--days", type=float, help=f"of event time (default {DAYS:.0f})")
    parser.add_argument("--rate", type=float, help=f"events per second (default {RATE:.0f})")
    parser.add_argument("--sample-seconds", type=float, default=SAMPLE_SECONDS, help=f"between two looks (default {SAMPLE_SECONDS:.0f})")
    parser.add_argument("--quick", action="store_true", help=f"a short form for builds: {QUICK}")
    options = parser.parse_args(arguments)
    defaults = QUICK if options.quick else {"seconds": SECONDS, "days": DAYS, "rate": RATE}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with Stack(directory, kafka_port=0, redis_port=0, prometheus_port=0, cache=STATE, fresh=True) as stack:
            samples = run(stack, directory, options, console)
    found = verdict(samples)
    for reason in found["reasons"]:
        console.print(f"grows: {reason}")
    given = {"seconds": options.seconds, "days": options.days, "rate": options.rate}
    print(json.dumps({"bench": "soak", "machine": machine(), **given, "verdict": found, "samples": samples}))
    return 1 if found["reasons"] else 0


if __name__ == "__main__":
    sys.exit(main())
