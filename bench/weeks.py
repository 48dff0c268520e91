"""`make weeks`: do the default rules that compare with what is usual at the hour of the week learn it, and see an outage and nothing else?

Weeks with the seasons of the day and the week are simulated to a file and folded by `streamer backtest` with the default
definitions. On the last evening but one the payment provider fails on every platform for two hours. Prints, as one JSON object,
what those rules fired and whether the outage explains it; ends with 1 unless each of them saw the outage and nothing else fired.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.incidents import definitions_of, streamer
from streamer.alerts.times import milliseconds
from streamer.definitions import default
from streamer.simulate.scenario import PLATFORMS

WEEKS: Final = 5
RATE: Final = 0.5
CUSTOMERS: Final = 8_000
OUTAGE_HOURS: Final = 2
AFTER_HOURS: Final = 1  # stalls and the last customers' signals come so much later


def outage_begin(weeks: int) -> int:
    """In hours: 19:00 of the last day but one, when most is going on."""
    return (weeks * 7 - 2) * 24 + 19


def firings_of(seed: int, weeks: int, rate: float, folder: Path) -> list[dict[str, Any]]:
    """What the rules with a baseline by hour of the week fired."""
    events, labels = folder / f"{seed}.jsonl", folder / f"{seed}.labels"
    options = ["--seed", str(seed), "--hours", str(weeks * 168), "--rate", str(rate), "--customers", str(CUSTOMERS), "--seasonal"]
    for platform in PLATFORMS:
        options += ["--incident", f"payment-outage:platform={platform}@+{outage_begin(weeks)}h,{OUTAGE_HOURS}h"]
    streamer("simulate", *options, "--out", str(events), "--labels", str(labels))
    report = json.loads(streamer("backtest", str(definitions_of(folder)), str(events), "--labels", str(labels), "--json"))
    events.unlink()
    learning = {rule.id for rule in default().rule if rule.baseline == "hour-of-week"}
    begin = min(milliseconds(incident["start"]) for incident in report["incidents"])
    until = begin + (OUTAGE_HOURS + AFTER_HOURS) * 3_600_000
    return [
        {
            "rule": one["rule"], "about": one["about"], "time": one["time"],
            "minutes_after": round((milliseconds(one["time"]) - begin) / 60_000, 1),
            "explained": begin <= milliseconds(one["time"]) <= until,
        }
        for one in report["firings"]
        if one["rule"] in learning
    ]  # fmt: skip


def report_of(firings: Sequence[dict[str, Any]], seed: int, weeks: int, rate: float) -> dict[str, Any]:
    """The verdict."""
    learning = sorted(rule.id for rule in default().rule if rule.baseline == "hour-of-week")
    seen = {one["rule"] for one in firings if one["explained"]}
    return {
        "seed": seed, "weeks": weeks, "rate": rate, "seen_by": sorted(seen), "missed_by": [rule for rule in learning if rule not in seen],
        "false": [one for one in firings if not one["explained"]], "firings": list(firings),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1_001)
    parser.add_argument("--weeks", type=int, default=WEEKS, help="the first three are learnt from")
    parser.add_argument("--rate", type=float, default=RATE, help="events a second, as a week's mean")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        firings = firings_of(options.seed, options.weeks, options.rate, Path(folder))
    report = report_of(firings, options.seed, options.weeks, options.rate)
    print(json.dumps(report))
    return 1 if report["missed_by"] or report["false"] else 0


if __name__ == "__main__":
    sys.exit(main())
