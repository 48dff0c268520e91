"""The rollup's state to changelog rows and back."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from streamer.definitions import parse
from streamer.deltas import PANE_MS, TICK_MS
from streamer.durations import parse_duration
from streamer.errors import DefinitionsError
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.processor import MARKER_KEY
from streamer.rollup import learning, rows
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rollup.hold import Held
from streamer.rollup.panes import CHUNK_SERIES, Sums, panes_of
from streamer.rollup.series import SeriesTable
from streamer.rules.exemplars import Evidenced, evidence_of

if TYPE_CHECKING:
    from streamer.definitions import Definitions, Rule
    from streamer.rollup.processor import RollupProcessor
    from streamer.rollup.sums import Store

Row = tuple[bytes, bytes | None]


class Written:
    """What the changelog holds that may have to be deleted, how many series it has, and of which definitions (digest) it is."""

    def __init__(self) -> None:
        self.panes: set[tuple[int, int, int]] = set()
        self.held: set[int] = set()
        self.series = 0
        self.foreign: set[bytes] = set()
        self.definitions = ""


def changed_rows(processor: RollupProcessor) -> list[Row]:
    """Rows that differ from the last call's, tombstones included, the marker last. Everything is settled before."""
    table, written = processor.table, processor.written
    changed: list[Row] = [(key, None) for key in sorted(written.foreign)]
    written.foreign.clear()
    changed += [(rows.vocabulary_key(name), rows.encode(list(table.vocabulary[name]))) for name in sorted(table.dirty_dimensions)]
    table.dirty_dimensions.clear()
    if len(table.series) > written.series:
        changed += [_series_row(table, chunk) for chunk in range(written.series // CHUNK_SERIES, _chunks(table))]
        written.series = len(table.series)
    store = processor.store
    changed += _lifetime_rows(store, store.dirty_lifetime)
    store.dirty_lifetime.clear()
    changed += _pane_rows(processor)
    changed += _held_rows(processor)
    decisions = processor.decisions
    changed += [(rows.rule_key(identity), rows.encode(episode)) for identity, episode in decisions.take_dirty()]
    changed += [(rows.baseline_key(identity, hour), rows.encode(values)) for identity, hour, values in decisions.take_dirty_baselines()]
    for identity, witnesses in decisions.evidence.take_new(decisions.cases()):
        changed.append((rows.evidence_key(identity), rows.encode(witnesses) if witnesses else None))
    if written.definitions != processor.definitions.digest:
        changed.append((rows.DEFINITIONS, processor.definitions.text.encode()))
        written.definitions = processor.definitions.digest
    changed.append((MARKER_KEY, rows.encode(_marker(processor))))
    return changed


def all_rows(processor: RollupProcessor) -> dict[bytes, bytes]:
    """The whole state as rows. Everything is settled before."""
    table, decisions = processor.table, processor.decisions
    state = {rows.vocabulary_key(name): rows.encode(list(values)) for name, values in table.vocabulary.items() if values}
    state.update([_series_row(table, chunk) for chunk in range(_chunks(table))])
    state.update(_lifetime_rows(processor.store, range(_chunks(table))))
    for panes in processor.store.panes:
        for start, chunk in panes.rows():
            state[rows.pane_key(panes.granularity_ms, start, chunk)] = rows.encode(panes.cells(start, chunk) or {})
    state.update((rows.held_key(held.offset), rows.encode(held.row(processor.next_tick))) for held in processor.hold.live())
    state.update((rows.rule_key(identity), rows.encode(episode)) for identity, episode in decisions.all_states())
    state.update((rows.baseline_key(identity, hour), rows.encode(values)) for identity, hour, values in decisions.all_baselines())
    state.update((rows.evidence_key(case.identity), rows.encode(case.witnesses)) for case in decisions.cases() if case.witnesses)
    state[rows.DEFINITIONS] = processor.definitions.text.encode()
    state[MARKER_KEY] = rows.encode(_marker(processor))
    return state


def restore(processor: RollupProcessor, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Fill a new processor. Raises StreamerError for a newer format, DefinitionsError for definitions that may not follow."""
    kinds: dict[bytes, list[tuple[bytes, bytes]]] = {}
    marker = None
    for key, value in pairs:
        if key == MARKER_KEY:
            marker = rows.decode_marker(value)
        else:
            kinds.setdefault(rows.by_kind(key), []).append((key, value))
    if marker is None:
        return
    processor.offset, processor.since = marker.next_offset, marker.since
    _settle_definitions(processor, marker, _kept_text(kinds))
    _restore_series(processor, kinds)
    _restore_sums(processor, kinds, marker.schema)
    of_before = _definitions_of(processor, kinds)
    _keep_whole(processor, marker, of_before)
    processor.raised = marker.reference
    processor.tally = Tally(marker.accounting)
    processor.table.overflow = Tally(marker.overflow)
    hold = processor.hold
    hold.restore(marker.sources.items(), marker.expected, marker.clock, unheard_left_out=marker.unheard_left_out)
    processor.next_tick = hold.clock
    for key, value in sorted(kinds.get(rows.HELD, [])):
        hold.put(Held(rows.held_offset(key), rows.decode_held(value)))
        processor.written.held.add(rows.held_offset(key))
    _restore_decisions(processor, kinds, marker, of_before)
    if processor.next_tick is not None:
        processor.store.rebuild((processor.next_tick - 1) * TICK_MS)
        processor.watched.rebuild(processor.store, (processor.next_tick - 1) * TICK_MS)


def _definitions_of(processor: RollupProcessor, kinds: dict[bytes, list[tuple[bytes, bytes]]]) -> Definitions:
    """The definitions that the rows are of."""
    kept = _kept_text(kinds)
    return processor.definitions if kept is None else parse(kept.decode(), "the definitions kept with the state")


def _restore_decisions(
    processor: RollupProcessor, kinds: dict[bytes, list[tuple[bytes, bytes]]], marker: rows.Marker, of_before: Definitions
) -> None:
    decisions = processor.decisions
    rules = {rule.id: rule for rule in of_before.rule}
    for key, value in kinds.get(rows.RULE, []):
        decisions.restore(rows.rule_of(key), rows.decode_episode(value), rules)
    for key, value in kinds.get(rows.BASELINE, []):
        identity, hour = rows.baseline_of(key)
        id_ = learning.rule_of(identity)
        if _learnt(of_before, id_) == _learnt(processor.definitions, id_):
            decisions.restore_baseline((identity, hour, rows.decode_values_of_hour(value)))
        else:  # what was usual of another number is not usual of this one
            processor.written.foreign.add(key)
    for key, value in kinds.get(rows.EVIDENCE, []):
        identity = rows.rule_of(key)
        before, now = (_evidenced(of.rule, identity[0]) for of in (of_before, processor.definitions))
        if not decisions.evidence.restore(decisions.case_of(identity), rows.decode_evidence(value), same=before == now):
            processor.written.foreign.add(key)
    clock = processor.next_tick
    if clock is not None and (marker.revision != processor.definitions.revision or marker.unlooked):
        decisions.unlooked.update(marker.unlooked)
        decisions.look_again(clock, rules)
    decisions.rebuild(clock)


def _learnt(definitions: Definitions, id_: str) -> tuple[str | None, int, str] | None:
    """What a rule learns: of which metric, in a window of which length, by whose hours."""
    rule = _named(definitions.rule, id_)
    return None if rule is None else (rule.metric, max(int(parse_duration(name)) for name in rule.windows), definitions.timezone)


def _named(rules: Iterable[Rule], id_: str) -> Rule | None:
    return next((rule for rule in rules if rule.id == id_), None)


def _evidenced(rules: Iterable[Rule], id_: str) -> Evidenced | None:
    """What is evidence of a rule."""
    rule = _named(rules, id_)
    return None if rule is None or rule.metric is None else evidence_of(METRIC_BY_ID[rule.metric], rule.when)


def _kept_text(kinds: dict[bytes, list[tuple[bytes, bytes]]]) -> bytes | None:
    """The definitions that the rows are of."""
    return dict(kinds.get(rows.DEFINITIONS, [])).get(rows.DEFINITIONS)


def _settle_definitions(processor: RollupProcessor, marker: rows.Marker, kept: bytes | None) -> None:
    """The higher revision is in force: two versions side by side during a deployment must not go back and forth."""
    ours = processor.definitions
    if ours.revision == marker.revision and ours.digest != marker.digest:
        raise DefinitionsError(f"the definitions differ from those in force and both are revision {ours.revision}: raise `revision`")
    if ours.revision < marker.revision:
        if kept is None:  # written before they were kept
            raise DefinitionsError(
                f"the state was made with revision {marker.revision} of the definitions, this is revision {ours.revision}"
            )
        processor.follow(parse(kept.decode(), f"kept revision {marker.revision}"))
    elif ours.revision > marker.revision:
        processor.came_into_force()
    if kept is not None:
        processor.written.definitions = marker.digest


def _restore_series(processor: RollupProcessor, kinds: dict[bytes, list[tuple[bytes, bytes]]]) -> None:
    table = processor.table
    for key, value in kinds.get(rows.VOCABULARY, []):
        name = key[len(rows.VOCABULARY) :].decode()
        if name in table.vocabulary:
            table.vocabulary[name] = dict.fromkeys(rows.decode_values(value))
    for _, value in sorted(kinds.get(rows.SERIES, [])):
        for by, values in rows.decode_series(value):
            number = len(table.series)
            table.restore_series(number, by, values)
            processor.decisions.add_series(number, table.series[number])
    processor.written.series = len(table.series)


def _restore_sums(processor: RollupProcessor, kinds: dict[bytes, list[tuple[bytes, bytes]]], schema: int) -> None:
    """Sums by other keys than this schema's are all written anew with the next marker, which tells one schema for all rows."""
    store, written, series = processor.store, processor.written, processor.table.series
    gone = {number for number, labels in enumerate(series) if labels.slice < 0}

    def decode(value: bytes) -> Sums:
        sums = rows.decode_sums(value, schema)
        return {key: n for key, n in sums.items() if key >> COUNTER_BITS not in gone} if gone else sums

    for key, value in kinds.get(rows.LIFETIME, []):
        store.lifetime.update(decode(value))
        if schema < rows.WIDE_KEYS:
            store.dirty_lifetime.add(rows.chunk_of(key))
    by_granularity = {panes.granularity_ms: panes for panes in store.panes}
    for key, value in kinds.get(rows.PANE, []):
        granularity, start, chunk = rows.pane_of(key)
        panes = by_granularity.get(granularity)
        if panes is None:
            written.foreign.add(key)  # a granularity that no window of these definitions has
        else:
            panes.load(start, chunk, decode(value))
            written.panes.add((granularity, start, chunk))
            if schema < rows.WIDE_KEYS:
                panes.dirty.add((start, chunk))


def _keep_whole(processor: RollupProcessor, marker: rows.Marker, of_before: Definitions) -> None:
    """A longer window than before knows nothing of its beginning, a new slice nothing at all: a refund of then would be one of nothing."""
    table = processor.table
    now_ms = (marker.clock or 0) * TICK_MS // PANE_MS * PANE_MS
    for index, by in enumerate(table.slices):
        since_ms = marker.counted_from.get(",".join(by), 0) if by in of_before.slices else now_ms
        if since_ms:
            table.counted_from_ms[index] = since_ms
    counters = processor.definitions.account_counters
    table.accounts_from_ms = {counter: since for counter, since in marker.accounts_from.items() if counter in counters}
    if now_ms:
        table.accounts_from_ms |= {counter: now_ms for counter in counters if counter not in of_before.account_counters}
    known = {panes.granularity_ms: panes.longest_ms for panes in panes_of(parse_duration(name) for name in of_before.windows)}
    for panes in processor.store.panes:
        granularity = panes.granularity_ms
        whole_from = marker.whole_from.get(granularity, 0)
        longest = known.get(granularity, 0)
        if longest < panes.longest_ms and now_ms:
            whole_from = max(
                whole_from, now_ms - now_ms % granularity - (-(-longest // granularity) - 1) * granularity if longest else now_ms
            )
        panes.whole_from_ms = whole_from
        for watched in processor.watched.panes:
            if watched.granularity_ms == granularity:
                watched.whole_from_ms = whole_from


def _chunks(table: SeriesTable) -> int:
    return -(-len(table.series) // CHUNK_SERIES)


def _series_row(table: SeriesTable, chunk: int) -> tuple[bytes, bytes]:
    part = table.series[chunk * CHUNK_SERIES : (chunk + 1) * CHUNK_SERIES]
    return rows.chunk_key(rows.SERIES, chunk), rows.encode([(series.by, series.values) for series in part])


def _lifetime_rows(store: Store, chunks: Collection[int]) -> list[tuple[bytes, bytes]]:
    # Zeros stay: that a counter was ever seen decides which gauges there are.
    return [(rows.chunk_key(rows.LIFETIME, chunk), rows.encode(sums)) for chunk, sums in store.lifetime_chunks(chunks).items()]


def _pane_rows(processor: RollupProcessor) -> Iterator[Row]:
    written = processor.written.panes
    for panes in processor.store.panes:
        for start, chunk in sorted(panes.dirty):
            place = (panes.granularity_ms, start, chunk)
            cells = panes.cells(start, chunk)
            if cells is not None:
                written.add(place)
                yield rows.pane_key(*place), rows.encode(cells)
            elif place in written:
                written.remove(place)
                yield rows.pane_key(*place), None
        panes.dirty.clear()


def _held_rows(processor: RollupProcessor) -> Iterator[Row]:
    """A record in waiting is written once; what of it has been decided meanwhile is told by the marker's clock."""
    written, live = processor.written.held, processor.hold.records
    for offset in sorted(written - live.keys()):
        yield rows.held_key(offset), None
    for offset in sorted(live.keys() - written):
        yield rows.held_key(offset), rows.encode(live[offset].row(processor.next_tick))
    processor.written.held = set(live)


def _marker(processor: RollupProcessor) -> rows.Marker:
    hold = processor.hold
    return rows.Marker(
        next_offset=processor.offset,
        clock=processor.next_tick,
        reference=processor.raised,
        expected=hold.expected,
        unheard_left_out=hold.unheard_left_out,
        sources=hold.sources,
        accounting=dict(processor.tally),
        overflow=dict(processor.table.overflow),
        revision=processor.definitions.revision,
        digest=processor.definitions.digest,
        build=processor.build,
        since=processor.since,
        whole_from={panes.granularity_ms: panes.whole_from_ms for panes in processor.store.panes if panes.whole_from_ms},
        accounts_from=processor.table.accounts_from_ms,
        unlooked=sorted(processor.decisions.unlooked),
        counted_from={",".join(processor.table.slices[index]): since for index, since in processor.table.counted_from_ms.items()},
    )
