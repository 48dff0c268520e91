"""`streamer verify`: the processors' numbers against a recount of the same log in SQL that shares no code with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import orjson
import typer

from streamer.alerts.times import rfc3339
from streamer.commands.console import console
from streamer.commands.replay import DefinitionsFile, chosen_definitions, load_definitions
from streamer.commands.times import nothing_between, range_options
from streamer.commands.written_files import replaceable
from streamer.errors import InputError
from streamer.metrics.catalogue import LIFETIME, METRIC_BY_ID, METRICS
from streamer.replay import mapping as mapping_file
from streamer.replay.history import History, read_history
from streamer.replay.pipeline import end_of
from streamer.verify import compare, report
from streamer.verify.counted import count
from streamer.verify.ranges import Range
from streamer.verify.raw_log import Clocks
from streamer.verify.recount import recount
from streamer.verify.sources import records_of
from streamer.verify.tables import used_dimensions

if TYPE_CHECKING:
    from streamer.definitions import Definitions

# Without an end, all clocks stop this long after the greatest event time: its second is over then.
_OPEN_END_MS = 1_000

# What is compared of a part of the log; what became of the records is of all of it.
COMPARED: Final = ("counters", "metrics", "rules")
Verdicts = dict[str, list[compare.Verdict]]


class _Wanted(NamedTuple):
    """What to compare, and how much of what differs to name."""

    definitions: Definitions
    within: Range
    most: int


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)


def verify(
    file: Annotated[
        Path | None, typer.Argument(help="XES, CSV or JSON lines, each also with .gz; - is standard input; none with --topic.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="From the file's columns to touchpoints; not needed for JSON lines of canonical events.")
    ] = None,
    definitions: DefinitionsFile = None,
    topic: Annotated[bool, typer.Option("--topic", help="Not a file: what is in Kafka, and what the workers have committed.")] = False,
    begin: Annotated[str | None, typer.Option("--from", help="Compare only what begins from here on, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Compare only what begins before this, and metrics as of then, RFC 3339.")] = None,
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
    metrics_file: Annotated[
        Path | None, typer.Option(callback=replaceable("--metrics-file"), help="Write the number of mismatches here, for Prometheus.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Recount a history in SQL, from the raw events, and compare with what the processors make of it, exactly.

    Exit code 0: everything compared is equal. 1: something differs. 2: the file, the mapping, the definitions or an option cannot be
    used. With --topic also 3: a topic is missing; 4: the log's begin is gone; 8: Kafka does not answer.
    """
    _check(file, topic=topic, only_of_files={"--mapping": mapping, "--shuffle": shuffle, "--as-written": as_written, "--open": open_ended})
    if as_written and shuffle is not None:
        raise InputError("--as-written and --shuffle exclude each other: each says in which order the events arrive")
    within = Range(*range_options(begin, end))
    chosen = _chosen(metric or [])
    if file is None:
        wanted, log, verdicts = _of_topic(definitions, within, differences)
    else:
        wanted = _Wanted(chosen_definitions(definitions), within, differences)
        history = read_history(file, None if mapping is None else mapping_file.load(mapping))
        log, verdicts = _of_file(history, wanted, as_written=as_written, shuffle=shuffle, open_ended=open_ended)
    if within.limited and not any(verdict.compared for kind in COMPARED for verdict in verdicts[kind]):
        raise nothing_between(log["begin"], log["end"])
    if chosen:
        verdicts |= {kind: [verdict for verdict in verdicts[kind] if verdict.name in chosen] for kind in COMPARED}
    told = _told(log, wanted, verdicts)
    if metrics_file is not None:
        report.write_metrics(metrics_file, [*verdicts["records"], *verdicts["counters"], *verdicts["metrics"]], verdicts["rules"])
    if as_json:
        typer.echo(orjson.dumps(told))
    else:
        report.show(console(), told)
    if told["mismatches"]:
        raise typer.Exit(1)


def _check(file: Path | None, *, topic: bool, only_of_files: dict[str, Any]) -> None:
    if topic == (file is not None):
        raise InputError("name a file, or say --topic; and not both")
    for option, value in only_of_files.items():
        if topic and value not in (None, False):
            raise InputError(f"{option} is for files: with --topic the log is what is in Kafka")


def _of_file(
    history: History, wanted: _Wanted, *, as_written: bool, shuffle: int | None, open_ended: bool
) -> tuple[dict[str, Any], Verdicts]:
    definitions, within, most = wanted
    records = records_of(history, as_written=as_written, shuffle_ms=int(definitions.allowed_lateness), seed=shuffle)
    end_ms = None if open_ended else end_of(history.end_ms, definitions)
    clock_ms = history.end_ms + _OPEN_END_MS if end_ms is None else end_ms
    part = _part(within, within.until(clock_ms), definitions)
    if within.limited:
        within = within.until(clock_ms)
    in_order = not as_written and shuffle is None
    recounted = recount(records, definitions, Clocks({0: clock_ms}), signals=True, within=within)
    counted = count(records, definitions, used_dimensions(definitions), begin_ms=history.begin_ms, end_ms=end_ms, within=within)
    log = {"records": len(records), "begin": rfc3339(history.begin_ms), "end": rfc3339(history.end_ms)}
    return log | {"range": part}, {
        "records": [compare.records(counted.records, recounted.records, counted.cut)],
        "counters": compare.counters(counted, recounted, within, most),
        "metrics": compare.metrics(counted, recounted, definitions, within, most),
        "rules": compare.rules(counted, recounted, definitions, within, most, in_order=in_order),
    }


def _part(asked: Range, within: Range, definitions: Definitions) -> dict[str, Any]:
    """What the report says of a range; within: ended by the log."""
    told = _bounds(asked)
    if asked.limited:
        told["windows_at"] = rfc3339(within.windows_at)
        told["left_out"] = [window for window in (*definitions.windows, LIFETIME) if within.reaches_back(window)]
    return told


def _bounds(asked: Range) -> dict[str, Any]:
    return {"from": asked.from_ms and rfc3339(asked.from_ms), "to": asked.to_ms and rfc3339(asked.to_ms)}


def _of_topic(definitions: Path | None, within: Range, most: int) -> tuple[_Wanted, dict[str, Any], Verdicts]:
    """What the workers have committed, against the recount of what they had read by then."""
    import asyncio

    from streamer import settings
    from streamer.engine import committed
    from streamer.verify import live
    from streamer.verify.raw_log import record_of

    config = settings.load()
    wanted = _Wanted(load_definitions(definitions or config.definitions), within, most)
    read = asyncio.run(committed.read(config))
    batches = live.add_up(
        [[record.value for record in records] for _, records in sorted(read.deltas.items())],
        used_dimensions(wanted.definitions),
        wanted.definitions.account_counters,
    )
    idle = live.idle_clocks(read.journal, wanted.definitions.revision)
    records = [
        record_of(part, one.offset, one.timestamp, one.key, one.value, one.headers) for part, ones in read.source.items() for one in ones
    ]
    recounted = recount(records, wanted.definitions, live.clocks_of(batches, idle))
    if len(read.deltas) > 1:
        slices = wanted.definitions.slices
        recounted = recounted._replace(sums=live.in_slices(recounted.sums, recounted.dimensions, slices))
        batches = batches._replace(sums=live.in_slices(batches.sums, recounted.dimensions, slices))
    counted = live.counted_of(
        batches, [one for ones in read.late.values() for one in ones], [one for ones in read.dead_letters.values() for one in ones]
    )
    ends = sorted(batches.clocks.values())
    log = {"records": len(records), "begin": rfc3339(min(one.arrival for one in records)), "end": rfc3339(ends[-1])}
    log["range"] = _bounds(within)
    rules = [rule.id for rule in wanted.definitions.rule if rule.entity]
    return wanted, log, {
        "records": [compare.records(counted.records, live.put_aside(recounted.records), counted.cut)],
        "counters": compare.counters(counted, recounted, within, most),
        "metrics": compare.unverified([m.id for m in METRICS], "gauges are in no topic; the counters that they are made of are compared"),
        "rules": compare.unverified(rules, "what was said before a late event corrected it cannot be recounted: verify a file in order"),
    }  # fmt: skip


def _told(log: dict[str, Any], wanted: _Wanted, verdicts: Verdicts) -> dict[str, Any]:
    definitions, part = wanted.definitions, log.pop("range")
    mismatches = sum(verdict.mismatches for several in verdicts.values() for verdict in several)
    return {
        "equal": not mismatches,
        "mismatches": mismatches,
        "log": log,
        "range": part,
        "definitions": {"revision": definitions.revision, "digest": definitions.digest},
        "records": report.verdict_json(verdicts["records"][0], "name"),
        "counters": [report.verdict_json(verdict, "counter") for verdict in verdicts["counters"]],
        "metrics": [report.verdict_json(verdict, "metric") for verdict in verdicts["metrics"]],
        "rules": [report.verdict_json(verdict, "rule") for verdict in verdicts["rules"]],
    }


def _chosen(metrics: list[str]) -> set[str]:
    """The metrics and the counters they are functions of."""
    for name in metrics:
        if name not in METRIC_BY_ID:
            raise InputError(f"--metric {name!r}: there is no such metric; known are {', '.join(m.id for m in METRICS)}")
    found = [METRIC_BY_ID[name] for name in metrics]
    parts = [c for m in found for c in (*m.numerator, *m.denominator, *m.squares_counters)]
    return {*metrics, *(counter.name for counter in parts)}
