"""How old is what the gauges say? Event time, clock and watermark of each partition."""

from __future__ import annotations

from grafana.src import common
from grafana.src.frame import Row
from grafana.src.telemetry import age, total
from streamer.metrics.exporter import ROLLUP_HELD, SOURCE_CLOCK


def row() -> Row:
    """Row 300."""
    return Row(
        300,
        "How old is what the gauges say?",
        [
            common.timeseries(
                301,
                "Freshness by source partition",
                "Age of the clock of each source partition, as the rollup has heard of it. The slowest one holds the others back.",
                common.queries((age(SOURCE_CLOCK, "source_partition"), "source {{source_partition}}")),
                unit="s",
            ),
            common.timeseries(
                302,
                "Clock lag by partition",
                "Wall clock minus the clock that decides deadlines. With lag, time passes as it did when the records were written.",
                common.queries((age("streamer_clock_timestamp_seconds", "role, partition"), "{{role}} {{partition}}")),
                unit="s",
            ),
            common.timeseries(
                303,
                "Watermark lag by partition",
                "Wall clock minus the watermark: events older than this are late. Its floor is the allowed lateness (15 min by default).",
                common.queries((age("streamer_watermark_timestamp_seconds", "partition", 'role="journeys"'), "partition {{partition}}")),
                unit="s",
            ),
            common.timeseries(
                304,
                "Event time lag by partition",
                "Wall clock minus the greatest event time seen: how far behind producers and transport are.",
                common.queries((age("streamer_high_timestamp_seconds", "partition", 'role="journeys"'), "partition {{partition}}")),
                unit="s",
                width=12,
            ),
            common.timeseries(
                305,
                "Deltas held for the slowest source",
                "Counter changes that wait until every source partition has passed their tick. Bounded.",
                common.queries((total(ROLLUP_HELD, "rollup_partition"), "rollup {{rollup_partition}}")),
                unit="short",
                width=12,
            ),
        ],
    )
