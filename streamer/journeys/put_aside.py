"""Records that are not applied: dead letters and late events, with their original bytes, the reason and their origin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from streamer.journeys.notices import Place
from streamer.processor import Headers, Output, Record

# Of the record, what is kept: as much as the source topic takes uncompressed, and some headers.
PUT_ASIDE_BYTES_MAX: Final = 4 << 20
_HEADER_BYTES_MAX: Final = 64 << 10


def put_aside(topic: str, record: Record, place: Place, why: list[tuple[str, bytes]]) -> Output:
    """The record as an output of `topic` (logical name), with the headers `why` and where it came from."""
    headers: Headers = [
        *why,
        ("origin-topic", place.topic.encode()),
        ("origin-partition", b"%d" % place.partition),
        ("origin-offset", b"%d" % record.offset),
        ("origin-timestamp", b"%d" % record.timestamp),
        *_within(record.headers),
    ]
    value = record.value
    if value is not None and len(value) > PUT_ASIDE_BYTES_MAX:
        # The broker's limit is on compressed batches: this could never be written whole, and would be tried for ever.
        headers = [*headers, ("original-size", b"%d" % len(value))]
        value = value[:PUT_ASIDE_BYTES_MAX]
    key = None if record.key is None else record.key[:_HEADER_BYTES_MAX]
    return Output(topic, key, value, headers)


def _within(headers: Headers) -> Iterator[tuple[str, bytes]]:
    """The original headers, as many as fit."""
    room = _HEADER_BYTES_MAX
    for name, value in headers:
        room -= len(name) + len(value or b"")
        if room >= 0:
            yield "o-" + name, value
