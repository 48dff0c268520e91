"""The page docs/reference/benchmarks.md from a results file: `python -m bench.report [RESULTS] > docs/reference/benchmarks.md`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from bench import engines
from bench.job import ABANDONED, SWITCHED

RESULTS: Final = Path(__file__).with_name("results.json")
# What `make bench-scale` and `make soak` printed last, if it was kept.
SCALE: Final = Path(__file__).with_name("scale.json")
SOAK: Final = Path(__file__).with_name("soak.json")
TEXT: Final = Path(__file__).with_name("report.md")
FULL_EVENTS: Final = 1_000_000
DISORDERED: Final = (
    "\n\nThe product's third switches are compared for customers whose events came in order. Of all customers: {verdict}; it puts late\n"
    "events in their place and does not tell an alert that had ended before the event came that shows it."
)
SMALL: Final = "**A run of small size, for the form of this page: its figures are no findings.** "


def number(value: float | None) -> str:
    """With thousands separators, or a dash."""
    return "–" if value is None else f"{value:,.0f}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, numbers to the right but for the first column."""
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def throughput(report: dict[str, Any]) -> str:
    """One line for each engine."""
    header = [
        "engine", "guarantee", "**warm, events per CPU-s**", "gross, events per CPU-s", "warm, events per s", "gross, events per s",
        "peak MB", "broker CPU-s", "load before",
    ]  # fmt: skip
    rows, main = [], _main_events(report)
    for row in report["rows"]:
        runs = row["runs"]
        rows.append(
            [
                row["title"] + (f" ({_both(runs, 'events')} events)" if runs[0]["events"] != main else ""),
                row["guarantee"],
                f"**{number(row['warm']['events_per_cpu_second'])}**",
                _both([run["gross"] for run in runs], "events_per_cpu_second"),
                number(row["warm"]["events_per_second"]),
                _both([run["gross"] for run in runs], "events_per_second"),
                _both(runs, "rss_peak_megabytes"),
                " / ".join(f"{run['broker_cpu_seconds']:.1f}" for run in runs),
                " / ".join(f"{run['load_before']:.1f}" for run in runs),
            ]
        )
    return table(header, rows) + _roles(report) + _left_out(report)


def _roles(report: dict[str, Any]) -> str:
    """Where the product's CPU went."""
    lines = []
    for row in report["rows"]:
        by_role = row["runs"][-1]["own"].get("cpu_seconds_by_role")
        if by_role:
            total = sum(by_role.values())
            lines.append(f"- {row['title']}: " + ", ".join(f"{role} {seconds / total:.0%}" for role, seconds in by_role.items()))
    return "\n\nCPU by role in the larger run:\n\n" + "\n".join(lines) if lines else ""


def _left_out(report: dict[str, Any]) -> str:
    """The engines of `make bench` that are not in these results."""
    there = {row["id"] for row in report["rows"]}
    others = [engine.title for engine in engines.RIVALS if engine.id not in there]
    return "\n\nNot in this run: " + "; ".join(others) + "." if others else ""


def _both(runs: list[dict[str, Any]], name: str) -> str:
    return " / ".join(number(run[name]) for run in runs)


def _main_events(report: dict[str, Any]) -> int:
    return max(int(row["runs"][0]["events"]) for row in report["rows"])


def _verdict(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not made"
    if found["missing"] == found["extra"] == 0:
        return f"exact ({number(found['expected'])})"
    return f"of {number(found['expected'])}: {number(found['missing'])} missing, {number(found['extra'])} extra"


def comparison(report: dict[str, Any]) -> str:
    """What of the larger run was as the oracle says."""
    rows = []
    for row in report["rows"]:
        found = row["runs"][-1]["compared"]
        if found is None:
            continue
        panes = found.get("panes")
        shown = (
            "not made" if panes is None
            else f"exact ({number(panes['expected'])})" if panes["differ"] == 0
            else f"{number(panes['differ'])} differ of {number(panes['expected'])}"
        )  # fmt: skip
        fields = "all" if "fields" not in found else ", ".join(found["fields"][1:])
        rows.append([row["title"], row["oracle_order"], _verdict(found[ABANDONED]), _verdict(found[SWITCHED]), fields, shown])
    shown = table(["engine", "order of the oracle", "abandoned", "third switches", "fields compared", "panes"], rows)
    of_all = [run["switched_of_all"] for row in report["rows"] if (run := row["runs"][-1]["compared"]) and "switched_of_all" in run]
    return shown + (DISORDERED.format(verdict=_verdict(of_all[0])) if of_all else "")


def latencies(report: dict[str, Any]) -> str:
    """Quantiles of each measurement."""
    rows = []
    for one in report.get("latency", []):
        for name, where in (("kafka_ms", "read_committed consumer"), ("redis_ms", "Redis")):
            found = one.get(name)
            if found and found["n"]:
                quantiles = [number(found[at]) for at in ("p50", "p90", "p99", "max")]
                cpu = f"{one['engine_cpu_percent']} / {one['broker_cpu_percent']}"
                rows.append([one["title"], number(one["rate"]), where, number(found["n"]), *quantiles, cpu])
    if not rows:
        return "Not measured in this run."
    header = ["engine", "events per s", "readable by", "alerts", "p50 ms", "p90", "p99", "max", "CPU % of a core: engine / broker"]
    return table(header, rows)


def histogram(report: dict[str, Any]) -> str:
    """Of the product's first measurement."""
    found = next((one for one in report.get("latency", []) if one["id"] == "product"), None)
    if found is None or not found["kafka_ms"]["n"]:
        return ""
    names = [name for name in ("kafka_ms", "redis_ms") if name in found]
    shares = {name: [count / found[name]["n"] for _, count in found[name]["histogram"]] for name in names}
    rows = []
    for place, (edge, _) in enumerate(found["kafka_ms"]["histogram"]):
        if any(shares[name][place] for name in names):
            label = f"up to {edge:,} ms" if edge is not None else "beyond"
            rows.append([label, *(f"{100 * shares[name][place]:.1f} %" for name in names)])
    heads = {"kafka_ms": "read_committed consumer", "redis_ms": "Redis"}
    title = f"Histogram of {found['title']} at {number(found['rate'])} events per second:\n\n"
    return title + table(["latency", *(heads[name] for name in names)], rows)


def conditions(report: dict[str, Any]) -> str:
    """Where and with what it was measured."""
    machine = report["machine"]
    other = {
        f"{row['title']} on {row['date']} at {row['revision']}" for row in report["rows"] if row.get("revision") != machine["revision"]
    }
    small = report["quick"] or _main_events(report) < FULL_EVENTS
    return (
        f"{SMALL if small else ''}Measured on {machine['date']} at revision {machine['revision']}:\n"
        f"{machine['cpus']} CPUs ({machine['cpu']}), "
        f"{machine['memory_gigabytes']} GB, Python {machine['python']}, {machine['java']}, Kafka {machine['kafka']} (one node, 1 GB heap) "
        f"on the same CPUs.{' Measured at another time: ' + '; '.join(sorted(other)) + '.' if other else ''}"
    )


def topics(report: dict[str, Any]) -> str:
    """The topics and what is in them, in the order of arrival."""
    shapes = report["topics"].items()
    totals = list(next(iter(report["topics"].values()))["totals"])
    rows = [
        [f"`{name}`", f"{shape['span_ms'] // 3_600_000} h", *(number(shape["totals"][total]) for total in totals)] for name, shape in shapes
    ]
    return table(["topic", "span", *(total.replace("_", " ") for total in totals)], rows)


def curve(scale: dict[str, Any] | None) -> str:
    """What a customer costs."""
    if scale is None:
        return "Not measured yet."
    header = [
        "customers in a session at a time", "known at the end", "CPU us per event, all roles", "of the second half", "journeys alone",
        "journeys MB", "after a restore", "changelog bytes per event", "rows restored", "rows per s", "pause when another joins, ms",
    ]  # fmt: skip
    rows = []
    for point in scale["points"]:
        memory = [number(point["journeys_megabytes"]), number(point["journeys_megabytes_restored"])]
        # Curves that were kept before say nothing of the second half.
        cpu = [_microseconds(point.get(f"{part}cpu_microseconds_per_event")) for part in ("", "warm_", "journeys_")]
        back = [number(point["restore"]["rows"]), number(point["restore"]["rows_per_second"])]
        known = [number(point["customers"]), number(point["known_customers"])]
        known[0] += ", every row written" if point["every_row"] else ""
        pause = f"{point['rebalance_pause_milliseconds']:.0f}"
        rows.append([*known, *cpu, *memory, f"{point['changelog_bytes_per_event']:.0f}", *back, pause])
    found, bars = scale["verdicts"], scale["bars"]
    verdict = (
        f"\n\nMemory per customer at 1,000,000: {number(found['bytes_per_customer'])} bytes (bar: {number(bars['bytes_per_customer'])}). "
        f"Cost per event where a million are known, of whom one in twenty is in a session: {found['cost_ratio']} times that at 10,000 "
        f"(bar: {bars['cost_ratio']}); where a million are in a session all at once, {found['cost_ratio_all_at_once']} times, and in the "
        f"second half of the events, in which hardly any of them is new, {found.get('cost_ratio_all_at_once_warm') or 'not measured'}. "
        f"Rows restored per second: {number(found['restored_rows_per_second'])} (bar: {number(bars['restored_rows_per_second'])}), of the "
        f"changelog with every row {number(found['restored_rows_per_second_uncompacted'])}. Folding pauses for "
        f"{found['rebalance_pause_milliseconds']:.0f} ms when another worker joins (bar: {bars['rebalance_pause_milliseconds']})."
    )
    counts = sorted({point["events"] for point in scale["points"]})
    return f"{' or '.join(map(number, counts))} events at each point.\n\n{table(header, rows)}{verdict}"


def _microseconds(cost: float | None) -> str:
    return "" if cost is None else f"{cost:.1f}"


def growth(soak: dict[str, Any] | None) -> str:
    """Whether anything grew."""
    if soak is None:
        return "Not run yet."
    found = soak["verdict"]
    last = soak["samples"][-1]
    first, second = found["fold_microseconds_per_event"]
    rows = [[role, f"{last['megabytes'][role]:,} MB", f"{share:+.1%}"] for role, share in found["memory_growth_share"].items()]
    books = ", ".join(f"{name} {size}" for name, size in found["books_max"].items() if name != "consumers")
    outcome = "Nothing grew." if not found["reasons"] else "It grew: " + "; ".join(found["reasons"]) + "."
    return (
        f"{soak['seconds']:,.0f} s at {soak['rate']:,.0f} events per second, {soak['days']:.0f} days of event time. {outcome} At the end "
        f"{last['customers']:,} customers were held ({found['customers_growth_share']:+.1%} over the part looked at).\n"
        f"Folding an event took {first} us in the first half and {second} us in the second. Most entries in Faust's books: {books}.\n\n"
        + table(["role", "memory at the end", "growth over the part looked at"], rows)
    )


def page(report: dict[str, Any], scale: dict[str, Any] | None = None, soak: dict[str, Any] | None = None) -> str:
    """The whole page."""
    parts = {
        "curve": curve(scale), "growth": growth(soak),
        "conditions": conditions(report), "topics": topics(report), "throughput": throughput(report), "comparison": comparison(report),
        "latency": latencies(report), "histogram": histogram(report),
    }  # fmt: skip
    text = TEXT.read_text()
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part)
    return text.rstrip() + "\n"


def kept() -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The cost curve and the soak that are in the repository."""
    curve_, soak = (json.loads(path.read_text()) if path.exists() else None for path in (SCALE, SOAK))
    return curve_, soak


def main() -> None:
    """Print the page."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    sys.stdout.write(page(json.loads(path.read_text()), *kept()))


if __name__ == "__main__":
    main()
