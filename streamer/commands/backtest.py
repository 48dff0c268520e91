"""`streamer backtest`: what rules would have done, over a file or over what is in Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from streamer.alerts import alert
from streamer.alerts.times import rfc3339
from streamer.backtest import labels as labelled
from streamer.backtest import report
from streamer.backtest.firings import Span
from streamer.backtest.runs import Backtest
from streamer.commands.alerts import STYLES, printable
from streamer.commands.console import as_name, console
from streamer.commands.progress import progress_bar
from streamer.commands.replay import load_definitions
from streamer.commands.times import nothing_between, range_options
from streamer.commands.written_files import drawable
from streamer.errors import InputError
from streamer.replay import mapping as mapping_file
from streamer.replay.history import read_history
from streamer.replay.pipeline import Shape
from streamer.replay.sources import read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from streamer.definitions import Definitions

_WIDTH_IN_A_FILE = 150
# Firings that are printed for people; --json has all.
_FIRINGS_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backtest)


def backtest(
    rules: Annotated[Path, typer.Argument(help="Definitions file with the rules to try.")],
    file: Annotated[
        Path | None, typer.Argument(help="XES, CSV or JSON lines, each also with .gz; - is standard input; none with --topic.")
    ] = None,
    topic: Annotated[bool, typer.Option("--topic", help="Not a file: what is in Kafka, with the journal of the workers.")] = False,
    mapping: Annotated[Path | None, typer.Option(help="From the file's columns to touchpoints; not for canonical events.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="Report what happened from here on, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Report what happened before this, RFC 3339.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another definitions file: say what it does otherwise.")] = None,
    labels: Annotated[Path | None, typer.Option(help="What really happened, JSON lines: incidents, or outcomes of alerts.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(callback=drawable("--picture", ".png", ".html"), help="Draw what fired over the metric's band: .png or .html."),
    ] = None,
    close: Annotated[
        bool, typer.Option("--close", help="After a file's last event let time go on until every deadline is over, or --to.")
    ] = False,
    alerts: Annotated[bool, typer.Option("--alerts", help="Print every transition first, one JSON object a line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Say what rules would have done over a history: firings, volume, precision and lead time, and what another version does otherwise.

    Folds the whole log with the worker's processors, so that what lasts at --from is known, and reports what happened in the range.

    Exit code 0: done. 2: a file, the rules or an option cannot be used. With --topic also 3: a topic is missing; 4: records were
    deleted while they were read; 8: Kafka does not answer.
    """
    if topic == (file is not None):
        raise InputError("name a history file after the rules, or say --topic; and not both")
    if topic and mapping is not None:
        raise InputError("--mapping is for files: with --topic the events are canonical")
    if topic and close:
        raise InputError("--close is for files: with --topic time is what the workers' journal says")
    span = Span(*range_options(begin, end))
    draw = None if picture is None else _drawing()
    versions = [load_definitions(path) for path in (rules, against) if path is not None]
    known = None if labels is None else labelled.read(read_lines(labels), str(labels))
    observed = draw is not None
    if file is None:
        log, run = _of_topic(versions, observed=observed)
    else:
        log, run = _of_file(file, mapping, versions, span.to_ms, close=close, observed=observed)
    _refuse_outside(span, log, close=close)
    found = run.versions(span)
    if alerts:
        for transition in found[0].alerts:
            typer.echo(alert.encode(transition))
    told = report.summary(log, span, found, known)
    if draw is not None:
        draw(picture, found[0], known, told)
    if as_json:
        typer.echo(orjson.dumps(told))
    else:
        _show(told, picture)


def _refuse_outside(span: Span, log: report.Log, *, close: bool) -> None:
    """close: deadlines after the end of the log are in it, too."""
    if log.begin_ms is None or log.end_ms is None:
        return
    early = span.to_ms is not None and span.to_ms <= log.begin_ms
    late = span.from_ms is not None and span.from_ms > log.end_ms and not close
    if early or late:
        raise nothing_between(rfc3339(log.begin_ms), rfc3339(log.end_ms))


def _of_file(
    file: Path, mapping: Path | None, versions: Sequence[Definitions], to_ms: int | None, *, close: bool, observed: bool
) -> tuple[report.Log, Backtest]:
    history = read_history(file, None if mapping is None else mapping_file.load(mapping))
    run = Backtest(versions, Shape(), observed=observed)
    with progress_bar("backtest", len(history.events)) as progress:
        run.fold_history(history, to_ms, progress, close=close)
    return report.Log(as_name(file.name), len(history.events), history.begin_ms, history.end_ms), run


def _of_topic(versions: Sequence[Definitions], *, observed: bool) -> tuple[report.Log, Backtest]:
    """What the workers have folded, as they did: by partition in the order of the log, with the clocks of their journal."""
    import asyncio

    from streamer import settings, topics
    from streamer.engine import touchpoint_log

    config = settings.load()
    source = config.topic(topics.TOUCHPOINTS)
    run = Backtest(versions, Shape(config.partitions, config.rollup_partitions, source), observed=observed)

    async def fold() -> report.Log:
        first: int | None = None
        last: int | None = None
        done = 0
        async with touchpoint_log.reading(config) as log:
            extent = await log.extent()
            with progress_bar("backtest", extent.records) as progress:
                async for piece in log.pieces(extent):
                    run.fold_piece(piece)
                    stamps = [record.timestamp for records, _ in piece.values() for record in records]
                    if stamps:
                        first, last = min(stamps) if first is None else first, max(stamps)
                    done += len(stamps)
                    progress(done)
        return report.Log(source, done, first, last, extent.notes)

    return asyncio.run(fold()), run


def _drawing() -> Any:
    try:
        from streamer.analysis import backtest_picture
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing not in ("matplotlib", "numpy"):
            raise
        raise InputError(f"--picture needs {missing}, which is not installed here: pip install 'journey-streamer[analysis]'") from exc
    return backtest_picture.save


def _show(told: dict[str, Any], picture: Path | None) -> None:
    output = console(_WIDTH_IN_A_FILE)
    log, firings = told["log"], told["firings"]
    _say(output, f"{_counted(len(firings))} in {log['records']} records of {log['source']}, {log['begin']} to {log['end']}")
    if told["range"]["from"] or told["range"]["to"]:
        _say(output, f"Reported: {told['range']['from'] or 'the begin'} to {told['range']['to'] or 'the end'};"
             f" {told['in_force_before']} were in force before")  # fmt: skip
    for note in log["notes"]:
        _say(output, f"Note: {note}")
    output.print(_rules_table(told["rules"]))
    if told["days"]:
        table = _table("Volume", "day", "firings", "by rule")
        for day in told["days"]:
            table.add_row(day["day"], str(day["firings"]), ", ".join(f"{rule} {n}" for rule, n in day["by_rule"].items()))
        output.print(table)
        _show_firings(output, firings)
    if told.get("incidents"):
        _show_incidents(output, told["incidents"])
    if "against" in told:
        output.print(_against_table(told["against"]))
    if picture is not None:
        _say(output, f"Picture: {picture}")


def _say(output: Console, text: str, style: str = "") -> None:
    output.print(Text(printable(text), style=style), soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, no_wrap=column not in ("by rule", "example"))
    return table


def _rules_table(rules: list[dict[str, Any]]) -> Table:
    known: list[tuple[str, str, Callable[[Any], str]]] = [
        ("precision", "precision", lambda mark: f"{mark['right']} of {mark['judged']}"),
        ("lead_seconds_median", "lead", span_text),
        ("seconds_before_outcome_median", "before outcome", span_text),
    ]
    marks = [entry for entry in known if any(row.get(entry[0]) is not None for row in rules)]
    table = _table("Rules", "rule", *report.STATES, "subjects", "lasting", "busiest day", *(title for _, title, _ in marks))
    for row in rules:
        busiest = f"{row['busiest_day']} ({row['busiest_day_firings']})" if row["busiest_day"] else ""
        cells = [row["rule"], *(str(row[state]) for state in report.STATES), str(row["subjects"]), str(row["lasting"]), busiest]
        table.add_row(*cells, *("" if row.get(name) is None else text(row[name]) for name, _, text in marks))
    return table


def _show_firings(output: Console, firings: list[dict[str, Any]]) -> None:
    _say(output, "Would have fired", "bold")
    for row in firings[:_FIRINGS_SHOWN]:
        ended = "and lasts" if row["ended"] is None else f"until {row['end']}"
        mark = row.get("outcome") or ("false: in no incident of its metric" if row.get("incidents") == [] else "")
        marks = "".join(f" [{part}]" for part in (mark, "retracted" if row["ended"] == "retracted" else "") if part)
        style = STYLES["retracted"] if row["ended"] == "retracted" else ""
        _say(output, f"  {row['time']} {ended}  {row['rule']}  {report.about_text(row['about'])}{marks}", style)
        _say(output, f"      {row['why']}", "dim")
    if len(firings) > _FIRINGS_SHOWN:
        _say(output, f"  ... and {len(firings) - _FIRINGS_SHOWN} more: --json has all")
    _say(output, "")


def _show_incidents(output: Console, incidents: list[dict[str, Any]]) -> None:
    _say(output, "Incidents", "bold")
    for incident in incidents:
        _say(output, f"  {incident['incident']} {incident['start']} to {incident['end']}  {report.about_text(incident['slice'])}")
        for row in incident["rules"]:
            by = "" if row["by"] == "metric" else ", at the same time"
            first = span_text(row["lead_seconds"])
            _say(output, f"      {row['rule']}: {_counted(row['firings'])}, the first {first} after its start{by}")
        if not incident["rules"]:
            _say(output, "      nothing fired")
    _say(output, "")


def _against_table(against: dict[str, Any]) -> Table:
    title = f"Against revision {against['definitions']['revision']} ({against['definitions']['digest']})"
    table = _table(title, "rule", "same", "only here", "only there", "at another time", "example")
    for row in against["rules"]:
        kinds = [("only here", row["only_here"]), ("only there", row["only_there"]), ("moved", row["moved"])]
        kind, example = next(((kind, rows[0]) for kind, rows in kinds if rows), ("", None))
        shown = "" if example is None else f"{kind}: {example['time']} {report.about_text(example['about'])}"
        counts = [str(row["same"]), *(str(len(rows)) for _, rows in kinds)]
        table.add_row(row["rule"], *counts, Text(printable(shown)))
    return table


def _counted(firings: int) -> str:
    return "1 firing" if firings == 1 else f"{firings} firings"


def span_text(seconds: float) -> str:
    """A span of time for people: `12 s`, `5 min`, `3.5 h`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
