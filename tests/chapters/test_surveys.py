"""The chapter surveys: S0-S4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.journeys.chapters.surveys import INVITATIONS_MAX, TOUCHPOINTS_MAX
from streamer.journeys.state import NEVER
from streamer.metrics.chapters.surveys import METRICS, SCOPES
from streamer.metrics.metric import counters_of
from tests.chapters.support import (
    SLICES,
    Histories,
    assert_recount_is_equal,
    in_seconds,
    single_pass,
    told,
)
from tests.journeys_support import MINUTE

if TYPE_CHECKING:
    from random import Random

    from tests.journeys_support import Run

DEFINITIONS = (
    SLICES
    + """
[[slice]]
by = ["team"]
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
[surveys]
latest_within = "120m"
attribute_within = "40m"
invitation_within = "50m"
satisfied_share = 0.6
[[rule]]
id = "detractor"
on = "customer"
when = "nps_lowest <= 6"
[[rule]]
id = "low-score"
on = "customer"
when = "csat_lowest <= 2 or ces_lowest <= 3 or ces1_highest >= 4"
"""
)
IDS = ["", "", "1", "2"]
SCALES: dict[str, list[tuple[Any, Any]]] = {
    "nps": [(None, None), (0, 10), (1, 10)],
    "csat": [(None, None), (1, 5), (0, 10), (1, 7), (5, 1), (0, 5000), (None, 100)],
    "ces": [(None, None), (None, None), (None, None), (1, 7), (1, 5)],
    "other": [(None, None), (0, 3), (0, 10)],
    "": [(None, None)],
}


def answer(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    """Answers and invitations of every kind, and what they are about."""
    ids = {"journey_id": random.choice(IDS), "case_id": random.choice(IDS), "order_id": random.choice(IDS)}
    if random.random() < 0.3:
        return {
            "type": random.choice(["order.completed", "contact.ended", "case.opened", "shipment.delivered", "page.viewed"]),
            "journey": random.choice(["", "delivery"]),
            "journey_id": ids["journey_id"],
            "commerce": {"order_id": ids["order_id"]},
            "issue": {random.choice(["case_id", "issue_id"]): ids["case_id"]},
            "actor": {"team": random.choice(["", "red", "blue"])},
        }
    instrument = random.choice(["nps", "nps", "csat", "csat", "ces", "ces", "ces", "other", ""])
    survey: dict[str, Any] = {"instrument": instrument, "scope": random.choice([*SCOPES, *SCOPES, "", "other"])}
    if random.random() < 0.3:
        return {"type": "survey.sent", "survey": survey, "journey": random.choice(["", "", "checkout"])}
    survey |= {
        "score": random.choice([0, 1, 2, 2, 2, 3, 4, 4.5, 5, 5, 6, 7, 8.5, 9, 9, 10, 11, None]),
        "question_id": random.choice(["", "satisfaction", "recommend", "x"]),
        "ces_version": random.choice(["1.0", "1.0", "2.0", "2.0", ""]),
        "about": random.choice([None, ids, {"order_id": ids["order_id"]}]),
    }
    survey["scale_min"], survey["scale_max"] = random.choice(SCALES[instrument])
    own = {"journey_id": random.choice(["", "", "", "1"]), "issue": {"case_id": random.choice(["", "", "", "2"])}}
    return {"type": "survey.responded", "survey": survey, "journey": random.choice(["", "", "", "checkout"]), **own}


HISTORIES = (Histories(DEFINITIONS, answer), Histories(in_seconds(DEFINITIONS), answer, 4 * MINUTE, range(5)))


def test_the_recount_is_equal_where_moments_collide() -> None:
    assert_recount_is_equal(in_seconds(DEFINITIONS), answer, range(8), set(), span_ms=4 * MINUTE)


def test_the_recount_is_equal() -> None:
    assert_recount_is_equal(DEFINITIONS, answer, range(24), {counter.name for metric in METRICS for counter in counters_of(metric)})


def responded(at: float, **survey: Any) -> tuple[float, str, dict[str, Any]]:
    return at, "survey.responded", {"survey": survey}


def folded(*events: tuple[float, str, dict[str, Any]], definitions: str = DEFINITIONS) -> Run:
    """Events of one customer, at minutes after the beginning, and then four hours."""
    return single_pass(definitions, told(*events), 4 * 60 * 60_000)


def rules_fired(run: Run) -> list[str]:
    return [alert.rule.id for alert in run.alerts if alert.state == "firing"]


def test_an_answer_at_the_end_of_latest_within_does_not_replace_the_one_before() -> None:
    run = folded(responded(0, instrument="nps", score=3), responded(120, instrument="nps", score=10))
    assert (run.total("NPS_EXPERIENCE_ANSWERS"), run.total("NPS_EXPERIENCE_DETRACTORS")) == (2, 1)
    run = folded(responded(0, instrument="nps", score=3), responded(119, instrument="nps", score=10))
    assert (run.total("NPS_EXPERIENCE_ANSWERS"), run.total("NPS_EXPERIENCE_DETRACTORS")) == (1, 0)


@pytest.mark.parametrize(
    ("survey", "satisfied", "rated"),
    [
        ({"score": 4}, 1, 1),
        ({"score": 3.99}, 0, 1),
        ({"score": 6, "scale_min": 0, "scale_max": 10}, 1, 0),
        ({"score": 5.99, "scale_min": 0, "scale_max": 10}, 0, 0),
        ({"score": 5, "scale_max": 5}, 1, 1),
    ],
)
def test_csat_is_satisfied_from_four_of_five_or_from_the_share_of_another_scale(survey: dict[str, Any], satisfied: int, rated: int) -> None:
    run = folded(responded(0, instrument="csat", **survey))
    assert (run.total("CSAT_EXPERIENCE_ANSWERS"), run.total("CSAT_EXPERIENCE_SATISFIED")) == (1, satisfied)
    assert run.total("CSAT_EXPERIENCE_RATED") == rated
    assert run.total("CSAT_EXPERIENCE_POINTS") == rated * round(survey["score"] * 100)


def test_the_versions_of_ces_are_never_pooled_and_without_one_nothing_counts() -> None:
    run = folded(
        responded(0, instrument="ces", ces_version="2.0", score=5),
        responded(1, instrument="ces", ces_version="1.0", score=2),
        responded(2, instrument="ces", score=5),
    )
    assert (run.total("CES_EXPERIENCE_ANSWERS"), run.total("CES_EXPERIENCE_AGREED"), run.total("CES_EXPERIENCE_POINTS")) == (1, 1, 500)
    assert (run.total("CES1_EXPERIENCE_ANSWERS"), run.total("CES1_EXPERIENCE_EASY"), run.total("CES1_EXPERIENCE_POINTS")) == (1, 1, 200)
    assert run.processor.accounting["survey_without_ces_version"] == 1


@pytest.mark.parametrize(
    "survey",
    [
        {"instrument": "nps", "score": 8.5},
        {"instrument": "nps", "score": 11},
        {"instrument": "nps", "score": 7, "scale_min": 1},
        {"instrument": "nps", "score": 7, "scope": "other"},
        {"instrument": "csat", "score": 6},
        {"instrument": "csat", "score": 6, "scale_max": 5000},
        {"instrument": "csat", "score": 3, "scale_min": 3, "scale_max": 3},
        {"instrument": "ces", "ces_version": "1.0", "score": 6},
        {"instrument": "ces", "ces_version": "2.0", "score": 4, "scale_max": 5},
    ],
)
def test_what_is_on_no_scale_is_noted_and_not_counted(survey: dict[str, Any]) -> None:
    run = folded(responded(0, **survey))
    assert {counter for (counter, _, _) in run.sums} == {"TOUCHPOINTS"}
    assert run.processor.accounting["survey_out_of_scale"] == 1


def test_an_item_of_the_loyalty_index_is_stretched_to_a_hundred_points() -> None:
    item = {"scope": "relationship"}
    run = folded(
        responded(0, instrument="csat", question_id="satisfaction", score=4, **item),
        responded(1, instrument="nps", question_id="recommend", score=9, **item),
        responded(2, question_id="repurchase", score=2, scale_min=0, scale_max=3, **item),
        responded(3, question_id="other", score=2, **item),
        responded(4, instrument="ces", ces_version="2.0", question_id="satisfaction", score=2, **item),
        responded(5, instrument="nps", question_id="recommend", score=0, scope="benchmark"),
        responded(6, instrument="nps", question_id="recommend", score=0),  # of an experience
    )
    assert run.total("LOYALTY_ANSWERS") == 3
    assert run.total("LOYALTY_POINTS") == 7500 + 9000 + 6667


def test_an_answer_answers_the_oldest_open_invitation_of_its_instrument() -> None:
    sent: dict[str, Any] = {"survey": {"instrument": "nps"}}
    events = [(0, "survey.sent", sent), (10, "survey.sent", sent), (11, "survey.sent", {"survey": {"instrument": "csat"}})]
    run = folded(*events, responded(50, instrument="nps"))
    assert (run.total("INVITATIONS"), run.total("INVITATIONS_ANSWERED")) == (3, 1)
    first = min(pane for (counter, _, pane) in run.sums if counter == "INVITATIONS")
    assert [pane for (counter, _, pane) in run.sums if counter == "INVITATIONS_ANSWERED"] == [first], "at the end of its time"
    run = folded(*events, responded(50 + 1 / 60, instrument="nps"))
    assert first not in [pane for (counter, _, pane) in run.sums if counter == "INVITATIONS_ANSWERED"], "a second later it is too old"
    assert run.total("INVITATIONS_ANSWERED") == 1
    assert folded(*events, responded(62, instrument="nps")).total("INVITATIONS_ANSWERED") == 0
    assert folded(*events, responded(20, instrument="ces")).total("INVITATIONS_ANSWERED") == 0, "nobody was asked that"


def test_an_answer_that_names_nothing_is_about_the_last_touchpoint() -> None:
    order = (0, "order.completed", {"channel": "app", "segment": "vip", "commerce": {"order_id": "o-1"}})
    case = (5, "case.opened", {"channel": "phone", "actor": {"team": "red"}, "issue": {"case_id": "k-1"}})
    run = folded(order, case, responded(40, instrument="nps", score=9))
    assert run.total("NPS_EXPERIENCE_ANSWERS", channel="phone", team="red") == 1
    run = folded(order, responded(40, instrument="nps", score=9))
    assert run.total("NPS_EXPERIENCE_ANSWERS", journey="checkout", channel="app", segment="vip") == 1, "the journey its type has a role in"
    run = folded(order, (40, "survey.responded", {"channel": "email", "segment": "new", "survey": {"instrument": "nps", "score": 9}}))
    assert run.total("NPS_EXPERIENCE_ANSWERS", journey="checkout", channel="app", segment="new") == 1, "who the customer is by itself"
    run = folded(order, responded(40 + 1 / 60, instrument="nps", score=9))
    assert run.total("NPS_EXPERIENCE_ANSWERS", channel="app") == 0, "too long ago"


def test_an_answer_about_an_order_is_about_the_last_touchpoint_of_that_order() -> None:
    order = (0, "order.completed", {"channel": "app", "commerce": {"order_id": "o-1"}})
    case = (5, "case.opened", {"channel": "phone", "issue": {"issue_id": "k-1"}})
    run = folded(order, case, responded(6, instrument="nps", score=9, about={"order_id": "o-1"}))
    assert run.total("NPS_EXPERIENCE_ANSWERS", channel="app") == 1
    run = folded(order, case, (6, "survey.responded", {"issue": {"case_id": "k-1"}, "survey": {"instrument": "nps", "score": 9}}))
    assert run.total("NPS_EXPERIENCE_ANSWERS", channel="phone") == 1, "its own ids say what it is about, too"
    run = folded(order, case, responded(6, instrument="nps", score=9, about={"order_id": "o-2"}))
    assert run.total("NPS_EXPERIENCE_ANSWERS", channel="web") == 1, "an order nothing is known of: its own"
    run = folded(order, (6, "survey.responded", {"journey": "delivery", "survey": {"instrument": "nps", "score": 9}}))
    assert run.total("NPS_EXPERIENCE_ANSWERS", channel="web", journey="delivery") == 1, "it names a journey itself"


def test_a_low_answer_is_an_alert_until_it_is_forgotten_or_answered_better() -> None:
    run = folded((0, "order.completed", {}), responded(1, instrument="nps", score=6), responded(2, instrument="nps", score=9))
    assert [alert.state for alert in run.alerts] == ["firing", "resolved"]
    assert [evidence.type for evidence in run.alerts[0].evidence] == ["survey.responded"]
    run = folded(responded(0, instrument="nps", score=6, scope="relationship"), responded(1, instrument="nps", score=9))
    assert [alert.state for alert in run.alerts] == ["firing", "resolved"], "each scope has its own latest answer"
    assert rules_fired(folded(responded(0, instrument="csat", score=2))) == ["low-score"]
    assert rules_fired(folded(responded(0, instrument="csat", score=2.5, scale_min=0, scale_max=10))) == ["low-score"]
    assert rules_fired(folded(responded(0, instrument="ces", ces_version="2.0", score=3))) == ["low-score"]
    assert rules_fired(folded(responded(0, instrument="ces", ces_version="1.0", score=4))) == ["low-score"]
    assert rules_fired(folded(responded(0, instrument="ces", ces_version="1.0", score=3))) == []


def test_what_is_kept_of_a_customer_is_bounded_and_forgotten() -> None:
    sent = [(number, "survey.sent", {"survey": {"instrument": "nps"}}) for number in range(INVITATIONS_MAX + 2)]
    orders = [(60 + n / 60, "order.completed", {"commerce": {"order_id": f"o-{n}"}}) for n in range(TOUCHPOINTS_MAX + 3)]
    lasting = DEFINITIONS.replace('"50m"', '"5h"')
    run = folded(*sent, *orders, definitions=lasting)
    assert run.processor.accounting["cut_invitations"] == 2
    assert run.processor.accounting["cut_survey_touchpoints"] == 3
    again = [(n / 60, "order.completed", {"commerce": {"order_id": "o-1"}}) for n in range(TOUCHPOINTS_MAX + 3)]
    assert "cut_survey_touchpoints" not in folded(*again).processor.accounting, "of one order only the last is kept"
    run.advance(run.processor.clock_ms + 10 * 24 * 60 * 60_000)
    run.drain()
    assert [row.due for row in run.rows.values()] == [NEVER]
