"""The rollup decides from the log alone: neither the interleaving of partitions, nor batches, nor crashes can be seen in what it says."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import definitions, deltas, topics
from streamer.metrics.counters import Counter
from streamer.processor import LogRecord
from streamer.rollup.processor import RollupProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.definitions import Definitions
    from streamer.processor import Output

DEFINITIONS = """
revision = 1
windows = ["20s", "1m", "2h"]
[limits]
label_values = 3
[[slice]]
by = []
[[slice]]
by = ["journey"]
[[slice]]
by = ["journey", "channel"]
[[rule]]
id = "abandonment"
metric = "abandon_rate"
by = ["journey"]
windows = ["20s", "1m"]
when = "lower > 0.2"
min_n = 3
for = "2s"
[[rule]]
id = "started"
metric = "journeys_started"
windows = ["20s"]
when = "n >= 4"
"""
DEFS: Definitions = definitions.parse(DEFINITIONS)
DIMENSIONS = ["journey", "channel"]
START = 1_000_000  # tick
CELLS: list[tuple[str, ...]] = [(journey, channel) for journey in ("", "a", "b", "c", "d", "e") for channel in ("", "web", "app")]

EVIDENCED = (Counter.ABANDONED, Counter.STARTED)

entries = st.tuples(
    st.integers(-8, 2),  # pane, relative to the tick's
    st.integers(0, len(CELLS) - 1),
    st.sampled_from([Counter.ABANDONED, Counter.ABANDONED, Counter.COMPLETED, Counter.STARTED, Counter.OPEN, Counter.TOUCHPOINTS]),
    st.integers(-1, 4),
)


class Source(NamedTuple):
    """What one source says: (until tick, [(tick, entries)]) per record."""

    records: list[deltas.DeltaBatch]


@st.composite
def histories(draw: st.DrawFn) -> list[Source]:
    count = draw(st.integers(1, 3))
    last = START + 1_000
    return [Source([*draw(records(number, count)), batch(number, count, last, [])]) for number in range(count)]


@st.composite
def records(draw: st.DrawFn, source: int, count: int) -> list[deltas.DeltaBatch]:
    made = []
    tick = START
    for _ in range(draw(st.integers(0, 5))):
        ticks: list[tuple[int, list[int]]] = []
        seen: list[deltas.Exemplar] = []
        for _ in range(draw(st.integers(0, 3))):
            tick += draw(st.sampled_from([1, 1, 2, 3, 7, 40]))
            flat: list[int] = []
            for offset, cell, counter, n in draw(st.lists(entries, max_size=4)):
                flat += [tick // 10 + offset, cell, int(counter), n]
                for _ in range(draw(st.integers(0, 2 * DEFS.limits.exemplars_per_tick)) if counter in EVIDENCED and n else 0):
                    event = draw(st.integers(0, 30))
                    pane_ms = (tick // 10 + offset) * 10_000
                    seen.append(deltas.Exemplar(tick, cell, int(counter), 1 if n > 0 else -1, pane_ms, pane_ms, event, "t", f"e{event}"))
            ticks.append((tick, flat))
        # The last tick may still be open: the next record may add to it.
        until = tick + draw(st.integers(0, 1))
        made.append(batch(source, count, until, ticks, seen))
        tick = max(tick, until)
    return made


def batch(
    source: int, count: int, until: int, ticks: list[tuple[int, list[int]]], seen: Sequence[deltas.Exemplar] = ()
) -> deltas.DeltaBatch:
    return deltas.DeltaBatch(deltas.VERSION, source, count, until, until * 1000, until * 1000, DIMENSIONS, CELLS, ticks, list(seen))


def interleave(draw: st.DrawFn, sources: list[Source]) -> list[LogRecord]:
    """Any order that keeps each source's own."""
    order = draw(st.permutations([i for i, source in enumerate(sources) for _ in source.records]))
    queues = [iter(source.records) for source in sources]
    return [LogRecord(offset, 0, None, deltas.encode(next(queues[i]))) for offset, i in enumerate(order)]


def processor(held_max: int) -> RollupProcessor:
    return RollupProcessor(DEFS, partition=0, partitions=1, build="test", held_max=held_max)


def gauges(rollup: RollupProcessor) -> list[tuple[object, ...]]:
    return sorted((g.metric.id, g.by, g.values, g.window, g.value, g.lower, g.upper, g.k, g.n) for g in rollup.gauges())


def run(
    log: list[LogRecord], cuts: list[tuple[int, bool]], held_max: int = 1_000
) -> tuple[list[bytes | None], dict[int, list[tuple[object, ...]]], RollupProcessor]:
    """(alerts, gauges by clock, the processor at the end); cuts: (records in the batch, crash afterwards)."""
    rollup = processor(held_max)
    outputs: list[Output] = []
    seen: dict[int, list[tuple[object, ...]]] = {}
    changelog: dict[bytes, bytes] = {}
    position = 0
    for size, crash in itertools.chain(cuts, itertools.repeat((len(log), True))):
        part = log[position : position + size]
        position += len(part)
        rollup.process(part, position)
        drained = rollup.drain()
        outputs += drained.outputs
        for key, value in drained.rows:
            if value is None:
                del changelog[key]  # a tombstone for what never was there would be an error
            else:
                changelog[key] = value
        seen[rollup.clock_ms] = gauges(rollup)
        if crash:
            rollup = processor(held_max)
            rollup.restore(list(changelog.items()))
            assert gauges(rollup) == seen[rollup.clock_ms]
        if position == len(log):
            break
    assert all(output.topic == topics.AGGREGATE_ALERTS for output in outputs)
    return [output.value for output in outputs], seen, rollup


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_interleaving_batching_or_crash_changes_an_alert_or_a_gauge(data: st.DataObject) -> None:
    sources = data.draw(histories())
    runs = []
    for _ in range(2):
        log = interleave(lambda strategy: data.draw(strategy), sources)  # type: ignore[arg-type]
        cuts = data.draw(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=len(log)))
        runs.append(run(log, cuts))
    one_by_one = run(interleave(lambda strategy: data.draw(strategy), sources), [(1, False)] * 100)  # type: ignore[arg-type]
    for alerts, seen, _ in runs:
        assert alerts == one_by_one[0]
        for clock in seen.keys() & one_by_one[1].keys():
            assert seen[clock] == one_by_one[1][clock]
    assert sorted(runs[0][2].rule_states()) == sorted(one_by_one[2].rule_states())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_leaving_a_source_out_is_decided_by_the_log_alone(data: st.DataObject) -> None:
    sources = data.draw(histories())
    log = interleave(lambda strategy: data.draw(strategy), sources)  # type: ignore[arg-type]
    cuts = data.draw(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=len(log)))
    for number in range(len(sources)):  # what came late counts at the clock then current, which has to pass
        log.append(LogRecord(len(log), 0, None, deltas.encode(batch(number, len(sources), START + 1_001, []))))
    alerts, seen, rollup = run(log, cuts, held_max=3)
    expected, each, one_by_one = run(log, [(1, False)] * 100, held_max=3)
    assert alerts == expected
    assert seen.items() <= each.items()
    assert rollup.accounting == one_by_one.accounting
    complete = run(log, cuts)[2]  # late or not, everything counts in the end
    assert totals(rollup) == totals(complete)


def totals(rollup: RollupProcessor) -> dict[str, int]:
    """Without what adds up to nothing: whether a counter was ever seen may depend on what cancelled out within a tick."""
    return {g.metric.id: g.k for g in rollup.gauges() if g.window == "lifetime" and not g.by and g.k}


WINDOWS = {"20s": (20_000, 10_000), "1m": (60_000, 10_000), "2h": (7_200_000, 300_000)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_window_sums_are_the_plain_sum_over_the_deltas(data: st.DataObject) -> None:
    sources = data.draw(histories())
    log = interleave(lambda strategy: data.draw(strategy), sources)  # type: ignore[arg-type]
    rollup = RollupProcessor(definitions.parse(DEFINITIONS.replace("label_values = 3", "")), partition=0, partitions=1, build="test")
    for record in log:
        rollup.process([record], record.offset + 1)
        if rollup.clock_ms and data.draw(st.booleans()):
            now = rollup.clock_ms // 1000 - 1
            read = {(g.by, g.values, g.window): g.k for g in rollup.gauges() if g.metric.id == "journeys_abandoned"}
            for name, sums in rollup.watched.windows.items():  # what rules see is what gauges show
                assert all(sums.get(key, 0) == rollup.store.windows[name].get(key, 0) for key in rollup.decisions.watch)
            assert {key: n for key, n in read.items() if n} == oracle(sources, now, log[: record.offset + 1])


def oracle(sources: list[Source], now: int, log: list[LogRecord]) -> dict[tuple[tuple[str, ...], tuple[str, ...], str], int]:
    """Abandonments by slice, values and window: design section 7's formula over the list of all deltas up to tick `now`."""
    sums: dict[tuple[tuple[str, ...], tuple[str, ...], str], int] = defaultdict(int)
    for _, flat in (part for source in sources for record in source.records for part in record.ticks if part[0] <= now):
        for i in range(0, len(flat), 4):
            pane, (journey, channel), counter, n = flat[i], CELLS[flat[i + 1]], flat[i + 2], flat[i + 3]
            if counter != 13:
                continue
            keys: list[tuple[tuple[str, ...], tuple[str, ...]]] = [((), ())]
            keys += [(("journey",), (journey,))] if journey else []
            keys += [(("journey", "channel"), (journey, channel))] if journey and channel else []
            for by, values in keys:
                sums[by, values, "lifetime"] += n
                for name, (width, g) in WINDOWS.items():
                    floor, start = now * 1000 // g * g, pane * 10_000 // g * g
                    if floor - width < start <= floor:
                        sums[by, values, name] += n
    return {key: n for key, n in sums.items() if n}
