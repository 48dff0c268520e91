"""`streamer verify`: the processors' numbers against a recount of the same log in SQL that shares no code with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console

from streamer.alerts.times import rfc3339
from streamer.commands.replay import load_definitions
from streamer.errors import InputError
from streamer.metrics.catalogue import METRIC_BY_ID, METRICS
from streamer.replay import mapping as mapping_file
from streamer.replay.history import History, read_history
from streamer.replay.pipeline import end_of
from streamer.touchpoints.times import milliseconds
from streamer.verify import compare, report
from streamer.verify.counted import Counted, count
from streamer.verify.recount import Recount, recount
from streamer.verify.sources import records_of
from streamer.verify.tables import used_dimensions

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.verify.raw_log import Record

# Without an end, all clocks stop this long after the greatest event time: its second is over then.
_OPEN_END_MS = 1_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)


def verify(
    file: Annotated[Path, typer.Argument(help="XES, CSV or JSON lines, each also with .gz.")],
    mapping: Annotated[
        Path | None, typer.Option(help="From the file's columns to touchpoints; not needed for JSON lines of canonical events.")
    ] = None,
    definitions: Annotated[Path | None, typer.Option(help="Definitions file; without it the documented default.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="Compare only panes from here on, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Compare only panes before this, RFC 3339.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Compare only this metric and what it is made of; may be repeated.")] = None,
    shuffle: Annotated[
        int | None, typer.Option(help="Let the events arrive out of order, within the allowed lateness, as this seed has it.")
    ] = None,
    as_written: Annotated[
        bool, typer.Option("--as-written", help="The file's order is the order of arrival; without it events are sorted by time.")
    ] = False,
    open_ended: Annotated[
        bool, typer.Option("--open", help="Stop at the last event instead of letting every deadline fall due: windows are as of then.")
    ] = False,
    differences: Annotated[int, typer.Option(min=0, help="How many differences of each counter and metric to name.")] = 20,
    metrics_file: Annotated[Path | None, typer.Option(help="Write the number of mismatches here, for Prometheus.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Recount a history in SQL, from the raw events, and compare with what the processors make of it, exactly.

    Exit code 0: everything compared is equal. 1: something differs. 2: the file, the mapping, the definitions or an option cannot be
    used.
    """
    wanted = load_definitions(definitions)
    if as_written and shuffle is not None:
        raise InputError("--as-written and --shuffle exclude each other: each says in which order the events arrive")
    within = compare.Range(_time("--from", begin), _time("--to", end))
    chosen = _chosen(metric or [])
    history = read_history(file, None if mapping is None else mapping_file.load(mapping))
    log = records_of(history, as_written=as_written, shuffle_ms=int(wanted.allowed_lateness), seed=shuffle)
    in_order = not as_written and shuffle is None
    counted, recounted = _both(log, history, wanted, open_ended=open_ended, in_order=in_order)
    verdicts = {
        "records": [compare.records(counted, recounted)],
        "counters": [v for v in compare.counters(counted, recounted, within, differences) if not chosen or v.name in chosen],
        "metrics": [v for v in compare.metrics(counted, recounted, wanted, within, differences) if not chosen or v.name in chosen],
        "rules": [] if chosen else compare.rules(counted, recounted, wanted, within, differences, in_order=in_order),
    }
    told = _told(history, log, wanted, within, verdicts)
    if metrics_file is not None:
        report.write_metrics(metrics_file, [verdict for part in verdicts.values() for verdict in part])
    if as_json:
        typer.echo(orjson.dumps(told))
    else:
        report.show(Console(), told)
    if told["mismatches"]:
        raise typer.Exit(1)


def _both(log: list[Record], history: History, wanted: Definitions, *, open_ended: bool, in_order: bool) -> tuple[Counted, Recount]:
    end_ms = None if open_ended else end_of(history.end_ms, wanted)
    clock_ms = history.end_ms + _OPEN_END_MS if end_ms is None else end_ms
    recounted = recount(log, wanted, clock_ms, signals=in_order)
    return count(log, wanted, used_dimensions(wanted), begin_ms=history.begin_ms, end_ms=end_ms), recounted


def _told(
    history: History, log: list[Record], wanted: Definitions, within: compare.Range,
    verdicts: dict[str, list[compare.Verdict]],
) -> dict[str, Any]:  # fmt: skip
    mismatches = sum(verdict.mismatches for part in verdicts.values() for verdict in part)
    return {
        "equal": not mismatches,
        "mismatches": mismatches,
        "log": {"records": len(log), "begin": rfc3339(history.begin_ms), "end": rfc3339(history.end_ms)},
        "range": {"from": within.from_ms and rfc3339(within.from_ms), "to": within.to_ms and rfc3339(within.to_ms)},
        "definitions": {"revision": wanted.revision, "digest": wanted.digest},
        "records": report.verdict_json(verdicts["records"][0], "name"),
        "counters": [report.verdict_json(verdict, "counter") for verdict in verdicts["counters"]],
        "metrics": [report.verdict_json(verdict, "metric") for verdict in verdicts["metrics"]],
        "rules": [report.verdict_json(verdict, "rule") for verdict in verdicts["rules"]],
    }


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return milliseconds(text)
    except ValueError as exc:
        raise InputError(f"{option} {text!r}: {exc}") from exc


def _chosen(metrics: list[str]) -> set[str]:
    """The metrics and the counters they are functions of."""
    for name in metrics:
        if name not in METRIC_BY_ID:
            raise InputError(f"--metric {name!r}: there is no such metric; known are {', '.join(m.id for m in METRICS)}")
    found = [METRIC_BY_ID[name] for name in metrics]
    parts = [c for m in found for c in (*m.numerator, *m.denominator, *([m.squares] if m.squares else []))]
    return {*metrics, *(counter.name for counter in parts)}
