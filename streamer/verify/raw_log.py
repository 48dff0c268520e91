"""The raw log that both sides read: records with their places and arrivals, and how they get into DuckDB."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# docs/reference/touchpoint.md: nested deeper is not accepted as JSON.
DEPTH_MAX = 256
CONTROL = "cx-control"
ENVELOPE = ("ce_type", "ce_time", "ce_id", "ce_source")


class Record(NamedTuple):
    """One record. control_ms: the time of a control record, which is no event; headers: those of the envelope, in binary mode."""

    part: int
    off: int
    arrival: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    control_ms: int | None = None


class Clocks(NamedTuple):
    """Time, which is not in the records alone.

    ends: partition -> its clock at the end of the log, milliseconds. idle: what the journal says, (partition, offset, the clock after it).
    """

    ends: Mapping[int, int]
    idle: Sequence[tuple[int, int, int]] = ()


def record_of(
    part: int, off: int, arrival: int, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> Record:
    """A record as Kafka has it; what is a control record without a time is no event either, and a dead letter."""
    told = [(name, content) for name, content in headers if content is not None]
    if dict(told).get(CONTROL) is None:
        return Record(part, off, arrival, key, value, told)
    if dict(told)[CONTROL] in (b"begin", b"end"):
        with suppress(ValueError, TypeError, KeyError):
            return Record(part, off, arrival, None, None, (), int(json.loads(value or b"")["time_ms"]))
    return Record(part, off, arrival, key, b"[]")


def as_columns(records: Iterable[Record]) -> list[list[Any]]:
    """The columns of the table `raw`."""
    rows = [_row(record) for record in records]
    return [list(column) for column in zip(*rows, strict=True)]


def _row(record: Record) -> tuple[Any, ...]:
    value = record.value or b""
    text, content = (None, b"") if record.control_ms is not None else _json(value)
    told = {name: header for name, header in record.headers if name in ENVELOPE}
    try:
        headers = {name: header.decode() for name, header in told.items()} if "ce_type" in told else {}
    except UnicodeDecodeError:
        headers, text = {}, None
    digest = hashlib.sha256(content)
    for name in ("ce_type", "ce_time", "ce_source"):
        digest.update(headers.get(name, "").encode() + b"\0")
    key = None if record.key is None else record.key.decode(errors="replace")
    envelope = [headers.get(name) for name in ENVELOPE]
    return (record.part, record.off, record.arrival, key, text, len(value), digest.hexdigest(), *envelope, record.control_ms)


def _json(value: bytes) -> tuple[str | None, bytes]:
    """The value if it is JSON as the standard has it, and its content with keys in order. Of a key that comes twice the last counts."""
    doubled = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        found = dict(pairs)
        doubled |= len(found) < len(pairs)
        return found

    try:
        text = value.decode()
        parsed = json.loads(text, object_pairs_hook=members, parse_constant=_no_constant)
        if len(value) > 2 * DEPTH_MAX and max(_depths(parsed)) > DEPTH_MAX:
            return None, b""
        # A half of a surrogate pair is no text: UnicodeEncodeError.
        ordered = json.dumps(parsed, sort_keys=True, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None, b""
    return (json.dumps(parsed) if doubled else text), ordered


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _depths(value: Any) -> Iterator[int]:
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, (dict, list)):
            waiting += [(part, depth + 1) for part in (item.values() if isinstance(item, dict) else item)]
            yield depth + 1
        else:
            yield depth
