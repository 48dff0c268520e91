"""Incidents: their syntax, their labels, and that each moves the metrics it names, and no others."""

from __future__ import annotations

import gc
import json
from collections import Counter as Tally
from collections import defaultdict
from functools import cache
from math import hypot, log, sqrt
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from streamer import definitions
from streamer.alerts.times import rfc3339
from streamer.errors import InputError
from streamer.metrics import catalogue
from streamer.metrics.catalogue import CHAPTER_OF, METRIC_BY_ID
from streamer.metrics.metric import Metric, counters_of
from streamer.replay.pipeline import Arrival, Result, end_of, run_history
from streamer.rollup.estimates import Estimate, estimate
from streamer.simulate.customers import Simulation
from streamer.simulate.incidents import KINDS, Incident, parse_incident
from tests.journeys_support import CORE_DEFINITIONS
from tests.unit.simulate.support import HOUR, MINUTE, T0, scenario, time_ms, touchpoint

if TYPE_CHECKING:
    from collections.abc import ItemsView, Mapping

    from streamer.definitions import Definitions

HOURS, RATE = 12, 3
# Hours after the start, and for how many; long where answers are few.
SPANS = {"slow-queue": (2, 3), "transfer-loop": (1, 9), "late-shipments": (1, 8), "survey-drop": (2, 9)}
PANE_MS = 10_000
# The chapters whose metrics labels name, the slices and the aggregate rules on them, as in the default file; all chapters take longer.
DEFAULT = definitions.default()
CORE = definitions.parse(CORE_DEFINITIONS.read_text(encoding="utf-8"))
CHAPTERS = ("surveys", "service", "digital", "steps", "handoffs", "communication", "causes", "operations")
RULES = [rule for rule in DEFAULT.rule if rule.metric and CHAPTER_OF[rule.metric] in (*catalogue.CORE, *CHAPTERS)]
DEFINITIONS = msgspec.structs.replace(
    CORE,
    slice=DEFAULT.slice,
    rule=[*(rule for rule in CORE.rule if not rule.metric), *RULES],
    **{name: getattr(DEFAULT, name) for name in CHAPTERS},
)
# The same numbers without the decisions of aggregate rules, which take as long again.
UNDECIDED = msgspec.structs.replace(DEFINITIONS, rule=[rule for rule in DEFINITIONS.rule if not rule.metric])
# A difference of so many standard errors is not chance; of less, it need not be more. What an incident does not touch is the same in both
# runs, so that there is in fact less chance than the errors say.
BEYOND_CHANCE, WITHIN_CHANCE = 3.0, 2.5

# Rates that every incident is held to, named or not. A metric of a new chapter belongs here once the labels know what moves it. Not here is
# what follows others at some distance, a little more than chance: `confusion_rate` follows contacts (who asks has looked for help before),
# `resolution_in_time_rate` waits; nor `loyalty_index`, of which half a day has too few answers.
WATCHED = (
    "abandon_rate", "close_rate", "friction_rate", "repeat_rate", "transfer_rate", "cold_transfer_share", "switch_rate", "high_effort_rate",
    "effort_mean", "handoff_rate", "ping_pong_rate", "nps_experience", "nps_relationship", "nps_benchmark", "csat_t2b_experience",
    "csat_mean_experience", "ces_agree_experience", "ces_mean_experience", "ces1_easy_experience", "survey_response_rate",
    "repeat_info_rate", "generic_rate", "response_in_time_rate", "rage_click_rate", "error_loop_rate", "page_loop_rate",
    "field_trouble_rate", "abandoned_at_step", "step_friction_rate", "handoff_failure_rate", "handoff_completeness", "handoff_cold_share",
    "silent_case_rate", "missed_due_date_rate", "status_inquiry_share", "unowned_case_rate", "untold_owner_change_rate",
    "on_time_promised_rate", "on_time_requested_rate", "on_time_committed_rate", "expedited_rate", "queue_wait_median", "queue_wait_p90",
)  # fmt: skip
# Shares that an incident thins, though it does nothing to what they are made for: who hangs up has not been asked for anything again,
# and who asks for his late parcel does not ask in the words of `status_reasons`. No label names them.
THINNED = {"slow-queue": "repeat_info_rate", "late-shipments": "status_inquiry_share"}


class Change(NamedTuple):
    """n more of a counter, in a slice and a pane."""

    cell: ItemsView[str, str]
    pane: int
    n: int


def incident(kind: str) -> Incident:
    start, length = SPANS.get(kind, (2, 2))
    return parse_incident(f"{kind}@+{start}h,{length}h", start_ms=T0, now_ms=T0)


@cache
def lives(kind: str = "") -> dict[bytes, list[bytes]]:
    """The records of each customer in twelve hours, with the incident or without any."""
    known = (incident(kind),) if kind else ()
    found = defaultdict(list)
    for record in Simulation(scenario(hours=HOURS, rate=RATE, incidents=known)).sent():
        assert record.key is not None
        found[record.key].append(record.value)
    return found


def fold(customers: dict[bytes, list[bytes]], wanted: Definitions) -> Result:
    """In the order of the events, to the end of every deadline."""
    arrivals = [Arrival(time_ms(value), key, value) for key, values in customers.items() for value in values]
    arrivals.sort(key=lambda arrival: arrival.arrival_ms)
    gc.disable()  # it would look through all that is kept again and again, a third of the time
    try:
        return run_history(arrivals, wanted, begin_ms=T0, end_ms=end_of(T0 + HOURS * HOUR, wanted))
    finally:
        gc.enable()


@cache
def calm() -> Result:
    return fold(lives(), DEFINITIONS)


@cache
def of_the_touched(kind: str) -> tuple[Result, Result]:
    """What the customers whom the incident touches make of the time without it, and with it."""
    before, after = lives(), lives(kind)
    touched = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    assert 0 < len(touched) < len(before) / 3
    without, by = ({key: life.get(key, []) for key in touched} for life in (before, after))
    return fold(without, UNDECIDED), fold(by, UNDECIDED)


@cache
def changes(kind: str = "") -> Mapping[int, list[Change]]:
    """By counter, what is counted without any incident; of a kind, what it changes of that. What a customer does changes only sums of his
    own: those whom the incident does not touch are not folded again.
    """
    if kind:
        without, by = of_the_touched(kind)
        found = Tally(by.sums)
        found.subtract(without.sums)
    else:
        found = Tally(calm().sums)
    listed = defaultdict(list)
    for (counter, cell, pane), n in found.items():
        if n:
            listed[int(counter)].append(Change(dict(cell).items(), pane, n))
    return listed


def _se(metric: Metric, found: Estimate) -> float:
    if metric.kind == "count":
        return sqrt(found.k)
    if metric.kind == "odds":  # of its logarithm
        return sqrt(1 / found.k + 1 / (found.n - found.k))
    assert found.lower is not None
    assert found.upper is not None
    return (found.upper - found.lower) / (2 * 1.96)


def measured(kind: str, metric: Metric, where: dict[str, str], from_ms: int, until_ms: int) -> Estimate:
    """The metric of a slice with the incident, over the panes of a span."""
    found: Tally[int] = Tally()
    for counter in map(int, counters_of(metric)):
        for name in {"", kind}:
            for cell, pane, n in changes(name).get(counter, ()):
                if from_ms <= pane * PANE_MS < until_ms and where.items() <= cell:
                    found[counter] += n
    return estimate(metric, found, 0)


def distance(kind: str, metric_id: str, where: dict[str, str], from_ms: int, until_ms: int) -> float:
    """How far the metric is from what it is without the incident, in standard errors; above 0 if it is higher."""
    metric = METRIC_BY_ID[metric_id]
    before, after = (measured(name, metric, where, from_ms, until_ms) for name in ("", kind))
    assert before.value is not None
    assert after.value is not None
    moved = log(after.value / before.value) if metric.kind == "odds" else after.value - before.value
    return moved / hypot(_se(metric, before), _se(metric, after)) if moved else 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_an_incident_moves_the_metrics_it_names_and_no_others(kind: str) -> None:
    it = incident(kind)
    for move, where, from_ms, until_ms in it.moves():
        found = distance(kind, move.metric, where, from_ms, until_ms)
        assert (found if move.direction == "up" else -found) > BEYOND_CHANCE, (move, where, found)
    named = {move.metric for move, *_ in it.moves()}
    for until_ms in (it.end_ms, it.end_ms + 2 * HOUR, T0 + HOURS * HOUR):
        moved = {name: distance(kind, name, {}, it.start_ms, until_ms) for name in WATCHED if name not in named}
        assert moved.pop(THINNED.get(kind, ""), 0.0) <= 0
        assert {name: found for name, found in moved.items() if abs(found) > WITHIN_CHANCE} == {}


def test_a_calm_life_fires_no_aggregate_rule_and_the_others_at_their_base_rate() -> None:
    end = rfc3339(T0 + HOURS * HOUR)  # after it nobody answers nor delivers any more, which does fire rules
    fired = Tally(alert.rule.id for alert in calm().alerts if alert.state == "firing" and alert.event_time < end)
    # A rule on a count fires by volume, whatever the customers are like.
    rates = {rule.id for rule in RULES if rule.metric and METRIC_BY_ID[rule.metric].kind not in ("count", "stock")}
    assert not fired.keys() & rates
    checkouts, contacts = calm_total("journeys_started", {"journey": "checkout"}), calm_total("contacts", {})
    shares = {
        "abandoned-with-friction": fired["abandoned-with-friction"] / checkouts,
        "channel-switching": fired["channel-switching"] / contacts,
        "repeated-contacts": fired["repeated-contacts"] / contacts,
    }
    assert all(0.005 < share < 0.06 for share in shares.values()), shares


def calm_total(metric: str, where: dict[str, str]) -> float:
    return measured("", METRIC_BY_ID[metric], where, T0, T0 + HOURS * HOUR).k


@pytest.mark.parametrize("kind", ["payment-outage", "broken-mobile-step"])
def test_who_gives_up_for_what_went_wrong_is_told_of(kind: str) -> None:
    """What the demonstration shows: each of these customers is an alert of the default definitions, half an hour later."""
    it = incident(kind)
    without, by = (
        [alert for alert in result.alerts if (alert.rule.id, alert.state) == ("abandoned-with-friction", "firing")]
        for result in of_the_touched(kind)
    )
    given_up = measured(kind, METRIC_BY_ID["journeys_abandoned"], {"journey": "checkout"}, it.start_ms, it.end_ms + HOUR).k
    given_up -= measured("", METRIC_BY_ID["journeys_abandoned"], {"journey": "checkout"}, it.start_ms, it.end_ms + HOUR).k
    assert len(by) - len(without) > 0.8 * given_up > 40


def test_what_no_metric_of_the_catalogue_shows_is_named_by_no_label() -> None:
    for kind in KINDS.values():
        assert {move.metric for move in kind.moves} <= METRIC_BY_ID.keys()
        assert all(set(values) for values in kind.may.values())
        assert kind.usual.keys() <= kind.may.keys()


def test_a_kind_names_rules_that_there_are_and_the_metrics_that_they_look_at() -> None:
    """Otherwise a backtest with these labels would call right firings wrong."""
    looked_at = {rule.id: rule.metric for rule in DEFAULT.rule if rule.metric}
    for name, kind in KINDS.items():
        assert set(kind.rules).isdisjoint(kind.also), name
        assert {*kind.rules, *kind.also} <= looked_at.keys(), name
        assert {looked_at[rule] for rule in kind.rules} <= {move.metric for move in kind.moves}, name


def outage(start_minutes: int, minutes: int) -> Incident:
    return parse_incident(f"payment-outage@+{start_minutes}m,{minutes}m", start_ms=T0, now_ms=T0)


def test_an_outage_fails_the_payments_of_its_platform_in_its_time_and_nothing_else() -> None:
    known = outage(60, 30)
    payments: dict[tuple[bool, bool], Tally[bool]] = defaultdict(Tally)
    for record in Simulation(scenario(hours=2, incidents=(known,))).sent():
        if b'"payment.failed"' not in record.value and b'"order.completed"' not in record.value:
            continue
        event = touchpoint(json.loads(record.value))
        if event.checkout_id and event.type in ("payment.failed", "order.completed"):
            inside = known.start_ms <= event.time < known.end_ms
            payments[event.platform == "ios", inside][event.type == "payment.failed"] += 1
    shares = {where: failed[True] / failed.total() for where, failed in payments.items()}
    assert shares.pop((True, True)) > 0.85
    assert max(shares.values()) < 0.10


def test_a_region_limits_an_incident_to_its_customers() -> None:
    known = parse_incident("slow-queue:region=us-east@+10m,40m", start_ms=T0, now_ms=T0)

    def of(*incidents: Incident) -> dict[str, Tally[tuple[str, str]]]:
        found: dict[str, Tally[tuple[str, str]]] = defaultdict(Tally)
        for record in Simulation(scenario(hours=1, incidents=incidents)).sent():
            event = json.loads(record.value)
            found[event["data"]["region"]][event["type"], event["time"]] += 1
        return found

    before, after = of(), of(known)
    assert [region for region in before if before[region] != after[region]] == ["us-east"]


def test_labels_say_when_where_and_which_metrics_move() -> None:
    label = outage(10, 5).label()
    metrics = label.pop("metrics")
    assert label == {
        "incident": "payment-outage",
        "start": "2026-01-01T00:10:00.000Z",
        "end": "2026-01-01T00:15:00.000Z",
        "slice": {"journey": "checkout", "platform": "ios"},
        "rules": ["checkout-friction", "checkout-abandonment"],
        "also": [],
        "effects_until": "2026-01-01T01:15:00.000Z",
    }
    where = {"journey": "checkout", "platform": "ios"}
    friction = {"metric": "friction_rate", "direction": "up", "from": "2026-01-01T00:10:00.000Z", "until": "2026-01-01T00:15:00.000Z"}
    abandon = {"metric": "abandon_rate", "direction": "up", "from": "2026-01-01T00:40:00.000Z", "until": "2026-01-01T00:45:00.000Z"}
    assert metrics[:2] == [friction | {"slice": where}, abandon | {"slice": where}]


def test_a_broken_step_is_labelled_for_each_mobile_platform() -> None:
    label = parse_incident("broken-mobile-step:step=address@+1m,1m", start_ms=T0, now_ms=T0).label()
    assert label["slice"] == {"journey": "checkout", "step": "address"}
    assert {metric["slice"]["platform"] for metric in label["metrics"]} == {"mobile-web", "ios", "android"}
    label = parse_incident("broken-mobile-step:platform=ios@+1m,1m", start_ms=T0, now_ms=T0).label()
    assert {metric["slice"]["platform"] for metric in label["metrics"]} == {"ios"}


IOS, ANDROID = (("platform", "ios"),), (("platform", "android"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payment-outage@+10m,5m", Incident("payment-outage", IOS, T0 + 600_000, T0 + 900_000)),
        ("payment-outage@-31m,6m", Incident("payment-outage", IOS, T0 + HOUR - 31 * MINUTE, T0 + HOUR - 25 * MINUTE)),
        ("payment-outage:platform=android@+90s,1h", Incident("payment-outage", ANDROID, T0 + 90_000, T0 + 90_000 + HOUR)),
        (
            "slow-queue:channel=chat:region=us-east@+1m,1m",
            Incident("slow-queue", (("channel", "chat"), ("region", "us-east")), T0 + MINUTE, T0 + 2 * MINUTE),
        ),
        ("survey-drop@+0s,1m", Incident("survey-drop", (), T0, T0 + MINUTE)),
    ],
)
def test_incidents_are_placed_after_the_start_or_before_the_pasts_end(text: str, expected: Incident) -> None:
    assert parse_incident(text, start_ms=T0, now_ms=T0 + HOUR) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("outage", "expected e.g."),
        ("payment-outage@10m,5m", "expected e.g."),
        ("flood@+1m,1m", f"unknown incident; known are {', '.join(KINDS)}"),
        ("payment-outage:platform=amiga@+1m,1m", "unknown platform; known are desktop"),
        ("payment-outage:platform=ios:platform=android@+1m,1m", "platform is said twice"),
        ("slow-queue:platform=ios@+1m,1m", "slow-queue cannot be limited by platform, but by channel, region"),
        ("payment-outage@+1y,1m", "expected a duration"),
        ("payment-outage@+1m,0s", "it lasts no time"),
        ("payment-outage@+1h,1m", "nobody is simulated while it lasts, only from 2026-01-01T00:00:00.000Z to 2026-01-01T01:00:00.000Z"),
        ("payment-outage@-90m,30m", "nobody is simulated while it lasts"),
    ],
)
def test_an_incident_that_makes_no_sense_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_incident(text, start_ms=T0, now_ms=T0 + HOUR, end_ms=T0 + HOUR)
