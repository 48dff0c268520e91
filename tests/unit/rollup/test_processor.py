from __future__ import annotations

import msgspec
import pytest
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from streamer import definitions, deltas
from streamer.alerts import alert, identity
from streamer.errors import DefinitionsError, StreamerError
from streamer.metrics.catalogue import LIFETIME
from streamer.metrics.counters import Counter
from streamer.processor import MARKER_KEY
from streamer.rollup import rows
from streamer.rollup.estimates import COUNTER_MASK
from tests.unit.rollup.feed import T0, Change, Feed

SLICES = """
revision = 3
windows = ["20s", "1h"]
[[slice]]
by = []
[[slice]]
by = ["journey"]
"""
RULE = """
[[rule]]
id = "abandonment"
metric = "abandon_rate"
by = ["journey"]
windows = ["20s", "1h"]
when = "journey == 'checkout' and lower > 0.5"
min_n = 30
for = "5s"
severity = "critical"
action = "look"
owner_team = "checkout"
runbook = "docs/runbooks/checkout-abandonment.md"
"""
CHECKOUT = ("checkout", "web")
T = T0 // 10 * 10  # at a pane boundary
PANE = T // 10


def abandoned(n: int, *, completed: int = 0, cell: tuple[str, ...] = CHECKOUT, pane: int = PANE) -> list[Change]:
    return [(pane, cell, Counter.ABANDONED, n), (pane, cell, Counter.COMPLETED, completed)]


def fired() -> Feed:
    feed = Feed(SLICES + RULE)
    feed.send(T + 1, {T: abandoned(40, completed=5)})
    feed.send(T + 6)
    feed.drain()
    return feed


def test_gauges_are_exact_at_every_tick() -> None:
    feed = Feed(SLICES)
    feed.send(T + 1, {T: abandoned(40, completed=10)})
    lower, upper = proportion_confint(40, 50, method="wilson")
    for window in ("20s", "1h", LIFETIME):
        found = feed.gauge("abandon_rate", window, "checkout")
        assert (found.value, found.k, found.n) == (0.8, 40, 50)
        assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=1e-9)
    feed.send(T + 20)
    assert feed.gauge("abandon_rate", "20s").n == 50
    feed.send(T + 21)
    assert feed.gauge("abandon_rate", "20s").n == 0
    assert feed.gauge("abandon_rate", "20s").value is None
    assert feed.gauge("abandon_rate", "1h").n == 50


def test_a_stock_is_summed_for_ever_and_has_one_window() -> None:
    feed = Feed(SLICES)
    feed.send(T + 1, {T: [(PANE, CHECKOUT, Counter.OPEN, 3)]})
    feed.send(T + 90_000, {T + 80_000: [(PANE + 8_000, CHECKOUT, Counter.OPEN, -1)]})
    assert [(g.window, g.k) for g in feed.rollup.gauges() if g.metric.id == "journeys_open" and g.by] == [(LIFETIME, 2)]


def test_below_ten_a_sample_is_shown_as_insufficient() -> None:
    feed = Feed(SLICES)
    feed.send(T + 1, {T: abandoned(4, completed=5)})
    assert feed.gauge("abandon_rate", "1h", "checkout").sufficient is False
    feed.send(T + 2, {T + 1: abandoned(1)})
    assert feed.gauge("abandon_rate", "1h", "checkout").sufficient is True


def test_nothing_is_decided_before_every_source_has_been_heard() -> None:
    feed = Feed(SLICES, sources=2)
    feed.send(T + 1, {T: abandoned(40)}, source=1)
    assert (feed.rollup.clock_ms, list(feed.rollup.gauges())) == (0, [])
    feed.send(T + 5, source=0)
    assert feed.rollup.clock_ms == (T + 1) * 1000
    assert feed.gauge("journeys_abandoned", "1h", "checkout").k == 40


def test_an_alert_tells_the_numbers_and_who_should_act() -> None:
    feed = fired()
    (told,) = feed.alerts
    fingerprint = identity.fingerprint_of("abandonment", "journey", "checkout")
    episode = identity.episode_id_of(fingerprint, 1)
    assert (told.fingerprint, told.episode_id, told.alert_id) == (fingerprint, episode, identity.alert_id_of(episode, 1))
    assert (told.state, told.severity, told.slice, told.entity) == ("firing", "critical", {"journey": "checkout"}, None)
    assert (told.metric.name, told.metric.k, told.metric.n) == ("abandon_rate", 40, 45)
    assert told.metric.value == 40 / 45
    assert told.event_time == told.detected_at == "2026-09-21T14:13:25.000Z"
    assert told.window == alert.Window(
        start="2026-09-21T13:13:30.000Z", end="2026-09-21T14:13:25.000Z", watermark="2026-09-21T14:13:26.000Z"
    )
    assert told.expires_at == "2026-09-28T14:13:25.000Z"
    assert told.why == (
        "abandon_rate (journey checkout) is 88.9 % over 20s (95 % interval 76.5 % to 95.2 %, n = 45) and 88.9 % over 1h "
        "(95 % interval 76.5 % to 95.2 %, n = 45): `journey == 'checkout' and lower > 0.5` held for 5 s."
    )
    assert (told.rule.text, told.suggested_action, told.owner_team) == ("journey == 'checkout' and lower > 0.5", "look", "checkout")
    assert (told.evidence, told.evidence_count) == ([], 40)  # the deltas carry no exemplars


def test_the_condition_must_hold_without_a_break() -> None:
    feed = Feed(SLICES + RULE)
    feed.send(T + 3, {T: abandoned(40), T + 2: abandoned(0, completed=60)})
    feed.send(T + 9, {T + 3: abandoned(0, completed=-60)})
    feed.drain()
    # It held from T to T + 2, and again from T + 3: five seconds on it fires.
    assert [told.event_time for told in feed.alerts] == ["2026-09-21T14:13:28.000Z"]


def test_a_condition_that_ends_when_a_pane_leaves_the_window_does_not_fire_later() -> None:
    feed = Feed(SLICES + RULE.replace('for = "5s"', 'for = "25s"'))
    feed.send(T + 1, {T: abandoned(40)})
    feed.send(T + 600)
    feed.drain()
    assert feed.alerts == []


def test_an_episode_ends_after_three_clean_evaluations_and_a_new_one_has_other_ids() -> None:
    feed = fired()
    feed.send(T + 7, {T + 6: abandoned(0, completed=500)})
    feed.send(T + 40)
    feed.drain()
    # The boundaries are T + 10, T + 20, T + 30.
    first, ended = feed.alerts
    assert (ended.state, ended.episode_id, ended.event_time) == ("resolved", first.episode_id, "2026-09-21T14:13:50.000Z")
    assert ended.alert_id == identity.alert_id_of(first.episode_id, 2)
    assert ended.why.endswith("ended after 3 clean evaluations.")
    feed.send(T + 61, {T + 50: abandoned(9_000, pane=PANE + 5)})
    feed.drain()
    assert feed.alerts[2].state == "firing"
    assert feed.alerts[2].episode_id == identity.episode_id_of(first.fingerprint, 2)


def test_a_firing_episode_outlives_a_quiet_spell_and_ends_when_nothing_is_known_any_more() -> None:
    feed = fired()
    feed.send(T + 3_000)
    assert [s.status for s in feed.rollup.rule_states()] == ["firing"]
    feed.send(T + 3_601)  # the last pane has left the long window: from here on its sample is too small
    feed.send(T + 7_200)
    feed.drain()
    assert len(feed.alerts) == 1
    feed.send(T + 7_201)
    feed.drain()
    assert [told.state for told in feed.alerts] == ["firing", "resolved"]
    assert [s.status for s in feed.rollup.rule_states()] == ["insufficient"]


def test_other_slices_keep_other_states() -> None:
    feed = Feed(SLICES + RULE)
    feed.send(T + 1, {T: [*abandoned(40), *abandoned(40, cell=("delivery", "")), *abandoned(3, cell=("onboarding", ""))]})
    assert {s.values: s.status for s in feed.rollup.rule_states()} == {
        ("checkout",): "pending", ("delivery",): "ok", ("onboarding",): "insufficient",
    }  # fmt: skip


def test_a_rule_on_a_stock_sees_the_sum_for_ever() -> None:
    feed = Feed(SLICES + '[[rule]]\nid = "open"\nmetric = "journeys_open"\nwindows = ["20s"]\nwhen = "value >= 5"\n')
    feed.send(T + 1, {T: [(PANE, CHECKOUT, Counter.OPEN, 3)]})
    feed.send(T + 101, {T + 100: [(PANE + 10, CHECKOUT, Counter.OPEN, 2)]})
    feed.drain()
    assert [(told.state, told.metric.k) for told in feed.alerts] == [("firing", 5)]
    feed.crash()
    feed.send(T + 200, {T + 150: [(PANE + 15, CHECKOUT, Counter.OPEN, -1)]})
    feed.drain()
    assert [(told.state, told.metric.k) for told in feed.alerts] == [("firing", 5), ("resolved", 4)]


def test_an_expression_that_cannot_be_computed_does_not_hold() -> None:
    feed = Feed(SLICES + RULE.replace("lower > 0.5", "k / (n - 40) > 0"))
    feed.send(T + 20, {T: abandoned(40)})
    feed.drain()
    assert (feed.alerts, feed.rollup.decisions.errors > 0) == ([], True)


def test_a_rule_by_dimensions_its_metric_does_not_have_is_an_error() -> None:
    text = SLICES + '[[slice]]\nby = ["team"]\n' + RULE.replace('by = ["journey"]', 'by = ["team"]')
    with pytest.raises(DefinitionsError, match='"abandonment": abandon_rate is not broken down by team'):
        Feed(text)


def test_while_a_source_is_left_out_gauges_say_partial() -> None:
    feed = Feed(SLICES, sources=2, held_max=3)
    feed.send(T, source=0)
    feed.send(T + 10, {T + i: abandoned(1) for i in range(10)}, source=1)
    assert feed.rollup.partial
    assert all(g.partial for g in feed.rollup.gauges())
    assert [s.left_out for s in feed.rollup.sources()] == [True, False]
    assert feed.rollup.accounting["left_out_sources"] == 1
    feed.send(T + 5, {T + 1: abandoned(7)}, source=0)  # late, but counted at the clock then current
    feed.send(T + 20, source=0)
    feed.send(T + 30, source=1)
    assert not any(g.partial for g in feed.rollup.gauges())
    assert feed.gauge("journeys_abandoned", LIFETIME).k == 17


BAD = {
    "empty": None,
    "undecodable": b"\xc1",
    "unknown_version": msgspec.msgpack.encode([2, "another", "layout"]),
    "malformed": deltas.encode(deltas.DeltaBatch(1, 0, 1, 5, 0, 0, ["journey"], [("a",)], [(1, [0, 1, 1, 1])])),
    "sources_changed": deltas.encode(deltas.DeltaBatch(1, 0, 2, 5, 0, 0, [], [], [])),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_record_that_cannot_be_used_is_a_dead_letter_with_its_bytes(reason: str) -> None:
    feed = Feed(SLICES)
    feed.send(T + 1, {T: abandoned(1)})
    feed.raw(BAD[reason])
    feed.send(T + 2, {T + 1: abandoned(1)})
    feed.drain()
    ((value, headers),) = feed.dead
    assert (value, headers["reason"], headers["origin-topic"], headers["origin-offset"]) == (BAD[reason], reason.encode(), b"deltas", b"1")
    accounting = feed.rollup.accounting
    assert (accounting["consumed"], accounting["applied"], accounting["dead_lettered"]) == (3, 2, 1)
    assert feed.gauge("journeys_abandoned", LIFETIME).k == 2


@pytest.mark.parametrize(
    "batch",
    [
        deltas.DeltaBatch(1, 1, 1, 5, 0, 0, [], [], []),
        deltas.DeltaBatch(1, 0, 1, -1, 0, 0, [], [], []),
        deltas.DeltaBatch(1, 0, 1, 10**15, 0, 0, [], [], []),
        deltas.DeltaBatch(1, 0, 1, 5, 0, 0, ["journey"], [("a", "b")], []),
        deltas.DeltaBatch(1, 0, 1, 5, 0, 0, ["journey", "journey"], [], []),
        deltas.DeltaBatch(1, 0, 1, 5, 0, 0, ["journey"], [("a",)], [(-1, [])]),
        deltas.DeltaBatch(1, 0, 1, 5, 0, 0, ["journey"], [("a",)], [(1, [0, 0, 1])]),
        deltas.DeltaBatch(1, 0, 1, 5, 0, 0, ["journey"], [("a",)], [(1, [0, -1, 1, 1])]),
        deltas.DeltaBatch(1, 0, 1, 5, 0, 0, ["journey"], [("a",)], [(1, [2**62, 0, 1, 1])]),
    ],
)
def test_a_batch_that_contradicts_itself_is_a_dead_letter(batch: deltas.DeltaBatch) -> None:
    feed = Feed(SLICES)
    feed.raw(deltas.encode(batch))
    feed.drain()
    assert [headers["reason"] for _, headers in feed.dead] == [b"malformed"]
    assert feed.rollup.clock_ms == 0


def test_a_counter_of_a_newer_version_is_counted_and_left_alone() -> None:
    feed = Feed(SLICES)
    feed.send(T + 1, {T: [(PANE, CHECKOUT, COUNTER_MASK, 1), *abandoned(2)]})
    assert feed.rollup.accounting["unknown_counters"] == 1
    assert feed.gauge("journeys_abandoned", LIFETIME).k == 2


def test_each_rollup_partition_has_its_own_slices_and_together_they_have_all() -> None:
    text = SLICES + '[[slice]]\nby = ["journey", "channel"]\n'
    parts = [Feed(text, partition=i, partitions=3) for i in range(3)]
    whole = Feed(text)
    for feed in (*parts, whole):
        feed.send(T + 1, {T: [c for i in range(6) for c in abandoned(i, cell=(f"j{i % 3}", f"c{i}"))]})
    found = [(g.metric.id, g.window, g.by, g.values, g.k, g.n) for feed in parts for g in feed.rollup.gauges()]
    assert sorted(found) == sorted((g.metric.id, g.window, g.by, g.values, g.k, g.n) for g in whole.rollup.gauges())


def test_pending_tells_events_alerts_and_bytes_until_the_checkpoint() -> None:
    feed = Feed(SLICES + RULE)
    feed.send(T + 1, {T: abandoned(40)})
    feed.send(T + 6)
    pending = feed.rollup.pending
    assert (pending.events, pending.alerts, pending.size_bytes > 500) == (2, 1, True)
    feed.drain()
    assert feed.rollup.pending == (0, 0, 0)


def test_a_checkpoint_writes_only_what_changed_and_its_marker_last() -> None:
    feed = Feed(SLICES + RULE)
    feed.send(T + 1, {T: abandoned(40)})
    first = feed.drain()
    assert first[-1][0] == MARKER_KEY
    feed.send(T + 2)
    assert [key for key, _ in feed.drain()] == [MARKER_KEY]
    assert {key for key, _ in first} == set(feed.rollup.rows())


def test_panes_no_window_sees_are_deleted_from_the_changelog() -> None:
    feed = Feed(SLICES)
    for step in range(0, 8_000, 400):
        feed.send(T + step + 1, {T + step: abandoned(1, pane=PANE + step // 10)})
        feed.drain()
    panes = [key for key in feed.changelog if key.startswith(rows.PANE)]
    assert len(panes) == 9  # one hour at one pane in 400 s
    assert set(feed.changelog) == set(feed.rollup.rows())


def narrow(changelog: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The rows as schema 3 wrote them: with eight bits for the counter in the keys of sums."""

    def older(key: bytes, value: bytes) -> bytes:
        if rows.by_kind(key) not in (rows.LIFETIME, rows.PANE):
            return value if key != MARKER_KEY else rows.encode({**msgspec.msgpack.decode(value), "schema": 3})
        return rows.encode({sum_key >> 10 << 8 | sum_key & COUNTER_MASK: n for sum_key, n in rows.decode_sums(value, rows.SCHEMA).items()})

    return {key: older(key, value) for key, value in changelog.items()}


def test_rows_whose_keys_have_less_room_for_counters_are_read_and_all_written_anew() -> None:
    feed = Feed(SLICES + '[[slice]]\nby = ["journey", "channel"]\n')
    feed.send(T + 1, {T: [change for n in range(900) for change in abandoned(n + 1, cell=(f"j-{n // 30}", f"c-{n % 30}"))]})
    feed.drain()
    written = feed.changelog
    assert len([key for key in written if rows.by_kind(key) == rows.LIFETIME]) == 2  # chunks
    feed.changelog = narrow(written)
    assert feed.changelog != written
    feed.crash()
    assert feed.gauge("journeys_abandoned", "1h", "j-29", "c-29").k == 900
    feed.drain()
    assert feed.changelog == written == feed.rollup.rows()


def test_held_deltas_survive_a_crash_and_their_rows_go_when_they_are_decided() -> None:
    feed = Feed(SLICES, sources=2)
    feed.send(T + 5, {T: abandoned(1), T + 4: abandoned(2)}, source=0)
    feed.send(T + 1, source=1)
    feed.drain()
    assert sum(key.startswith(rows.HELD) for key in feed.changelog) == 1
    feed.crash()
    assert (feed.rollup.held_entries, feed.gauge("journeys_abandoned", LIFETIME).k) == (2, 1)
    feed.send(T + 5, source=1)
    assert (feed.rollup.held_entries, feed.gauge("journeys_abandoned", LIFETIME).k) == (0, 3)
    feed.drain()
    assert not [key for key in feed.changelog if key.startswith(rows.HELD)]


def test_restoring_gives_back_everything_the_protocol_tells() -> None:
    feed = fired()
    feed.raw(b"\xc1")
    feed.drain()
    before = feed.rollup
    feed.crash()
    after = feed.rollup
    assert (after.next_offset, after.clock_ms, after.reference, after.accounting) == (
        before.next_offset, before.clock_ms, before.reference, before.accounting,
    )  # fmt: skip
    assert before.reference == ((T + 6) * 1000, 5_001)
    assert after.rows() == before.rows() == feed.changelog


def test_restoring_nothing_leaves_a_processor_that_starts_at_the_beginning() -> None:
    feed = Feed(SLICES)
    feed.crash()
    assert (feed.rollup.next_offset, feed.rollup.clock_ms) == (None, 0)


def test_state_of_a_newer_version_is_refused() -> None:
    feed = fired()
    marker = msgspec.msgpack.decode(feed.changelog[MARKER_KEY])
    feed.changelog[MARKER_KEY] = msgspec.msgpack.encode({"schema": 5, "everything": "else", "sources": marker})
    with pytest.raises(StreamerError, match="format 5, this version reads up to 4: deploy the newer version"):
        feed.crash()


def test_changed_definitions_need_a_higher_revision() -> None:
    feed = fired()
    feed.definitions = definitions.parse(SLICES + RULE + "# changed\n")
    with pytest.raises(DefinitionsError, match="both are revision 3: raise `revision`"):
        feed.crash()


def test_a_lower_revision_than_that_of_the_state_is_ignored() -> None:
    """Two versions side by side during a deployment: whichever takes over, the higher one stays in force."""
    feed = fired()
    before = feed.changelog.copy()
    feed.definitions = definitions.parse(SLICES.replace("revision = 3", "revision = 2"))  # which has no rule
    feed.crash()
    assert feed.rollup.definitions.revision == 3
    assert [s.status for s in feed.rollup.rule_states()] == ["firing"]
    assert feed.drain()[:-1] == []
    assert feed.changelog == before
    feed.definitions = definitions.parse((SLICES + RULE).replace("revision = 3", "revision = 4"))
    feed.crash()
    feed.drain()
    feed.definitions = definitions.parse(SLICES + RULE)
    feed.crash()
    assert feed.rollup.definitions.revision == 4, "the higher one is kept in the place of the old one"


def test_a_lower_revision_is_refused_by_a_state_that_has_not_kept_its_definitions() -> None:
    feed = fired()
    del feed.changelog[rows.DEFINITIONS]
    feed.definitions = definitions.parse((SLICES + RULE).replace("revision = 3", "revision = 2"))
    with pytest.raises(DefinitionsError, match="made with revision 3 of the definitions, this is revision 2"):
        feed.crash()


def test_a_state_that_has_not_kept_its_definitions_keeps_them_from_the_next_checkpoint_on() -> None:
    feed = fired()
    text = feed.changelog.pop(rows.DEFINITIONS)
    feed.crash()
    feed.drain()
    assert feed.changelog[rows.DEFINITIONS] == text


def test_new_definitions_keep_what_they_still_have_and_delete_what_no_window_sees() -> None:
    feed = Feed(SLICES + '[[slice]]\nby = ["journey", "channel"]\n' + RULE)
    feed.send(T + 1, {T: abandoned(40)})
    feed.drain()
    text = SLICES.replace("revision = 3", "revision = 4").replace('"1h"]', '"24h"]').replace("by = []", 'by = ["channel"]')
    feed.definitions = definitions.parse(text)
    feed.crash()
    assert {(g.by, g.k) for g in feed.rollup.gauges() if g.metric.id == "journeys_abandoned" and g.window == "20s"} == {(("journey",), 40)}
    feed.send(T + 2, {T + 1: abandoned(1)})
    feed.drain()
    feed.crash()
    assert feed.gauge("journeys_abandoned", "20s", "checkout").k == 41
    assert feed.gauge("journeys_abandoned", "20s", "web").k == 1
    assert {rows.pane_of(key)[0] for key in feed.changelog if key.startswith(rows.PANE)} == {10_000, 300_000}


def test_a_changed_rule_ends_what_it_no_longer_says() -> None:
    feed = fired()
    feed.definitions = definitions.parse((SLICES + RULE).replace("revision = 3", "revision = 4").replace("== 'checkout'", "== 'delivery'"))
    feed.crash()
    assert [s.status for s in feed.rollup.rule_states()] == ["firing"]
    feed.send(T + 40)
    feed.drain()
    assert [(told.state, told.event_time) for told in feed.alerts[1:]] == [("resolved", "2026-09-21T14:13:50.000Z")]
    assert [s.status for s in feed.rollup.rule_states()] == ["insufficient"]


@pytest.mark.parametrize("crash", [False, True])
def test_what_a_source_takes_back_within_a_tick_takes_no_label(crash: bool) -> None:
    feed = Feed(SLICES + "[limits]\nlabel_values = 1\n")
    feed.send(T, {T: [(PANE, ("a", "web"), Counter.STARTED, 1), (PANE, ("b", "web"), Counter.STARTED, 1)]})
    feed.drain()
    if crash:
        feed.crash()
    feed.send(T + 1, {T: [(PANE, ("a", "web"), Counter.STARTED, -1), (PANE, ("b", "web"), Counter.STARTED, 1)]})
    started = {g.values: g.k for g in feed.rollup.gauges() if (g.metric.id, g.window) == ("journeys_started", LIFETIME)}
    assert started == {(): 2, ("b",): 2}, "as if it had been one record without them"


def test_a_crash_before_the_first_tick_under_a_changed_rule_does_not_put_its_end_off() -> None:
    feed = fired()
    feed.definitions = definitions.parse((SLICES + RULE).replace("revision = 3", "revision = 4").replace("== 'checkout'", "== 'delivery'"))
    for _ in range(2):
        feed.crash()
        feed.drain()  # a checkpoint of the new revision, before any tick is decided under it
    feed.send(T + 40)
    feed.drain()
    assert [(told.state, told.event_time) for told in feed.alerts[1:]] == [("resolved", "2026-09-21T14:13:50.000Z")]


def test_a_rule_whose_labels_exclude_a_series_shows_its_state_without_looking() -> None:
    feed = Feed(SLICES + RULE)
    feed.send(T + 1, {T: abandoned(40, cell=("delivery", ""))})
    assert [s.status for s in feed.rollup.rule_states()] == ["ok"]
    feed.send(T + 60)
    assert [s.status for s in feed.rollup.rule_states()] == ["insufficient"]


def test_a_history_of_years_costs_what_is_in_it() -> None:
    feed = Feed(SLICES + RULE)
    for year in range(40):
        tick = T + year * 31_557_600
        feed.send(tick + 1, {tick: abandoned(40, pane=tick // 10)})
    feed.drain()
    assert feed.gauge("journeys_abandoned", LIFETIME).k == 1_600
    assert feed.gauge("journeys_abandoned", "1h").k == 40
    assert [told.state for told in feed.alerts] == ["firing", "resolved"] * 39


def test_hostile_label_values_stay_below_the_ceiling() -> None:
    limit = 20
    feed = Feed(SLICES + f'[[slice]]\nby = ["journey", "channel"]\n[limits]\nlabel_values = {limit}\n', series_per_slice=50)
    total = 0
    for round_ in range(10):
        hostile = [(f'j"\n{round_}-{i}\\', f"c\n# HELP {i} {round_}") for i in range(2_000)]
        feed.send(T + round_ + 1, {T + round_: [(PANE, cell, Counter.STARTED, 1) for cell in hostile]})
        total += len(hostile)
        feed.drain()
    series = {(g.by, g.values) for g in feed.rollup.gauges()}
    assert len(series) <= 1 + (limit + 1) + (50 + 1)
    for by in ((), ("journey",), ("journey", "channel")):
        assert sum(g.k for g in feed.rollup.gauges() if g.by == by and (g.metric.id, g.window) == ("journeys_started", LIFETIME)) == total
    assert feed.rollup.label_overflow["journey"] == total - limit
    assert len(feed.changelog) < 20
