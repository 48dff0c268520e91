"""`streamer simulate`: customers who never were, into Kafka or a file."""

from __future__ import annotations

import asyncio
import gzip
import signal
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import orjson
import typer

from streamer import settings
from streamer.alerts.times import rfc3339
from streamer.commands.progress import progress_bar
from streamer.commands.written_files import real, writable
from streamer.durations import DURATION_MAX_MS
from streamer.engine import ingest as kafka
from streamer.errors import InputError
from streamer.replay.mapping_time import LAST_MS
from streamer.simulate.customers import Simulation
from streamer.simulate.incidents import KINDS, parse_incident
from streamer.simulate.scenario import HOUR_MS, Scenario
from streamer.simulate.wire import HEADERS, OF_VALUES
from streamer.touchpoints.times import milliseconds
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

# What --out begins with unless --start says otherwise: the same seed then gives the same file on every day.
FILE_START_MS = milliseconds("2026-01-01T00:00:00Z")
# Ten years, as the longest duration of the definitions.
HOURS_MAX = DURATION_MAX_MS / HOUR_MS
# Some ten times what one core makes.
RATE_MAX = 1_000_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(simulate)


def simulate(
    seed: Annotated[int, typer.Option(min=0, help="Same seed, start and options: the same bytes.")] = 1,
    customers: Annotated[int, typer.Option(min=1, max=10_000_000, help="Customers there are.")] = 20_000,
    hours: Annotated[float, typer.Option(min=0, max=HOURS_MAX, help="Hours of past to send as fast as possible.")] = 1.0,
    start: Annotated[str | None, typer.Option(help="Begin of the past, RFC 3339; by default it ends now (with --out: 2026-01-01).")] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=RATE_MAX, help="Events per second.")] = 50.0,
    history_rate: Annotated[
        float | None, typer.Option(min=0.01, max=RATE_MAX, help="Events per second of the past; by default --rate.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Go on after the past, with event time = now.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, max=HOURS_MAX * 3_600, help="End --live after this long; by default it goes on for ever."),
    ] = None,
    incident: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND[:dimension=value]@+10m,5m: 10 minutes after the start for 5; @-31m,6m: before the past's end. May be repeated. "
            f"Kinds: {', '.join(KINDS)}."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(callback=writable("--labels"), help="Write the incidents' ground truth here, JSON lines.")
    ] = None,
    seasonal: Annotated[bool, typer.Option("--seasonal", help="Busy and quiet hours and weekdays; the rates are a week's means.")] = False,
    poison: Annotated[
        bool,
        typer.Option(
            "--poison",
            help="Add records of every dead-letter reason, in turn: one in about 1,000 events. With --out of those that values can have.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=writable("--out"), help="Write JSON lines to a file instead of Kafka, zipped if it ends in .gz; - is standard output."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Simulate customers with realistic base rates. Into Kafka: start it before the first worker, so that the past is not late.

    Exit code 0: done, or ended by a signal with everything acknowledged. 2: an option cannot be used, or the topic's time is past the
    start. 3: the topic is missing or has another shape. 8: Kafka does not answer.
    """
    _check(out, labels, seconds, live=live)
    now_ms = time.time_ns() // 1_000_000
    start_ms, past_end_ms = _span(start, hours, FILE_START_MS if out is not None else now_ms - round(hours * HOUR_MS), now_ms, live=live)
    end_ms = past_end_ms if not live else None if seconds is None else past_end_ms + round(seconds * 1000)
    scenario = Scenario(
        seed,
        customers,
        start_ms,
        end_ms,
        ((start_ms, history_rate or rate), (past_end_ms, rate)),
        tuple(parse_incident(text, start_ms=start_ms, now_ms=past_end_ms, end_ms=end_ms) for text in incident or ()),
        () if not poison else tuple(Reason) if out is None else OF_VALUES,
        seasonal,
    )
    if labels is not None:
        _write_labels(labels, scenario)
    simulation = Simulation(scenario)
    begun = time.monotonic()
    told: dict[str, Any] = {"begin": rfc3339(start_ms), "past_end": rfc3339(past_end_ms)}
    told |= {"events": _write(out, simulation)} if out is not None else _sent(simulation, scenario, past_end_ms if live else None)
    told |= {"seconds": round(time.monotonic() - begun, 3), "made": dict(sorted(simulation.tally.items()))}
    report = orjson.dumps(told) if as_json else f"{told['events']} events in {told['seconds']} s".encode()
    typer.echo(report, err=out == Path("-"))


def _check(out: Path | None, labels: Path | None, seconds: float | None, *, live: bool) -> None:
    """Raises InputError for options that contradict each other."""
    if out is not None and live:
        raise InputError("--out and --live exclude each other: a file has no now")
    if out is not None and labels is not None and real(out) == real(labels):
        raise InputError(f"--out and --labels both name {out}: give them a file each")
    if seconds is not None and not live:
        raise InputError("--seconds says how long --live goes on: add --live, or say --hours for a longer past")


def _span(start: str | None, hours: float, default_ms: int, now_ms: int, *, live: bool) -> tuple[int, int]:
    """(begin, end) of the past in milliseconds since the epoch."""
    if start is not None and live:
        raise InputError("--start and --live exclude each other: a live simulation's past ends now")
    if live:
        return now_ms - round(hours * HOUR_MS), now_ms
    try:
        begin_ms = default_ms if start is None else milliseconds(start)
    except ValueError as exc:
        raise InputError(f"--start {start!r}: {exc}") from exc
    end_ms = begin_ms + round(hours * HOUR_MS)
    if begin_ms < 0 or end_ms > LAST_MS:
        raise InputError(f"--start {start}: with --hours {hours:g} it is not within the years 1970 to 9000")
    return begin_ms, end_ms


def _sent(simulation: Simulation, scenario: Scenario, live_from_ms: int | None) -> dict[str, Any]:
    """Send everything; says how many were appended, and to which partitions."""
    with progress_bar("simulating") as progress:
        delivered = asyncio.run(_send(simulation, scenario, live_from_ms, progress))
    return {"events": sum(delivered.by_partition), "by_partition": delivered.by_partition}


async def _send(simulation: Simulation, scenario: Scenario, live_from_ms: int | None, progress: Any) -> kafka.Delivered:
    """Send until the end or SIGINT or SIGTERM; what was sent is acknowledged."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    begin_ms = None if live_from_ms is not None and scenario.start_ms >= live_from_ms else scenario.start_ms
    return await kafka.simulate(
        settings.load(), simulation.sent(), begin_ms=begin_ms, headers=HEADERS, stop=stop, live_from_ms=live_from_ms, progress=progress
    )


def _write(path: Path, simulation: Simulation) -> int:
    """Write the values as JSON lines; returns how many."""
    with _opened(path) as file:
        return sum(file.write(record.value + b"\n") > 0 for record in simulation.sent())


def _write_labels(path: Path, scenario: Scenario) -> None:
    with _opened(path) as file:
        for incident in scenario.incidents:
            file.write(orjson.dumps(incident.label(), option=orjson.OPT_APPEND_NEWLINE))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdout.buffer
        return
    try:
        with path.open("wb") as file, _zipped(file) if path.suffix.lower() == ".gz" else nullcontext(file) as written:
            yield cast("BinaryIO", written)
    except OSError as exc:
        raise InputError(f"{path}: cannot be written: {exc.strerror}") from exc


def _zipped(file: BinaryIO) -> gzip.GzipFile:
    """Without name and time, so that the same simulation gives the same bytes."""
    return gzip.GzipFile("", "wb", fileobj=file, mtime=0)
