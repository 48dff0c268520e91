"""What the simulated customers do: every type of event on every channel, with the fields the metrics read, in realistic shares."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from statistics import mean

import msgspec
import pytest

from streamer.simulate.cases import DUE_MS
from streamer.simulate.customers import Simulation
from streamer.simulate.people import PERSONAS, REGIONS, SEGMENTS
from streamer.simulate.scenario import PLATFORMS, QUEUES
from streamer.touchpoints import model
from streamer.touchpoints.catalogue import CHANNELS, STAGES, TYPES, VALUE_LEVELS
from streamer.touchpoints.details import Details
from streamer.touchpoints.touchpoint import Touchpoint
from tests.unit.simulate.support import MINUTE, a_day, a_days_touchpoints, scenario, touchpoint

RARE = {"privacy.erase", "event.voided", "initiative.started", "identity.unlinked"}


def of(*types: str) -> list[Touchpoint]:
    return [one for one in a_days_touchpoints() if one.type in types]


def details(*types: str) -> list[Details]:
    return [one.details for one in of(*types) if one.details is not None]


@cache
def many() -> dict[str, list[bytes]]:
    """The values of a second, longer stream, in which what is rare occurs, by type."""
    found = defaultdict(list)
    for record in Simulation(scenario(seed=2, hours=10, rate=8)).sent():
        found[record.value.split(b'"type":"', 1)[1].split(b'"', 1)[0].decode()].append(record.value)
    return found


def test_every_type_occurs_and_what_is_rare_is_rare() -> None:
    assert set(many()) == TYPES
    assert sum(len(many()[kind]) for kind in RARE) < 0.0005 * sum(map(len, many().values()))


def test_every_channel_stage_and_value_level_occurs() -> None:
    touchpoints = a_days_touchpoints()
    assert {one.channel for one in touchpoints} == set(CHANNELS)
    assert {one.stage for one in touchpoints} == set(STAGES)
    assert {one.value_level for one in touchpoints} == {"", *VALUE_LEVELS}


def test_customers_are_of_every_kind_and_always_of_the_same() -> None:
    kinds = defaultdict(set)
    for event in a_day()[1]:
        data = event["data"]
        kinds[(data.get("customer_id") or data["anonymous_id"])[5:]].add((data["segment"], data["region"], data["persona"]))
    assert max(map(len, kinds.values())) == 1
    segments, regions, personas = (set(values) for values in zip(*(next(iter(kind)) for kind in kinds.values()), strict=True))
    assert (segments, regions, personas) == (set(SEGMENTS), set(REGIONS), {persona.name for persona in PERSONAS})
    assert {one.platform for one in a_days_touchpoints()} == {"", *PLATFORMS}


def test_every_event_is_what_the_schema_allows() -> None:
    """The closed model: a misspelt field would be skipped by the decoder, and every metric of it would read zero."""
    strict = msgspec.json.Decoder(model.CloudEvent)
    for values in many().values():
        for value in values[:500]:
            strict.decode(value)


def test_journeys_and_care_name_what_they_belong_to() -> None:
    assert all(one.checkout_id and one.cart_id for one in a_days_touchpoints() if one.type.startswith(("checkout.", "payment.")))
    assert all(one.order_id for one in a_days_touchpoints() if one.type.startswith(("order.", "shipment.")))
    assert all(one.issue_id and one.reason and one.contact_id for one in a_days_touchpoints() if one.type.startswith("contact."))
    assert all(one.case_id and one.owner and one.severity for one in a_days_touchpoints() if one.type.startswith("case."))
    assert all(one.to_team and one.context_passed is not None for one in of("contact.transferred", "handoff.initiated"))


def test_orders_have_lines_that_add_up_and_differ_in_what_the_metrics_look_at() -> None:
    orders = [one for one in of("order.completed") if one.details]
    assert orders
    for one in orders:
        assert one.details
        assert one.revenue_minor == sum((line.price_minor or 0) * line.quantity for line in one.details.lines)
    lines = [line for found in details("order.completed") for line in found.lines]
    assert {line.tier for line in lines} == {"basic", "plus", "premium"}
    assert {line.added_via for line in lines} >= {"browse", "search", "recommendation", "cross_sell", "upgrade", "sales"}
    below = mean((line.price_minor or 0) < (line.list_price_minor or 0) for line in lines)
    above = mean((line.price_minor or 0) > (line.list_price_minor or 0) for line in lines)
    assert (0.15 < below < 0.30, 0.01 < above < 0.08) == (True, True)
    assert 0.05 < mean(len({line.category for line in found.lines}) > 1 for found in details("order.completed")) < 0.25
    assert {found.acquisition_source for found in details("order.completed")} >= {"organic", "referral", "store", "partner"}
    assert 30_00 < mean(one.revenue_minor or 0 for one in orders if one.checkout_id) < 120_00


def test_shipments_keep_or_break_their_promises() -> None:
    delivered = details("shipment.delivered")
    assert all(found.shipment_id and found.requested_ms and found.promised_ms and found.committed_ms for found in delivered)
    assert all(found.shipped_ms and found.delivered_ms and found.shipped_ms < found.delivered_ms for found in delivered)
    late = mean((found.delivered_ms or 0) > (found.promised_ms or 0) for found in delivered)
    assert 0.005 < late < 0.05
    assert 0.08 < mean(found.service == "express" for found in delivered) < 0.16
    assert {found.requested_by for found in delivered} == {"customer", "company"}
    for one in of("shipment.delivered"):
        assert one.details
        assert one.details.delivered_ms == one.time


def test_surveys_are_of_every_instrument_scope_and_version_with_plausible_answers() -> None:
    sent = many()["survey.sent"]
    answered = [found for value in many()["survey.responded"] if (found := touchpoint(json.loads(value)).details)]
    assert {(found.instrument, found.ces_version, found.scope) for found in answered} == {
        ("nps", "", "experience"), ("nps", "", "relationship"), ("nps", "", "benchmark"), ("csat", "", "experience"),
        ("ces", "1.0", "experience"), ("ces", "2.0", "experience"), ("other", "", "relationship"),
    }  # fmt: skip
    assert 0.20 < len(answered) / len(sent) < 0.35
    assert all(found.score is not None and (found.scale_min or 0) <= found.score <= (found.scale_max or 0) for found in answered)
    nps = [found.score or 0 for found in answered if found.instrument == "nps" and found.scope == "experience"]
    assert 25 < 100 * (mean(score >= 900 for score in nps) - mean(score <= 600 for score in nps)) < 40
    assert set(nps) == {100 * score for score in range(11)}
    csat = [found.score or 0 for found in answered if found.instrument == "csat" and found.scale_max == 500]
    assert 0.75 < mean(score >= 400 for score in csat) < 0.92
    ces = [found.score or 0 for found in answered if found.ces_version == "2.0"]
    assert 0.65 < mean(score >= 500 for score in ces) < 0.85
    old = [found.score or 0 for found in answered if found.ces_version == "1.0"]
    assert mean(score <= 200 for score in old) > 0.6, "low is good in 1.0"
    assert {found.question for found in answered} >= {"satisfaction", "repurchase", "recommend"}
    assert any(found.brands and found.rank and found.rank <= found.brands for found in answered)


def test_contacts_say_how_they_were_handled_and_what_was_asked_for() -> None:
    handled = details("contact.handled")
    assert 0.85 < mean(bool(found.profile_viewed) for found in handled) < 0.97
    assert any(found.bot_fallbacks >= 2 for found in handled)
    assert any(found.template_id for found in handled)
    assert any(found.tag == "generic" for found in handled)
    assert {found.personalised for found in handled} == {True, False}
    assert len({found.info_field for found in details("info.captured")}) >= 4
    assert 0.05 < mean(one.handoff_kind == "cold" for one in of("contact.transferred")) < 0.20
    waits = {
        channel: [one.details.wait_ms for one in of("contact.handled") if one.details and one.channel == channel] for channel in CHANNELS
    }
    assert {channel for channel, told in waits.items() if any(wait is not None for wait in told)} == set(QUEUES)
    assert all(5_000 <= (wait or 0) < 10 * MINUTE for channel in QUEUES for wait in waits[channel])
    assert all(one.due_ms == one.time + DUE_MS for one in of("case.opened"))
    assert not any(one.due_ms for one in of("case.updated", "case.resolved"))
    complete = [found.context_complete for found in details("handoff.initiated")]
    assert 0.90 < mean(bool(one) for one in complete) < 1


def test_clicks_and_errors_come_alone_and_in_bursts() -> None:
    clicks: dict[tuple[str, str], list[int]] = defaultdict(list)
    errors: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in of("ui.clicked"):
        assert one.details
        clicks[one.session_id, one.details.element_id].append(one.time)
    for one in of("ui.error"):
        errors[one.session_id, one.friction_code].append(one.time)
    tally = a_day()[0].tally
    assert bursts(clicks, 3, 1_000) == pytest.approx(tally["rage_clicks"], rel=0.1)
    assert tally["rage_clicks"] > 20
    assert bursts(errors, 3, 60_000) == pytest.approx(tally["error_loops"], rel=0.1)
    assert len(of("ui.error")) > 2 * tally["error_loops"]
    assert {one.friction_kind for one in of("friction.signal")} >= {"rage_click", "dead_click", "error_click", "page_loop", "quick_back"}
    assert {found.results == 0 for found in details("product.searched", "knowledge.searched")} == {True, False}
    assert all(found.page for found in details("page.viewed", "screen.viewed"))


def bursts(moments: dict[tuple[str, str], list[int]], number: int, within_ms: int) -> int:
    """How many of them have so many within so long."""
    return sum(
        any(times[n + number - 1] - times[n] <= within_ms for n in range(len(times) - number + 1))
        for times in (sorted(set(times)) for times in moments.values())
    )


def test_the_relationship_has_contracts_offers_wallets_and_wishes() -> None:
    assert all(found.contract_id and found.due_ms for found in details("contract.due", "contract.renewed", "contract.cancelled"))
    renewed, cancelled = len(of("contract.renewed")), len(of("contract.cancelled"))
    assert 0.75 < renewed / (renewed + cancelled) < 1
    assert {found.offer_kind for found in details("offer.presented")} == {"upgrade", "cross_sell"}
    assert 0.10 < len(of("offer.accepted")) / len(of("offer.presented")) < 0.25
    assert all(found.own_minor is not None and found.competitors_minor is not None for found in details("wallet.declared"))
    wishes = details("preference.stated")
    assert all(found.attribute and found.distance is not None and found.weight for found in wishes)
    assert {found.distance == 0 for found in wishes} == {True, False}
    messages = details("message.sent")
    assert {found.human for found in messages} == {True, False}
    assert any(sent.account_id for sent in of("message.sent"))
    assert all(found.opened for found in details("message.opened"))


@pytest.mark.parametrize(
    ("made", "of_these", "low", "high"),
    [
        ("given_up", "checkouts", 0.25, 0.36),
        ("contacts_transferred", "contacts", 0.07, 0.11),
        ("ping_pongs", "cases", 0.06, 0.10),
        ("came_back", "given_up", 0.05, 0.12),
        ("cases_handed_off", "cases", 0.32, 0.44),
        ("shipments_late", "shipments", 0.01, 0.05),
        ("offer.accepted", "offer.presented", 0.10, 0.25),
        ("identity.linked", "product.viewed", 0.001, 0.02),
    ],
)
def test_the_shares_are_realistic(made: str, of_these: str, low: float, high: float) -> None:
    tally = a_day()[0].tally
    assert low <= tally[made] / tally[of_these] <= high


def test_two_of_three_carts_are_left() -> None:
    tally = a_day()[0].tally
    ordered = sum(bool(one.checkout_id) for one in of("order.completed"))
    assert 0.60 <= 1 - ordered / tally["carts"] <= 0.72


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
