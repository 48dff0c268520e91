"""`streamer state`: what is known of one customer, and making state and offsets agree again after they were moved apart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import orjson
import typer

from streamer import settings
from streamer.commands.console import as_text
from streamer.definitions import parse
from streamer.engine import stored
from streamer.errors import InputError
from streamer.journeys import marker
from streamer.journeys.cells import Cell
from streamer.journeys.customer import Customer
from streamer.journeys.fold import Fold
from streamer.journeys.state import FIELDS
from streamer.processor import MARKER_KEY, ROW_PREFIX
from streamer.replay.partitions import partition_of
from streamer.touchpoints import touchpoint
from streamer.touchpoints.touchpoint import Touchpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

group = typer.Typer(no_args_is_help=True, help="Look at the state of a customer, and reset a machine's state or offsets.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object without line breaks.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="state")


@group.command()
def get(
    customer: Annotated[str, typer.Argument(callback=as_text, help="customer_id, or anonymous_id of who has none.")],
    *,
    as_json: Json = False,
) -> None:
    """Show what the journeys machine knows of a customer, as of its last checkpoint."""
    loaded = settings.load()
    partition = partition_of(customer.encode(), loaded.partitions)
    rows = asyncio.run(stored.rows(loaded, "journeys", partition))
    found = describe(customer, partition, rows)
    typer.echo(orjson.dumps(found, option=0 if as_json else orjson.OPT_INDENT_2))


@group.command()
def reset(
    machine: Annotated[str, typer.Argument(help="journeys or rollup; all its workers must be stopped.")],
    *,
    from_start: Annotated[
        bool,
        typer.Option("--from-start", help="Drop the state too, and begin again with what the source holds: outputs are written again."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the group's offsets agree with the state again, after either was moved alone."""
    dropped = asyncio.run(stored.reset(settings.load(), machine, from_start=from_start))
    if as_json:
        typer.echo(orjson.dumps({"machine": machine, "from_start": from_start, "rows_dropped": sum(dropped.values())}))
    elif from_start:
        typer.echo(
            f"{machine}: {sum(dropped.values())} rows of {len(dropped)} partitions dropped; it begins again with what the source holds"
        )
    else:
        typer.echo(f"{machine}: it goes on from the offsets of its state")


def describe(customer: str, partition: int, rows: Mapping[bytes, bytes]) -> dict[str, Any]:
    """A customer's row with field names: the live state, the retained events, what consumers were told. Times in milliseconds.

    Raises:
        InputError: there is no such customer in these rows.
    """
    packed = rows.get(ROW_PREFIX + customer.encode())
    if packed is None:
        raise InputError(f"nothing is known of customer {customer!r} in partition {partition}: no event yet, or all of it is forgotten")
    now = marker.decode(rows[MARKER_KEY])
    row = Customer.of_row(customer.encode(), packed)
    definitions = parse(rows[marker.DEFINITIONS_PREFIX + b"%d" % row.revision].decode(), where=f"revision {row.revision}")
    fold = Fold(definitions)
    events = row.events()
    return {
        "customer": customer,
        "partition": partition,
        "next_offset": now.next_offset,
        "clock_ms": now.clock,
        "definitions_revision": row.revision,
        "state": _named(row.folded(fold, events, now.clock)),
        "retained_events": [_named(event) for event in events],
        "told": {fingerprint: _named(emitted) for fingerprint, emitted in row.emitted.items()},
    }


def _named(value: Any) -> Any:
    """Structures as objects, cells as their named values."""
    if type(value) in FIELDS:
        return {name: _named(getattr(value, name)) for name in FIELDS[type(value)]}
    if isinstance(value, Touchpoint):
        return dict(zip(touchpoint.FIELDS, value.values(), strict=True)) | {"details": msgspec.to_builtins(value.details)}
    if isinstance(value, msgspec.Struct):
        return {name: _named(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Cell):
        return value.labels
    if isinstance(value, bytes):  # a cell or an event that a chapter keeps
        kept = msgspec.msgpack.decode(value) if value else None
        return {name: part for name, part in kept.items() if name} if isinstance(kept, dict) else kept
    if isinstance(value, dict):
        return {str(key): _named(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_named(part) for part in value]
    return value
