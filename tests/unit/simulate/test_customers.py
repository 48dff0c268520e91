"""The simulated stream: the same bytes for the same seed, in order, at the rate asked for, with poison of every reason."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise

import pytest

from streamer.simulate.customers import Simulation
from streamer.simulate.incidents import KINDS, parse_incident
from streamer.simulate.people import CONSENT_REFUSED_EVERY
from streamer.simulate.scenario import BY_HOUR, BY_WEEKDAY, Scenario, season
from streamer.simulate.wire import OF_VALUES
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Reason, Rejected
from tests.unit.simulate.support import DAY_HOURS, DAY_RATE, HOUR, MINUTE, T0, a_day, a_days_touchpoints, scenario, time_ms, touchpoint


def digest(seed: int) -> str:
    state = hashlib.sha256()
    incident = parse_incident("slow-queue@+5m,10m", start_ms=T0, now_ms=T0)
    for record in Simulation(scenario(seed=seed, hours=0.3, poison=tuple(Reason), seasonal=True, incidents=(incident,))).sent():
        state.update(repr(record).encode())
    return state.hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def test_another_process_gives_the_same_bytes() -> None:
    """Hashes of texts differ from process to process: nothing may depend on them."""
    program = "from tests.unit.simulate.test_customers import digest; print(digest(3))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(3)


def test_records_come_in_the_order_of_sending_within_the_span() -> None:
    _, _, sent_ms = a_day()
    assert all(a <= b for a, b in pairwise(sent_ms))
    assert sent_ms[0] >= T0
    assert sent_ms[-1] < T0 + DAY_HOURS * HOUR


def test_events_are_sent_after_they_happened_mostly_within_seconds_sometimes_minutes_later() -> None:
    first_sent: dict[str, int] = {}
    delays_ms = []
    for event, decoded, sent_ms in zip(a_day()[1], a_days_touchpoints(), a_day()[2], strict=True):
        if event["id"] not in first_sent:
            first_sent[event["id"]] = sent_ms
            delays_ms.append(sent_ms - decoded.time)
    assert min(delays_ms) >= 0
    assert sum(delay > 5_000 for delay in delays_ms) / len(delays_ms) == pytest.approx(0.002, rel=0.3)
    assert sum(1_000 < delay <= 5_000 for delay in delays_ms) / len(delays_ms) == pytest.approx(0.32, rel=0.1)
    assert max(delays_ms) > 5 * MINUTE


def test_the_rate_is_the_one_asked_for() -> None:
    assert len(a_day()[1]) / (DAY_HOURS * 3600) == pytest.approx(DAY_RATE, rel=0.06)
    settled = sum(sent_ms >= T0 + 6 * HOUR for sent_ms in a_day()[2])  # what follows later has begun to come
    assert settled / ((DAY_HOURS - 6) * 3600) == pytest.approx(DAY_RATE, rel=0.03)
    stepped = Simulation(Scenario(1, 5_000, T0, T0 + 2 * HOUR, ((T0, 5.0), (T0 + HOUR, 20.0))))
    late = sum(record.sent_ms >= T0 + 1.5 * HOUR for record in stepped.sent())
    assert late / 1800 == pytest.approx(20, rel=0.15)


def test_seasons_have_a_mean_of_one_and_the_stream_follows_them() -> None:
    assert sum(BY_HOUR) / 24 == pytest.approx(1, abs=0.01)
    assert sum(BY_WEEKDAY) / 7 == pytest.approx(1, abs=0.001)
    assert season(T0) == BY_HOUR[0] * BY_WEEKDAY[3], "2026-01-01 is a Thursday"
    simulation = Simulation(scenario(hours=24, rate=1, seasonal=True))
    by_hour = Counter((record.sent_ms - T0) // HOUR for record in simulation.sent())
    assert by_hour[19] / by_hour[4] > 5
    assert by_hour.total() == pytest.approx(86_400, rel=0.08)


def test_some_customers_refuse_analytics_in_every_event() -> None:
    for event in a_day()[1][:5_000]:
        customer = int((event["data"].get("customer_id") or event["data"]["anonymous_id"])[5:])
        assert (touchpoint(event).analytics_consent is False) == (customer % CONSENT_REFUSED_EVERY == 0)


def test_values_are_about_as_large_as_real_ones() -> None:
    sizes = [len(record.value) for record in islice(Simulation(scenario()).sent(), 5_000)]
    assert 350 <= sum(sizes) / len(sizes) <= 450


def test_duplicates_are_the_same_event_again() -> None:
    simulation, events, _ = a_day()
    ids = Counter(event["id"] for event in events)
    again = [name for name, number in ids.items() if number > 1]
    assert len(again) == simulation.tally["duplicates"] > 0
    assert all(ids[name] == 2 for name in again)


def test_poison_of_every_reason_is_counted_as_what_the_decoder_makes_of_it() -> None:
    simulation = Simulation(scenario(hours=1, rate=20, poison=tuple(Reason)))
    reasons: Counter[str] = Counter()
    for record in simulation.sent():
        decoded = decode(0, record.sent_ms, record.key, record.value, ())
        if isinstance(decoded, Rejected):
            reasons[f"poison.{decoded.reason.value}"] += 1
    assert reasons == {kind: number for kind, number in simulation.tally.items() if kind.startswith("poison.")}
    assert set(reasons) == {f"poison.{reason.value}" for reason in Reason}


def test_poison_of_values_needs_neither_key_nor_arrival() -> None:
    simulation = Simulation(scenario(hours=1, rate=20, poison=OF_VALUES))
    found = [decode(0, 2**52, b"x", record.value, ()) for record in simulation.sent() if b"/simulated/poison" in record.value]
    assert {one.reason for one in found if isinstance(one, Rejected)} == set(OF_VALUES)
    assert all(isinstance(one, Rejected) for one in found)


def test_poison_is_the_same_with_an_incident() -> None:
    def poison(*incidents: str) -> list[bytes]:
        known = tuple(parse_incident(text, start_ms=T0, now_ms=T0) for text in incidents)
        records = Simulation(scenario(rate=60, incidents=known, poison=tuple(Reason))).sent()
        return [record.value[:300] for record in records if b"/simulated/poison" in record.value]

    def times(values: list[bytes]) -> list[bytes]:
        return [value.partition(b'"type"')[2] for value in values]

    assert len(poison()) > 20
    assert times(poison()) == times(poison("payment-outage@+5m,20m", "transfer-loop@+5m,20m"))


@pytest.mark.parametrize("other", [{"seed": 2}, {"start": HOUR}])
def test_another_run_has_other_ids(other: dict[str, int]) -> None:
    """Or the second of two runs into one topic would be taken for a repetition of the first."""

    def ids(seed: int = 1, start: int = 0) -> tuple[set[str], set[str]]:
        simulated = scenario(seed=seed, hours=0.2)
        moved = simulated._replace(start_ms=T0 + start, end_ms=T0 + start + HOUR // 5, rate_from=((T0 + start, 20.0),))
        events = [json.loads(record.value) for record in Simulation(moved).sent()]
        orders = {event["data"].get("commerce", {}).get("order_id") for event in events} - {None}
        return {event["id"] for event in events}, orders

    (events, orders), (other_events, other_orders) = ids(), ids(**other)
    assert len(orders) > 5
    assert not events & other_events
    assert not orders & other_orders


@pytest.mark.parametrize("kind", KINDS)
def test_an_incident_changes_nothing_before_it_begins(kind: str) -> None:
    """Customers call about what began hours before: what their calls are like then changes nothing of what was."""

    def before(*incidents: str) -> list[bytes]:
        known = tuple(parse_incident(text, start_ms=T0, now_ms=T0) for text in incidents)
        records = Simulation(scenario(hours=5, rate=6, incidents=known)).sent()
        return sorted(record.value for record in records if time_ms(record.value) < T0 + 3 * HOUR)

    assert before() == before(f"{kind}@+3h,2h")


def test_without_poison_there_is_none() -> None:
    simulation = Simulation(scenario())
    assert not any(isinstance(decode(0, r.sent_ms, r.key, r.value, ()), Rejected) for r in simulation.sent())


def test_an_endless_scenario_goes_on() -> None:
    endless = Simulation(scenario()._replace(end_ms=None))
    assert sum(1 for _ in islice(endless.sent(), 50_000)) == 50_000


def test_an_incident_changes_only_what_it_strikes() -> None:
    """Chance is each episode's own: with the incident and without, whoever it does not strike does the same."""

    def of_the_others(*incidents: str) -> list[tuple[str, str, str]]:
        known = tuple(parse_incident(text, start_ms=T0, now_ms=T0) for text in incidents)
        events = [json.loads(record.value) for record in Simulation(scenario(incidents=known)).sent()]
        return sorted((e["time"], e["type"], str(e["data"].get("customer_id"))) for e in events if e["data"].get("platform") == "desktop")

    assert of_the_others() == of_the_others("payment-outage@+5m,20m", "broken-mobile-step@+5m,20m")
