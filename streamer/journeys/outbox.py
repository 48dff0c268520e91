"""What a partition puts out beside its deltas: alerts, and records that are not applied, with their original bytes, reason and origin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from streamer import topics
from streamer.alerts import alert
from streamer.journeys.notices import Place
from streamer.processor import Headers, Output, Record

# Of the record, what is kept: as much as the source topic takes uncompressed, and some headers.
PUT_ASIDE_BYTES_MAX: Final = 4 << 20
_HEADER_BYTES_MAX: Final = 64 << 10
# What Kafka writes of each header beside name and value, our prefix, and some: a million of empty ones are no less than 8 MB.
_HEADER_SIZE_BYTES: Final = 16


# Key and headers of an alert, and of a record that is put aside.
_ALERT_SIZE_BYTES: Final = 50
_PUT_ASIDE_SIZE_BYTES: Final = 200


@final
class Outbox:
    """Outputs in the order they came, until they are taken. alerts: how many of them; size_bytes: of all, about."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self.outputs: list[Output] = []
        self.alerts = self.size_bytes = 0

    def take(self) -> list[Output]:
        """Everything since the last time."""
        outputs = self.outputs
        self.clear()
        return outputs

    def tell(self, record: alert.Alert) -> None:
        """Put an alert out."""
        value = alert.encode(record)
        self.outputs.append(Output(topics.ALERTS, record.fingerprint.encode(), value))
        self.size_bytes += len(value) + _ALERT_SIZE_BYTES
        self.alerts += 1

    def put_aside(self, topic: str, record: Record, why: list[tuple[str, bytes]]) -> None:
        """Put a record out that is not applied."""
        self.outputs.append(put_aside(topic, record, self._place, why))
        self.size_bytes += len(record.value or b"") + _PUT_ASIDE_SIZE_BYTES


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
        room -= len(name) + len(value or b"") + _HEADER_SIZE_BYTES
        if room >= 0:
            yield "o-" + name, value
