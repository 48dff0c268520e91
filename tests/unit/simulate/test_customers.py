"""Simulated life: the same bytes for the same seed, realistic shares, true labels, poison of every reason."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from functools import cache
from itertools import islice, pairwise
from typing import Any

import pytest

from streamer.errors import InputError
from streamer.simulate.customers import Simulation
from streamer.simulate.life import CONSENT_REFUSED_EVERY
from streamer.simulate.scenario import Incident, Scenario, parse_incident
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Reason, Rejected, Touchpoint

T0 = 1_767_225_600_000
HOUR = 3_600_000
DAY_HOURS, DAY_RATE = 16, 2


def scenario(*, seed: int = 1, hours: float = 0.5, rate: float = 20, **options: Any) -> Scenario:
    return Scenario(seed, 5_000, T0, T0 + int(hours * HOUR), ((T0, rate),), **options)


@cache
def a_day() -> tuple[Simulation, list[dict[str, Any]], list[int]]:
    """Simulation, its events as JSON, and when each was sent: long, so that few episodes are cut off."""
    simulation = Simulation(scenario(hours=DAY_HOURS, rate=DAY_RATE))
    sent = list(simulation.sent())
    return simulation, [json.loads(record.value) for record in sent], [record.sent_ms for record in sent]


def digest(seed: int) -> str:
    state = hashlib.sha256()
    for record in Simulation(scenario(seed=seed, hours=0.3, poison=True)).sent():
        state.update(repr(record).encode())
    return state.hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def test_records_come_in_the_order_of_sending_within_the_span() -> None:
    _, _, sent_ms = a_day()
    assert all(a <= b for a, b in pairwise(sent_ms))
    assert sent_ms[0] >= T0
    assert sent_ms[-1] < T0 + DAY_HOURS * HOUR


def test_events_are_sent_after_they_happened_mostly_within_seconds_sometimes_minutes_later() -> None:
    first_sent: dict[str, int] = {}
    delays_ms = []
    for event, sent_ms in zip(a_day()[1], a_day()[2], strict=True):
        if event["id"] not in first_sent:
            first_sent[event["id"]] = sent_ms
            delays_ms.append(sent_ms - touchpoint(event).time)
    assert min(delays_ms) >= 0
    assert sum(delay > 5_000 for delay in delays_ms) / len(delays_ms) == pytest.approx(0.002, rel=0.3)
    assert sum(1_000 < delay <= 5_000 for delay in delays_ms) / len(delays_ms) == pytest.approx(0.32, rel=0.1)
    assert max(delays_ms) > 5 * 60_000


def test_the_rate_is_the_one_asked_for() -> None:
    assert len(a_day()[1]) / (DAY_HOURS * 3600) == pytest.approx(DAY_RATE, rel=0.06)
    stepped = Simulation(Scenario(1, 5_000, T0, T0 + 2 * HOUR, ((T0, 5.0), (T0 + HOUR, 20.0))))
    late = sum(record.sent_ms >= T0 + 1.5 * HOUR for record in stepped.sent())
    assert late / 1800 == pytest.approx(20, rel=0.15)


def touchpoint(event: dict[str, Any]) -> Touchpoint:
    data = event["data"]
    key = (data.get("customer_id") or data["anonymous_id"]).encode()
    decoded = decode(0, 1 << 60, key, json.dumps(event).encode(), ())
    assert isinstance(decoded, Touchpoint), decoded
    return decoded


def test_every_event_is_accepted_and_fills_what_the_catalogue_reads() -> None:
    touchpoints = [touchpoint(event) for event in a_day()[1]]
    by_type = Counter(t.type for t in touchpoints)
    assert set(by_type) >= {
        *("page.viewed", "screen.viewed", "product.viewed", "cart.item_added", "checkout.started", "checkout.step_viewed"),
        *("checkout.step_completed", "payment.info_entered", "payment.failed", "order.completed", "form.error", "knowledge.searched"),
        *("contact.started", "contact.transferred", "contact.ended", "message.sent", "case.opened", "case.updated", "case.resolved"),
        *("handoff.initiated", "handoff.accepted"),
    }
    assert all(t.checkout_id and t.cart_id for t in touchpoints if t.type.startswith(("checkout.", "payment.", "order.")))
    assert all(t.issue_id and t.reason and t.contact_id for t in touchpoints if t.type.startswith("contact."))
    assert all(t.case_id and t.owner for t in touchpoints if t.type.startswith("case."))
    assert all(t.to_team and t.context_passed is not None for t in touchpoints if t.type == "contact.transferred")


def test_some_customers_refuse_analytics_in_every_event() -> None:
    for event in a_day()[1][:5_000]:
        customer = int((event["data"].get("customer_id") or event["data"]["anonymous_id"])[5:])
        assert (touchpoint(event).analytics_consent is False) == (customer % CONSENT_REFUSED_EVERY == 0)


def test_values_are_about_as_large_as_real_ones() -> None:
    sizes = [len(record.value) for record in islice(Simulation(scenario()).sent(), 5_000)]
    assert 300 <= sum(sizes) / len(sizes) <= 400


def test_duplicates_are_the_same_event_again() -> None:
    simulation, events, _ = a_day()
    ids = Counter(event["id"] for event in events)
    again = [name for name, number in ids.items() if number > 1]
    assert len(again) == simulation.tally["duplicates"] > 0
    assert all(ids[name] == 2 for name in again)


@pytest.mark.parametrize(
    ("made", "of", "low", "high"),
    [
        ("given_up", "checkouts", 0.25, 0.35),
        ("contacts_transferred", "contacts", 0.10, 0.14),
        ("ping_pongs", "cases", 0.06, 0.10),
        ("came_back", "given_up", 0.05, 0.12),
    ],
)
def test_the_shares_are_realistic(made: str, of: str, low: float, high: float) -> None:
    tally = a_day()[0].tally
    assert low <= tally[made] / tally[of] <= high


def test_two_of_three_carts_are_left() -> None:
    tally = a_day()[0].tally
    assert 0.60 <= 1 - tally["order.completed"] / tally["carts"] <= 0.72


def test_checkouts_are_given_up_as_often_as_the_stream_says() -> None:
    """The tally is the ground truth of the stream: count the checkouts that never got an order."""
    simulation, events, _ = a_day()
    started, ordered = set(), set()
    for event in events:
        checkout = event["data"].get("commerce", {}).get("checkout_id")
        if event["type"] == "checkout.started":
            started.add(checkout)
        elif event["type"] == "order.completed":
            ordered.add(checkout)
    never = simulation.tally["given_up"] - simulation.tally["came_back"]
    assert len(started - ordered) == pytest.approx(never, abs=0.02 * len(started))  # some are cut off by the end


def outage(start_minutes: int, minutes: int) -> Incident:
    return Incident("payment-outage", "ios", T0 + start_minutes * 60_000, T0 + (start_minutes + minutes) * 60_000)


def test_an_outage_fails_the_payments_of_its_platform_in_its_time_and_nothing_else() -> None:
    incident = outage(60, 30)
    payments: dict[tuple[bool, bool], Counter[bool]] = defaultdict(Counter)
    for record in Simulation(scenario(hours=2, rate=40, incidents=(incident,))).sent():
        event = touchpoint(json.loads(record.value))
        if event.type in ("payment.failed", "order.completed"):
            inside = incident.start_ms <= event.time < incident.end_ms
            payments[event.platform == "ios", inside][event.type == "payment.failed"] += 1
    shares = {where: failed[True] / failed.total() for where, failed in payments.items()}
    assert shares.pop((True, True)) > 0.85
    assert max(shares.values()) < 0.10


def test_an_outage_makes_customers_of_its_platform_give_up() -> None:
    quiet, loud = Simulation(scenario(hours=2, rate=40)), Simulation(scenario(hours=2, rate=40, incidents=(outage(60, 30),)))
    assert sum(1 for _ in quiet.sent())
    assert sum(1 for _ in loud.sent())
    assert loud.tally["given_up"] / loud.tally["checkouts"] > quiet.tally["given_up"] / quiet.tally["checkouts"] + 0.015


def test_labels_say_when_where_and_which_metrics_move() -> None:
    assert outage(10, 5).label() == {
        "incident": "payment-outage",
        "start": "2026-01-01T00:10:00.000Z",
        "end": "2026-01-01T00:15:00.000Z",
        "slice": {"journey": "checkout", "platform": "ios"},
        "metrics": [
            {"metric": "friction_rate", "direction": "up", "from": "2026-01-01T00:10:00.000Z", "until": "2026-01-01T00:15:00.000Z"},
            {"metric": "abandon_rate", "direction": "up", "from": "2026-01-01T00:40:00.000Z", "until": "2026-01-01T00:45:00.000Z"},
        ],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payment-outage@+10m,5m", Incident("payment-outage", "ios", T0 + 600_000, T0 + 900_000)),
        ("payment-outage@-31m,6m", Incident("payment-outage", "ios", T0 + HOUR - 31 * 60_000, T0 + HOUR - 25 * 60_000)),
        ("payment-outage:platform=android@+90s,1h", Incident("payment-outage", "android", T0 + 90_000, T0 + 90_000 + HOUR)),
    ],
)
def test_incidents_are_placed_after_the_start_or_before_the_pasts_end(text: str, expected: Incident) -> None:
    assert parse_incident(text, start_ms=T0, now_ms=T0 + HOUR) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("outage", "expected e.g."),
        ("payment-outage@10m,5m", "expected e.g."),
        ("flood@+1m,1m", "unknown incident"),
        ("payment-outage:platform=amiga@+1m,1m", "unknown platform"),
        ("payment-outage@+1y,1m", "expected a duration"),
    ],
)
def test_an_incident_that_makes_no_sense_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_incident(text, start_ms=T0, now_ms=T0)


def test_poison_of_every_reason_is_counted_as_what_the_decoder_makes_of_it() -> None:
    simulation = Simulation(scenario(hours=1, rate=20, poison=True))
    reasons: Counter[str] = Counter()
    for record in simulation.sent():
        decoded = decode(0, record.sent_ms, record.key, record.value, ())
        if isinstance(decoded, Rejected):
            reasons[f"poison.{decoded.reason.value}"] += 1
    assert reasons == {kind: number for kind, number in simulation.tally.items() if kind.startswith("poison.")}
    assert set(reasons) == {f"poison.{reason.value}" for reason in Reason}


def test_without_poison_there_is_none() -> None:
    simulation = Simulation(scenario())
    assert not any(isinstance(decode(0, r.sent_ms, r.key, r.value, ()), Rejected) for r in simulation.sent())


def test_an_endless_scenario_goes_on() -> None:
    endless = Simulation(scenario()._replace(end_ms=None))
    assert sum(1 for _ in islice(endless.sent(), 50_000)) == 50_000
