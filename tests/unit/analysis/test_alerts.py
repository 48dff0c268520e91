"""Which alerts were right: on histories with a known answer."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streamer.analysis import foresight, indicators, pictures
from streamer.analysis.history import DAY_MS, Measure
from streamer.errors import InputError
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path


NPS = Measure("nps", "experience")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def held(outcomes: dict[str, list[int]], horizon: int, end: int, *, begin: int = 0) -> foresight.Question:
    return foresight.Question(outcomes, {}, horizon, begin, end)


def test_an_alert_is_right_if_the_outcome_comes_after_it_and_within_the_horizon() -> None:
    alerts = {"a": [0], "b": [10], "c": [50], "d": [95]}
    outcomes = {"a": [20], "b": [10, 21], "c": [49], "e": [60], "d": [96]}
    judged = foresight.judge("rule", alerts, held(outcomes, 20, 100))
    # a at the horizon's very end; b's first is no later than the alert, its second 11 later; c before; d cannot be judged.
    assert (judged.alerts, judged.right) == (3, 2)
    assert judged.lead_hours == pytest.approx((20 + 11) / 2 / 3_600_000)
    # Foreseen: a, b's second. Not c's and e's. The horizon before b's first and after d's is not in the history.
    assert (judged.outcomes, judged.foreseen) == (4, 2)


def test_a_short_history_does_not_make_recall_less() -> None:
    """Each outcome has an alert 20 before it; some of these were before the history, and tell nothing."""
    random = np.random.default_rng(1)
    outcomes = {f"c{n}": [int(at)] for n, at in enumerate(random.integers(0, 101, 500))}
    alerts = {key: [at - 20] for key, (at,) in outcomes.items() if at >= 20}
    judged = foresight.judge("rule", alerts, held(outcomes, 30, 100))
    assert (judged.recall, judged.precision) == (1, 1)
    assert 100 < judged.outcomes < 300


def test_an_alert_of_a_lapse_is_right_if_no_order_comes_after_it() -> None:
    orders = {"gone": [0, 40], "back": [0, 40, 75], "once more": [0, 40, 52], "never": [], "long gone": [0]}
    lapses = {"gone": [40], "once more": [52], "long gone": [0]}
    alerts = {"gone": [42], "back": [50], "once more": [45], "never": [50], "long gone": [50]}
    judged = foresight.judge("rule", alerts, foresight.Question(lapses, orders, 10, 0, 100, 30))
    # back's order of 75 comes 25 after the alert; never has none, and long gone has lapsed before the alert.
    assert (judged.alerts, judged.right) == (3, 1)
    assert judged.lead_hours == pytest.approx(-2 / 3_600_000)
    assert (judged.outcomes, judged.foreseen) == (3, 1)


@pytest.mark.parametrize("horizon", [30, 90, 120])
def test_a_rule_that_knows_nothing_of_lapses_is_as_good_as_the_base_rate(horizon: int) -> None:
    """It fires two days after every second order, of customers who come and order at random; most others never order."""
    random, alerts, orders, lapses = np.random.default_rng(horizon), {}, {}, {}
    for n in range(1_500):
        gaps = random.exponential(60, 60)
        at = random.uniform(0, 720) + np.cumsum(gaps) - gaps[0]
        times = [int(one * DAY_MS) for one in at[at < 720]]
        orders[f"c{n}"] = times
        lapses[f"c{n}"] = [one for one, later in pairwise([*times, 10**18]) if min(later, 721 * DAY_MS) > one + 90 * DAY_MS <= 720 * DAY_MS]
        alerts[f"c{n}"] = [one + 2 * DAY_MS for one in times if random.random() < 0.5]
    question = foresight.Question(lapses, orders, horizon * DAY_MS, 0, 720 * DAY_MS, 90 * DAY_MS)
    base = foresight.base_rate(question)
    assert base is not None
    assert (foresight.judge("rule", alerts, question).precision or 0) / base == pytest.approx(1, abs=0.15)


def test_alerts_that_share_a_customer_do_not_make_precision_surer() -> None:
    outcomes = held({f"c{n}": [9] for n in range(6)}, 10, 100)
    once = foresight.judge("rule", {f"c{n}": [0] for n in range(20)}, outcomes)
    often = foresight.judge("rule", {f"c{n}": list(range(8)) for n in range(20)}, outcomes)
    assert (often.alerts, often.customers, often.precision) == (160, 20, once.precision)
    assert often.precision_interval == pytest.approx(once.precision_interval, abs=0.05)


@pytest.mark.parametrize(("alerts", "right", "noisy"), [(50, 9, True), (50, 10, False), (49, 0, False)])
def test_a_rule_is_noisy_below_a_fifth_over_fifty_alerts(alerts: int, right: int, noisy: bool) -> None:
    times = {f"c{n}": [0] for n in range(alerts)}
    assert foresight.judge("rule", times, held({f"c{n}": [1] for n in range(right)}, 10, 100)).noisy == noisy


def test_the_base_rate_is_what_comes_anyway() -> None:
    # Seen before 0: a, b and c; before 10 d, too. a has it in the first span, b in both, at most once each; the third is not over.
    outcomes, seen = {"a": [5, 6], "b": [10, 15], "d": [4]}, {"a": [0], "b": [0], "c": [0], "d": [4]}
    assert foresight.base_rate(foresight.Question(outcomes, seen, 10, 0, 29)) == 3 / 7
    assert foresight.base_rate(foresight.Question(outcomes, seen, 30, 0, 29)) is None


def judged(rule: str, alerts: int, right: int) -> foresight.Judged:
    times = {f"c{n}": [0] for n in range(alerts)}
    return foresight.judge(rule, times, held({f"c{n}": [1] for n in range(right)}, 10, 100))


def test_the_headline_names_a_rule_only_if_it_is_better_than_the_base_rate() -> None:
    often, seldom, few = judged("often", 200, 120), judged("seldom", 10, 7), judged("few", 9, 9)
    assert indicators._headline([often, seldom, few], "x", 0.3) == "often foretells x best: right in 60 % of 200 alerts"
    assert indicators._headline([seldom, few], "x", 0.6) == "No rule is surely better at x than the base rate of 60.0 %"
    assert indicators._headline([few], "x", 0.1) == "No rule has 10 alerts that could be judged against x"
    assert indicators._headline([seldom, judged("bad", 60, 1)], "x", 0.6).endswith("; 1 rule is noisy: bad")


def test_a_long_headline_stays_in_the_picture() -> None:
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    pictures.frame(figure, "rules are noisy: " + ", ".join(f"a-rule-with-a-name-{n}" for n in range(9)), "A foot. " * 40)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for text in figure.texts:
        assert text.get_window_extent(renderer).x1 <= figure.bbox.x1


def test_the_products_own_alerts_are_judged(path: Path) -> None:
    made = Maker()
    for n in range(4):
        issue = {"issue": {"issue_id": f"i{n}"}}
        for again in range(3):
            made.add(f"c{n}", 10 + again, "contact.started", **issue)
            made.add(f"c{n}", 10.5 + again, "contact.ended", **issue)
        made.answer(f"c{n}", 14, 2 if n < 3 else 9)
    made.answer("unseen", 14, 0)
    made.add("clock", -20, "page.viewed")
    made.add("clock", 100, "page.viewed")
    history, log = made.opened(path, "journeys")
    told = indicators.analyse(log, history, "detractor", scope="experience", days=30, lapse_days=90).result
    (rule,) = [one for one in told["rules"] if one["rule"] == "repeated-contacts"]
    assert (rule["alerts"], rule["right"], rule["outcomes"], rule["foreseen"], rule["lead_hours"]) == (4, 3, 4, 3, 48)


def test_scores_of_another_scope_are_no_outcome(path: Path) -> None:
    made = Maker()
    made.answer("a", 14, 2, scope="benchmark")
    made.add("clock", 100, "page.viewed")
    history, log = made.opened(path, "journeys")
    with pytest.raises(InputError, match=r"the outcome 'detractor' \(an NPS answer \(experience\) of 6 or less\) never comes"):
        indicators.analyse(log, history, "detractor", scope="experience", days=30, lapse_days=90)


@pytest.mark.parametrize(
    ("outcome", "expected"), [("lapsed", {("a", 1 * DAY_MS), ("b", 31 * DAY_MS)}), ("abandoned", {("k", 30 * 60_000)})]
)
def test_what_counts_as_an_outcome(path: Path, outcome: str, expected: set[tuple[str, int]]) -> None:
    made = Maker()
    # After a's last order the history goes on for 29 days only; b's second comes after exactly 30 days, which is not too late.
    for customer, at in (("a", 1.0), ("a", 40.0), ("a", 41.0), ("b", 1.0), ("b", 31.0), ("b", 61.5)):
        made.order(customer, at, 1)
    made.add("k", 0, "checkout.started", commerce={"checkout_id": "k"})
    made.add("back", 0, "checkout.started", commerce={"checkout_id": "b"})
    made.add("back", 0.5, "order.completed", commerce={"checkout_id": "b"})
    made.add("clock", 70, "page.viewed")
    _, log = made.opened(path, "journeys")
    parameters = {"lapse": 30 * DAY_MS, "end": log.end_ms} if outcome == "lapsed" else None
    assert {(key, time - log.begin_ms) for key, time in log.rows(indicators.QUERIES[outcome], parameters)} == expected
