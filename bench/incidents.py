"""`make incidents`: do the default rules see what goes wrong, and nothing else? Simulated days with every kind of incident, seed by seed.

Each day is simulated to a file and folded by `streamer backtest` with the default definitions. Of each incident: whether one of the
aggregate rules fired that its label names for it, and how long after it began. A firing of an aggregate rule that no label explains is
false.
Prints a table and, last, one JSON object; ends with 1 unless every incident was seen and there is at most one false alert a week.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.worker import compiled_environment
from streamer.alerts.times import milliseconds
from streamer.definitions import default

HOURS: Final = 26
RATE: Final = 4.0
CUSTOMERS: Final = 8_000
FALSE_PER_WEEK_MAX: Final = 1.0
# Beginning and length of each, in hours.
INCIDENTS: Final[Mapping[str, tuple[int, int]]] = {
    "payment-outage": (2, 1), "broken-mobile-step": (5, 1), "slow-queue": (8, 1), "transfer-loop": (11, 1), "survey-drop": (13, 2),
    "silent-cases": (16, 3), "late-shipments": (18, 2),
}  # fmt: skip


class Day(NamedTuple):
    """One seed. leads: incident -> (rule, seconds after its begin) of the first expected firing; false: firings nothing explains."""

    seed: int
    leads: dict[str, tuple[str, float]]
    false: list[dict[str, Any]]
    firings: int


def streamer(*arguments: str) -> str:
    """Run a command, compiled where that is possible, and give what it prints."""
    command, environment = [sys.executable, "-m", "streamer", *arguments], {**os.environ, **compiled_environment()}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def day_of(seed: int, folder: Path) -> Day:
    """Simulate and fold one day."""
    events, labels = folder / f"{seed}.jsonl", folder / f"{seed}.labels"
    options = ["--seed", str(seed), "--hours", str(HOURS), "--rate", str(RATE), "--customers", str(CUSTOMERS)]
    for kind, (begin, hours) in INCIDENTS.items():
        options += ["--incident", f"{kind}@+{begin}h,{hours}h"]
    streamer("simulate", *options, "--out", str(events), "--labels", str(labels))
    report = json.loads(streamer("backtest", str(definitions_of(folder)), str(events), "--labels", str(labels), "--json"))
    events.unlink()
    aggregate = {rule.id for rule in default().rule if rule.metric}
    told = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    return judged(seed, [one for one in report["firings"] if one["rule"] in aggregate], told)


def definitions_of(folder: Path) -> Path:
    """The default definitions as a file."""
    path = folder / "rules.toml"
    if not path.exists():
        path.write_text(default().text, encoding="utf-8")
    return path


def judged(seed: int, firings: Sequence[dict[str, Any]], labels: Sequence[dict[str, Any]]) -> Day:
    """Which firing belongs to which incident."""
    leads: dict[str, tuple[str, float]] = {}
    explained: set[int] = set()
    for label in labels:
        begin, until = milliseconds(label["start"]), milliseconds(label["effects_until"])
        for number, firing in enumerate(firings):
            time = milliseconds(firing["time"])
            if begin <= time <= until and firing["rule"] in (*label["rules"], *label["also"]):
                explained.add(number)
                if firing["rule"] in label["rules"]:
                    leads.setdefault(label["incident"], (firing["rule"], (time - begin) / 1000))
    return Day(seed, leads, [firing for number, firing in enumerate(firings) if number not in explained], len(firings))


def report_of(days: Sequence[Day]) -> dict[str, Any]:
    """The verdict."""
    kinds = {}
    for kind in INCIDENTS:
        found = [day.leads[kind] for day in days if kind in day.leads]
        seconds = sorted(lead for _, lead in found)
        kinds[kind] = {
            "seen": len(found),
            "of": len(days),
            "missed_in_seeds": [day.seed for day in days if kind not in day.leads],
            "rules": sorted({rule for rule, _ in found}),
            "lead_seconds_median": median(seconds) if seconds else None,
            "lead_seconds_max": seconds[-1] if seconds else None,
        }
    weeks = len(days) * HOURS / (7 * 24)
    false = [{"seed": day.seed, "time": one["time"], "rule": one["rule"], "about": one["about"]} for day in days for one in day.false]
    return {
        "seeds": [day.seed for day in days],
        "simulated_weeks": round(weeks, 2),
        "incidents": kinds,
        "firings": sum(day.firings for day in days),
        "false": false,
        "false_per_week": round(len(false) / weeks, 2),
    }


def show(console: Console, report: Mapping[str, Any]) -> None:
    """The same for people."""
    table = Table("incident", "seen", "by", "first alert after (median)", "at most", title="Does the default file see it?")
    for kind, row in report["incidents"].items():
        minutes = [
            f"{seconds / 60:.1f} min" if seconds is not None else "" for seconds in (row["lead_seconds_median"], row["lead_seconds_max"])
        ]
        table.add_row(kind, f"{row['seen']} of {row['of']}", ", ".join(row["rules"]), *minutes)
    console.print(table)
    console.print(f"{len(report['false'])} false alerts in {report['simulated_weeks']} simulated weeks: {report['false_per_week']} a week")
    for one in report["false"]:
        console.print(f"  seed {one['seed']}  {one['time']}  {one['rule']}  {one['about']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="how many days")
    parser.add_argument("--first", type=int, default=1_001, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.processes) as pool:
        definitions_of(Path(folder))
        days = list(pool.map(lambda seed: day_of(seed, Path(folder)), range(options.first, options.first + options.seeds)))
    report = report_of(days)
    show(Console(stderr=True), report)
    print(json.dumps(report))
    seen = all(row["seen"] == row["of"] for row in report["incidents"].values())
    return 0 if seen and report["false_per_week"] <= FALSE_PER_WEEK_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
