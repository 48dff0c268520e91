"""What a verification says: one JSON object, tables for people, and a file for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.core import CounterMetricFamily
from rich.table import Table

from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from streamer.verify.compare import Verdict

_DIFFERENCES_SHOWN: Final = 3


def verdict_json(verdict: Verdict, kind: str) -> dict[str, Any]:
    """A verdict as JSON; kind: what it is about."""
    return {
        kind: verdict.name,
        "status": verdict.status,
        **({"reason": verdict.reason} if verdict.reason else {}),
        "compared": verdict.compared,
        "equal": verdict.equal,
        "different": verdict.compared - verdict.equal,
        "differences": verdict.differences,
    }


def show(console: Console, told: dict[str, Any]) -> None:
    """The report for people: every counter and metric that has something to compare or cannot be, and the first differences."""
    log, records = told["log"], told["records"]
    console.print(f"{log['records']} records, {log['begin']} to {log['end']}; what became of them: {records['status']}", soft_wrap=True)
    if "windows_at" in told["range"]:
        left_out = told["range"]["left_out"]
        because = f"; left out, because they begin before --from: {', '.join(left_out)}" if left_out else ""
        console.print(f"windows as of {told['range']['windows_at']}{because}", soft_wrap=True)
    for difference in records["differences"]:
        console.print(f"  {difference['outcome']}: counted {difference['counted']}, recounted {difference['recounted']}", soft_wrap=True)
    titles = {
        "counters": "Counters, by cell and pane",
        "metrics": "Metrics, by slice and window",
        "rules": "Entity rules, by alert and entity",
    }
    for kind, title in titles.items():
        if told[kind]:
            _show_table(console, told[kind], kind[:-1], title)
    mismatches = told["mismatches"]
    console.print("everything compared is equal" if not mismatches else f"{mismatches} differences")


def _show_table(console: Console, rows: Sequence[dict[str, Any]], kind: str, title: str) -> None:
    table = Table(kind, "status", "compared", "equal", "different", title=title)
    empty = [row[kind] for row in rows if not row["compared"] and row["status"] == "equal"]
    for row in rows:
        if row[kind] not in empty:
            table.add_row(row[kind], row["status"], *(str(row[name]) for name in ("compared", "equal", "different")))
    console.print(table)
    if empty:
        console.print(f"nothing counted and nothing recounted: {', '.join(empty)}", soft_wrap=True)
    for reason in dict.fromkeys(row["reason"] for row in rows if row.get("reason")):
        named = ", ".join(row[kind] for row in rows if row.get("reason") == reason)
        console.print(f"not verified: {named}: {reason}", soft_wrap=True)
    for row in rows:
        for difference in row["differences"][:_DIFFERENCES_SHOWN]:
            of = difference.get("cell") or difference.get("slice") or difference.get("entity") or {}
            where = ", ".join(f"{name}={value}" for name, value in of.items())
            place = difference.get("pane") or difference.get("window") or difference["time"]
            numbers = f"counted {_short(difference['counted'])}, recounted {_short(difference['recounted'])}"
            console.print(f"  {row[kind]} {place} {where or 'all'}: {numbers}", soft_wrap=True)


def _short(value: Any) -> str:
    if not isinstance(value, dict) or "k" not in value:
        return str(value)
    return f"{value['k']} of {value['n']}" if value["k"] != value["n"] else str(value["k"])


class _Collected:
    """The verdicts as counters; without the times of creation, which say nothing about a run."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        self._verdicts = verdicts

    def collect(self) -> Iterator[CounterMetricFamily]:
        mismatches = CounterMetricFamily(
            "streamer_verify_mismatches", "Places where counted and recounted numbers differ, in the last verification", labels=["metric"]
        )
        unverified = CounterMetricFamily(
            "streamer_verify_unverified", "Places that differ where a limit explains it, in the last verification", labels=["metric"]
        )
        for verdict in self._verdicts:
            mismatches.add_metric([verdict.name], verdict.mismatches)
            unverified.add_metric([verdict.name], verdict.compared - verdict.equal - verdict.mismatches)
        yield from (mismatches, unverified)


def write_metrics(path: Path, verdicts: Sequence[Verdict], rules: Sequence[Verdict]) -> None:
    """The mismatches for node_exporter's textfile collector. Raises InputError if the file cannot be written."""
    registry = CollectorRegistry()
    # A rule may be called as a metric is.
    registry.register(_Collected([*verdicts, *(verdict._replace(name=f"rule:{verdict.name}") for verdict in rules)]))
    try:
        write_to_textfile(str(path), registry)
    except OSError as exc:
        raise InputError(f"{path}: the metrics file cannot be written: {exc.strerror}") from exc
