"""The product's definitions of jobs A and B, through the processor alone, against the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import outputs, product
from bench.events import HOUR_MS, events, shape_of
from bench.job import ABANDONED, SWITCHED
from bench.oracle import Oracle, decode
from streamer import definitions, deltas, topics
from streamer.alerts import alert
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import LogRecord

T = 1_790_000_000_000
BASE = 8_000


def folded(text: str) -> dict[str, object]:
    """The comparison of what one partition's fold gives with the oracle."""
    made = list(events(shape_of(BASE, 1, T)))
    values = [one.value(one.time_ms) for one in made]
    arrival = T + 100 * HOUR_MS
    processor = JourneysProcessor(definitions.parse(text), partition=0, partitions=1)
    panes: dict[outputs.PaneKey, list[int]] = {}
    records = []
    for begin in range(0, BASE, 500):
        batch = [LogRecord(at, arrival, made[at].key, values[at]) for at in range(begin, min(begin + 500, BASE))]
        processor.process(batch, begin + len(batch))
        for output in processor.drain().outputs:
            assert output.value is not None
            if output.topic == topics.DELTAS:
                product.add_deltas(panes, deltas.decode(output.value))
            elif output.topic == topics.ALERTS:
                records.append(alert.decode(output.value))
    oracle = Oracle(1, "event")
    decoded = [decode(value) for value in values]
    oracle.feed(0, enumerate(decoded))
    standing, _ = product.standing(records)
    causes = {(0, at): event for at, event in enumerate(decoded)}
    return product.compared(oracle.truth(), [product.alert_of(record, causes) for record in standing], panes)


TEXT = product.DEFINITIONS_AB.read_text()


def test_panes_abandonments_and_third_switches_are_those_of_the_oracle() -> None:
    report = folded(TEXT)
    assert outputs.exact(report)
    assert report[ABANDONED]["expected"] > 50  # type: ignore[index]
    assert report[SWITCHED]["expected"] > 20  # type: ignore[index]
    assert report["switched_of_all"]["missing"] < report["switched_of_all"]["expected"] / 20  # type: ignore[index]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('deadline = "30m"', 'deadline = "29m"'),
        ('"cart.*", ', ""),
        ('recoverable_for = "0s"', 'recoverable_for = "24h"'),
        ('window = "7d"', 'window = "5m"'),
        ("switch_burst = 3", "switch_burst = 4"),
        ('switch_within = "10m"', 'switch_within = "5m"'),
    ],
)
def test_other_definitions_are_another_job(was: str, becomes: str) -> None:
    assert was in TEXT
    report = folded(TEXT.replace(was, becomes))
    assert not outputs.exact(report)


def test_the_file_is_where_the_harness_looks() -> None:
    assert Path(product.DEFINITIONS_AB).name == "definitions-ab.toml"
