"""Each question on a history with a known answer."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streamer.analysis import drivers, foresight, indicators, initiative, moments, pictures, spend, trajectory
from streamer.analysis.history import DAY_MS, Measure, opened
from streamer.analysis.statistics import permuted_weights
from streamer.definitions import parse
from streamer.errors import InputError
from streamer.replay.history import read_history
from tests.unit.analysis.made import BEGIN_MS, Maker

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.analysis.report import Report

NPS = Measure("nps", "experience")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


# --- spend -----------------------------------------------------------------------------------------------------------------------------


def spenders(path: Path, made: Maker, days: tuple[int, ...] = (90,), currency: str | None = None) -> dict[str, Any]:
    made.add("clock", 400, "page.viewed")
    _, log = made.opened(path)
    return spend.analyse(log, NPS, currency=currency, days=days, seed=1).result


def banded(made: Maker) -> None:
    """Ten customers a band: 10, 20 and 30 a month, from the first day on."""
    for n, (score, amount) in enumerate([(3, 10), (8, 20), (10, 30)] * 10):
        made.answer(f"c{n}", 5, score)
        for month in range(12):
            made.order(f"c{n}", 6 + 30 * month, amount)


def test_promoters_spend_three_times_as_much(path: Path) -> None:
    made = Maker()
    banded(made)
    span = spenders(path, made)["spans"][0]
    assert [band["mean"] for band in span["bands"]] == [30, 60, 90]
    assert [band["customers"] for band in span["bands"]] == [10, 10, 10]
    assert span["ratio"] == 3
    assert span["ratio_interval"] == (3, 3)
    assert span["rho"] == pytest.approx(1)


def bands(made: Maker, spent: dict[int, list[float]]) -> None:
    """Customers by score, and what each spends."""
    for score, amounts in spent.items():
        for n, amount in enumerate(amounts):
            made.answer(f"c{score}-{n}", 5, score)
            made.order(f"c{score}-{n}", 6, amount)


def test_where_hardly_anybody_unhappy_spends_the_ratio_has_no_upper_bound(path: Path) -> None:
    made = Maker()
    bands(made, {3: [0.0] * 19 + [100], 10: [100.0] * 20})
    made.add("clock", 400, "page.viewed")
    _, log = made.opened(path)
    report = spend.analyse(log, NPS, currency=None, days=(90,), seed=1)
    (span,) = report.result["spans"]
    low, high = span["ratio_interval"]
    assert (span["ratio"], high) == (20, None)
    assert low > 1
    assert any("no upper bound" in cell for row in report.tables[0].rows for cell in row)


def test_few_of_a_band_have_no_mean_and_no_ratio(path: Path) -> None:
    made = Maker()
    bands(made, {3: [10.0] * 9, 7: [20.0] * 10, 10: [30.0] * 12})
    made.add("clock", 400, "page.viewed")
    _, log = made.opened(path)
    report = spend.analyse(log, NPS, currency=None, days=(90,), seed=1)
    (span,) = report.result["spans"]
    assert [band["mean"] for band in span["bands"]] == [None, 20, 30]
    assert (span["ratio"], span["ratio_interval"]) == (None, None)
    assert report.headline == "31 customers followed for 90 days after NPS (experience)"


def test_a_ratio_that_may_be_1_is_no_finding(path: Path) -> None:
    made, random = Maker(), np.random.default_rng(4)
    bands(made, {score: list(random.uniform(5, 100, 15)) for score in (3, 10)})
    made.add("clock", 400, "page.viewed")
    _, log = made.opened(path)
    report = spend.analyse(log, NPS, currency=None, days=(90,), seed=1)
    assert report.result["spans"][0]["ratio_interval"][0] < 1 < report.result["spans"][0]["ratio_interval"][1]
    assert report.headline == "Promoters do not surely spend more or less than detractors in the 90 days after NPS (experience)"


def test_a_picture_has_room_for_what_is_given_back_and_says_where_nobody_answered(path: Path) -> None:
    made = Maker()
    bands(made, {3: [10.0] * 12, 10: [10.0] * 12})
    for n in range(12):
        made.add(f"c3-{n}", 8, "order.refunded", commerce={"revenue": "500", "currency": "EUR"})
    made.add("clock", 400, "page.viewed")
    _, log = made.opened(path)
    figure = Figure()
    spend.analyse(log, NPS, currency=None, days=(90,), seed=1).draw(figure)
    (ax,) = figure.axes
    assert ax.get_ylim()[0] < -490
    assert "no answers" in [text.get_text() for text in ax.texts]


def test_rho_is_that_of_scipy(path: Path) -> None:
    made, scores, amounts = Maker(), [0, 3, 3, 7, 8, 9, 10, 10], [5, 1, 7, 7, 3, 9, 2, 20]
    for n, (score, amount) in enumerate(zip(scores, amounts, strict=True)):
        made.answer(f"c{n}", 5, score)
        made.order(f"c{n}", 6, amount)
    assert spenders(path, made)["spans"][0]["rho"] == pytest.approx(scipy.stats.spearmanr(scores, amounts).statistic, rel=1e-9)


def test_only_what_comes_after_the_answer_and_within_the_span_counts(path: Path) -> None:
    made = Maker()
    for customer in map(str, range(10)):
        made.answer(customer, 100, 9)
        for at in (99, 100, 100.1, 190, 190.1):
            made.order(customer, at, 1)
    assert spenders(path, made)["spans"][0]["bands"][2]["mean"] == 2


def test_an_answer_without_a_whole_span_after_it_is_left_out(path: Path) -> None:
    made = Maker()
    banded(made)
    for n in range(50):
        made.answer(f"late{n}", 311, 10)
    assert spenders(path, made)["spans"][0]["customers"] == 30


def test_the_first_answer_that_has_one_counts_and_no_other(path: Path) -> None:
    made = Maker()
    for customer in ("a", "b"):
        made.answer(customer, 10, 0)
        made.answer(customer, 20, 10)
        made.order(customer, 30, 5)
    bands = spenders(path, made)["spans"][0]["bands"]
    assert [band["customers"] for band in bands] == [2, 0, 0]


def test_refunds_and_cancellations_are_taken_off_once(path: Path) -> None:
    made = Maker()
    for n in range(9):
        made.answer(f"b{n}", 1, 9)
    made.answer("a", 1, 9)
    made.order("a", 2, 100, order_id="o1")
    made.order("a", 3, 50, order_id="o2")
    made.order("a", 4, 25, order_id="o3")
    made.add("a", 5, "order.cancelled", commerce={"order_id": "o1"})
    made.add("a", 6, "order.cancelled", commerce={"order_id": "o1"})
    made.add("a", 7, "order.refunded", commerce={"order_id": "o2", "revenue": "30", "currency": "EUR"})
    made.add("a", 8, "order.cancelled", commerce={"order_id": "o2"})
    made.order("a", 9, 40, order_id="o3")  # told twice
    made.add("a", 10, "order.refunded", commerce={"order_id": "o3", "revenue": "5"})  # in the order's currency
    made.add("a", 11, "order.refunded", commerce={"order_id": "o3"})  # gives back what is left
    assert spenders(path, made)["spans"][0]["bands"][2]["mean"] == 0


def test_an_order_told_twice_or_cancelled_is_no_other_order(path: Path) -> None:
    made = Maker()
    made.order("a", 2, 100, order_id="o1")
    made.order("a", 3, 100, order_id="o1")
    made.order("a", 4, 100, order_id="o2")
    made.add("a", 5, "order.cancelled", commerce={"order_id": "o2"})
    _, log = made.opened(path)
    assert log.rows("SELECT count(*), sum(amount) FROM spent WHERE is_order") == [(1, 100)]


def test_a_refund_of_what_is_not_in_the_history_is_what_it_says(path: Path) -> None:
    made = Maker()
    made.order("a", 2, 100, order_id="o1", currency="USD")
    made.add("a", 3, "order.refunded", commerce={"order_id": "before", "revenue": "-7", "currency": "EUR"})
    made.add("a", 4, "order.refunded", commerce={"order_id": "o1", "revenue": "9", "currency": "EUR"})  # not its order's currency
    _, log = made.opened(path)
    assert log.rows("SELECT currency, amount FROM spent ORDER BY ALL") == [("EUR", -7), ("USD", 100)]


def test_currencies_and_scopes_are_not_mixed(path: Path) -> None:
    made = Maker()
    for customer in map(str, range(10)):
        made.answer(customer, 1, 9)
        made.answer(customer, 0.5, 0, scope="relationship")
        made.order(customer, 2, 10)
        made.order(customer, 3, 1000, currency="JPY")
        made.order(customer, 4, 10)
    told = spenders(path, made)
    assert told["spans"][0]["bands"][2]["mean"] == 20
    assert "10 orders in other currencies than EUR" in " ".join(told["notes"])
    assert spenders(path, made, currency="jpy")["spans"][0]["bands"][2]["mean"] == 1000


def test_what_is_missing_is_said(path: Path) -> None:
    made = Maker()
    made.answer("a", 1, 9)
    with pytest.raises(InputError, match="has no order"):
        spenders(path, made)
    made.order("a", 2, 9)
    with pytest.raises(InputError, match="no span of 390 days"):
        spenders(path, made, days=(390,))
    with pytest.raises(InputError, match=r"no orders in USD; there are EUR \(1\)"):
        spenders(path, made, currency="usd")
    _, log = made.opened(path)
    with pytest.raises(InputError, match=r"no answers to CSAT \(experience\) in this file; it has --score nps --scope experience \(1\)"):
        spend.analyse(log, Measure("csat", "experience"), currency=None, days=(90,), seed=1)


def test_a_line_that_is_refused_is_not_of_the_history(path: Path) -> None:
    made = Maker()
    for customer in ("a", "b"):
        made.answer(customer, 10, 9)
        made.order(customer, 20, 5)
    made.add("k", 30, "checkout.started", commerce={"checkout_id": "k"})
    for at in (-900, 900):
        made.add("q", at, "page.viewed", channel="")
    _, log = made.opened(path, "journeys")
    assert (log.begin_ms, log.end_ms) == (BEGIN_MS + 10 * DAY_MS, BEGIN_MS + 30 * DAY_MS)
    assert log.rows("SELECT count(*) FROM changes WHERE counter = 'ABANDONED'") == [(0,)]
    with pytest.raises(InputError, match="no span of 90 days"):
        spend.analyse(log, NPS, currency=None, days=(90,), seed=1)
    made.events = [event for event in made.events if not event["channel"]]
    with pytest.raises(InputError, match="no line of this file is an event that counts"):
        made.opened(path)


# --- trajectory ------------------------------------------------------------------------------------------------------------------------


def test_months_are_complete_calendar_months() -> None:
    made = trajectory.months_of(1_704_067_200_000 + 1, 1_704_067_200_000 + 130 * DAY_MS)
    assert [np.datetime64(start, "ms").astype(str)[:10] for start in made] == ["2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01"]


def test_a_silent_decliner_spends_less_and_has_reason_to(path: Path) -> None:
    made = Maker()
    for month, at in enumerate((0.1, 31, 60, 91, 121, 152)):  # the beginnings of the months of 2024
        for customer in ("reason", "no reason"):
            made.order(customer, at + 3, 100 - 15 * month)
        made.order("level", at + 3, 50)
    made.answer("reason", 10, 9)
    made.answer("reason", 100, 2)
    made.answer("no reason", 10, 2)
    made.answer("no reason", 100, 9)
    made.answer("level", 10, 0)
    made.add("clock", 183, "page.viewed")
    made.add("clock", 0, "page.viewed")
    _, log = made.opened(path, "journeys")
    told = trajectory.analyse(log, NPS, currency=None).result
    (silent,) = told["silent_decliners"]
    assert silent["key"] == "reason"
    assert silent["reasons"] == ("low score",)
    # The month of the first order is not on the line.
    assert silent["mean"] == pytest.approx(55)
    assert silent["change"] == pytest.approx(3 * -15 / 55)
    assert silent["change_low"] == pytest.approx(silent["change"]) == silent["change_high"]
    assert silent["score_change"] == pytest.approx(-7 / (90 / 30.4375))
    assert told["quadrants"] == {
        "spend_up_score_down": 0, "spend_up_score_up": 0, "spend_up_score_unknown": 1,
        "spend_down_score_down": 1, "spend_down_score_up": 1, "spend_down_score_unknown": 0,
    }  # fmt: skip


def test_high_effort_is_a_reason_too(path: Path) -> None:
    made = Maker()
    for month, at in enumerate((1, 32, 61, 92)):
        made.order("a", at, 100 - 30 * month)
    issue = {"issue": {"issue_id": "i"}}
    for n in range(4):
        made.add("a", 40 + n, "contact.started", **issue)
        made.add("a", 40.5 + n, "contact.ended", **issue)
    made.add("clock", 0, "page.viewed")
    made.add("clock", 125, "page.viewed")
    _, log = made.opened(path, "journeys")
    (silent,) = trajectory.analyse(log, NPS, currency=None).result["silent_decliners"]
    assert silent["reasons"] == ("high effort",)


def level(path: Path, seed: int, rate: float, customers: int = 400) -> list[dict[str, Any]]:
    """The silent decliners among customers who order at a rate a month that does not change, and all of whom have reason to leave."""
    made, random = Maker(), np.random.default_rng(seed)
    for n in range(customers):
        for at in np.cumsum(random.exponential(30.4 / rate, size=int(40 * rate) + 10)):
            if at < 397:
                made.order(f"c{n}", float(at), 50)
        made.answer(f"c{n}", 380, 0)
    made.add("clock", 0, "page.viewed")
    made.add("clock", 397, "page.viewed")
    _, log = made.opened(path, "journeys")
    found: list[dict[str, Any]] = trajectory.analyse(log, NPS, currency=None).result["silent_decliners"]
    return found


@pytest.mark.parametrize("rate", [0.5, 1])
def test_who_orders_at_random_and_as_ever_is_seldom_a_decliner(path: Path, rate: float) -> None:
    assert len(level(path, 7, rate)) <= 0.05 * 400


@pytest.mark.parametrize(("chapters", "reasons"), [("[service]", [("high effort",)]), ("", [])])
def test_effort_is_also_what_chapters_find(path: Path, chapters: str, reasons: list[tuple[str, ...]]) -> None:
    made = Maker()
    for month, at in enumerate((1, 32, 61, 92, 122)):
        made.order("a", at, 100 - 20 * month)
    made.add("a", 40, "contact.started", issue={"issue_id": "i"})
    for n in range(6):
        made.add("a", 40.1 + n / 100, "info.captured", issue={"issue_id": "i"}, info={"field": "address"})
    made.add("clock", 0, "page.viewed")
    made.add("clock", 155, "page.viewed")
    log = opened(read_history(made.write(path)), parse(f"revision = 1\n{chapters}"), "journeys")
    assert [one["reasons"] for one in trajectory.analyse(log, NPS, currency=None).result["silent_decliners"]] == reasons


def test_a_line_begins_in_the_month_after_the_first_order(path: Path) -> None:
    made = Maker()
    for at, amount in ((1, 300), (32, 50), (61, 50), (92, 50), (122, 50)):
        made.order("a", at, amount)
    made.answer("a", 100, 0)
    made.add("clock", 0, "page.viewed")
    made.add("clock", 155, "page.viewed")
    _, log = made.opened(path, "journeys")
    told = trajectory.analyse(log, NPS, currency=None).result
    assert (told["customers"], told["silent_decliners"]) == (1, [])


def test_a_line_needs_three_months(path: Path) -> None:
    made = Maker()
    made.order("a", 0, 1)
    made.order("a", 70, 1)
    _, log = made.opened(path, "journeys")
    with pytest.raises(InputError, match="at least 3 complete calendar months, and this history has 2"):
        trajectory.analyse(log, NPS, currency=None)


# --- initiative ------------------------------------------------------------------------------------------------------------------------


def helped(path: Path, *, control: bool, cost: str | None = "2", total: float | None = None) -> dict[str, Any]:
    """Those treated spend 20 more than before, the others 5 more."""
    made = Maker()
    for arm, gain in (("treated", 20), *((("control", 5),) if control else ())):
        for n in range(8):
            made.order(f"{arm}{n}", 50, 10)
            made.order(f"{arm}{n}", 150, 10 + gain)
            told = {"initiative_id": "call", "arm": arm} | ({"cost": cost} if cost else {})
            made.add(f"{arm}{n}", 100, "initiative.started", initiative=told)
            made.add(f"{arm}{n}", 120, "initiative.started", initiative={**told, "cost": "99"})
    made.add("late", 190, "initiative.started", initiative={"initiative_id": "call", "cost": "2"})
    made.add("clock", 0, "page.viewed")
    made.add("clock", 200, "page.viewed")
    _, log = made.opened(path)
    return initiative.analyse(log, "call", currency=None, days=90, margin=0.5, cost=total).result


def test_a_return_is_what_is_left_after_the_control_groups_change(path: Path) -> None:
    told = helped(path, control=True)
    assert told["label"] == "compared_with_control"
    assert (told["treated"], told["control"], told["effect"], told["gain"], told["cost"]) == (8, 8, 15, 60, 16)
    assert told["roi"] == (60 - 16) / 16
    assert told["roi_interval"] == (told["roi"], told["roi"])


def test_without_a_control_group_it_is_labelled(path: Path) -> None:
    told = helped(path, control=False)
    assert told["label"] == "not_causal"
    assert told["effect"] == 20
    assert told["notes"][0].startswith("not_causal")


def test_what_it_cost_must_be_known(path: Path) -> None:
    with pytest.raises(InputError, match="give the total with --cost"):
        helped(path, control=True, cost=None, total=None)
    told = helped(path, control=True, cost=None, total=90)
    assert (told["cost"], told["roi"]) == (80, 60 / 80 - 1)  # nine are treated, and eight of them can be followed
    assert "The gain is of 8 of 9 treated customers, and so much of the cost is set against it." in told["notes"]


def test_an_unknown_initiative_names_the_known_ones(path: Path) -> None:
    made = Maker()
    made.order("a", 1, 1)
    made.add("a", 1, "initiative.started", initiative={"initiative_id": "call"})
    _, log = made.opened(path)
    with pytest.raises(InputError, match=r"no initiative.started of 'cal' in this file; there is call \(1 customer\)"):
        initiative.analyse(log, "cal", currency=None, days=90, margin=0.5, cost=1)


def changed(path: Path, changes: dict[str, list[float]], cost: Any = "1") -> Report:
    """Customers of arms, who spend so much more in the 90 days after the start than in those before."""
    made = Maker()
    for arm, gains in changes.items():
        for n, gain in enumerate(gains):
            made.order(f"{arm}{n}", 50, 100)
            made.order(f"{arm}{n}", 150, 100 + gain)
            made.add(f"{arm}{n}", 100, "initiative.started", initiative={"initiative_id": "call", "arm": arm, "cost": cost})
    made.add("clock", 0, "page.viewed")
    made.add("clock", 200, "page.viewed")
    _, log = made.opened(path)
    return initiative.analyse(log, "call", currency=None, days=90, margin=0.5, cost=None)


def test_the_interval_is_that_of_welchs_test(path: Path) -> None:
    treated, control = [10.0 + 3 * n for n in range(25)], [float(n % 7) for n in range(40)]
    told = changed(path, {"treated": treated, "control": control})
    expected = scipy.stats.ttest_ind(treated, control, equal_var=False).confidence_interval()
    assert told.result["effect_interval"] == pytest.approx(tuple(expected))
    assert told.result["roi_interval"] == pytest.approx(tuple(limit * 25 * 0.5 / 25 - 1 for limit in expected))
    assert told.headline.startswith("call pays off")


@pytest.mark.parametrize(("treated", "control"), [(19, 30), (30, 19), (30, 1)])
def test_few_customers_get_no_verdict(path: Path, treated: int, control: int) -> None:
    told = changed(path, {"treated": [50.0 + n for n in range(treated)], "control": [float(n) for n in range(control)]})
    assert "pays off" not in told.headline
    assert told.result["treated"] == treated
    assert any("which is none to compare with" in note for note in told.notes) == (control == 1)
    assert told.result["enough"] or told.headline.startswith("call: too few customers for a verdict")


def test_an_arm_that_nobody_knows_is_named(path: Path) -> None:
    told = changed(path, {"treated": [20.0] * 25, "Control": [1.0] * 30})
    assert told.result["label"] == "not_causal"
    assert "30 customers of arm 'Control' left out: arms are treated and control." in told.notes


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-5", 1e300, "dear"])
def test_a_cost_that_is_none_is_left_out(path: Path, cost: Any) -> None:
    with pytest.raises(InputError, match="what the initiative cost is not in the events"):
        changed(path, {"treated": [20.0] * 3}, cost)


def test_a_cost_that_is_typed_is_a_number(path: Path) -> None:
    made = Maker()
    made.order("a", 1, 1)
    _, log = made.opened(path)
    with pytest.raises(InputError, match="take numbers"):
        initiative.analyse(log, "call", currency=None, days=90, margin=0.5, cost=float("inf"))


def test_a_cost_that_is_left_out_is_counted(path: Path) -> None:
    made = Maker()
    for n in range(4):
        made.order(f"c{n}", 150, 10)
        made.add(f"c{n}", 100, "initiative.started", initiative={"initiative_id": "call", "cost": "NaN" if n else "3"})
    made.add("clock", 0, "page.viewed")
    made.add("clock", 200, "page.viewed")
    _, log = made.opened(path)
    told = initiative.analyse(log, "call", currency=None, days=90, margin=0.5, cost=None)
    assert told.result["cost"] == 3
    assert any(note.startswith("3 treated customers with a cost that is none") for note in told.notes)


def test_an_initiative_without_an_id_is_none(path: Path) -> None:
    made = Maker()
    made.order("a", 1, 1)
    made.add("a", 1, "initiative.started", props={"initiative": "call"})
    _, log = made.opened(path)
    with pytest.raises(InputError, match="there are none with an initiative_id"):
        initiative.analyse(log, "call", currency=None, days=90, margin=0.5, cost=1)


# --- drivers ---------------------------------------------------------------------------------------------------------------------------


def cared_for(path: Path, days: int = 30) -> dict[str, Any]:
    """Scores fall by two points a transfer; contacts come more with transfers, and do nothing of themselves."""
    made, random = Maker(), np.random.default_rng(5)
    for n in range(300):
        transfers = int(random.integers(0, 4))
        issue = {"issue": {"issue_id": f"i{n}"}}
        for contact in range(1 + int(random.integers(0, 2)) + transfers // 2):
            made.add(f"c{n}", 50 + contact, "contact.started", **issue)
        for transfer in range(transfers):
            made.add(f"c{n}", 55 + transfer, "contact.transferred", handoff={"kind": "warm"}, **issue)
        made.add(f"c{n}", 1, "contact.transferred", handoff={"kind": "cold"}, **issue)  # long before the answer
        made.answer(f"c{n}", 60, 10 - 2 * transfers - int(random.integers(0, 2)))
    made.add("clock", 0, "page.viewed")
    _, log = made.opened(path, "journeys")
    return drivers.analyse(log, NPS, days=days, only=(), seed=1).result


def test_transfers_drive_the_score(path: Path) -> None:
    told = cared_for(path)
    first, second, *_ = told["drivers"]
    assert (first["name"], second["name"]) == ("transfers", "contacts")
    assert first["weight"] > 2 * second["weight"]
    assert first["low"] < first["weight"] < first["high"]
    assert first["r"] < -0.9
    assert first["p"] == told["p"] == 1 / 2001
    assert 0 < told["r2"] - told["adjusted"] < 0.01
    assert sum(driver["weight"] for driver in told["drivers"]) == pytest.approx(told["r2"], rel=1e-9)
    assert sum(driver["share"] for driver in told["drivers"]) == pytest.approx(1)
    assert set(told["constant"]) == set(drivers.MEASURES) - {"transfers", "contacts"}


def test_the_same_seed_gives_the_same_intervals(path: Path) -> None:
    assert cared_for(path) == cared_for(path)


def test_what_was_long_before_the_answer_does_not_count(path: Path) -> None:
    # 59 days before, the cold transfer was the first event of everybody's issue.
    assert "cold_transfers" in cared_for(path, days=58)["constant"]


def test_too_few_answers_are_no_answer(path: Path) -> None:
    made = Maker()
    for n in range(5):
        made.answer(f"c{n}", 40 + n, n)
    made.add("clock", 0, "page.viewed")
    _, log = made.opened(path, "journeys")
    with pytest.raises(InputError, match=r"5 customers answered .* too few for 1 measure, each of which takes 10 answers"):
        drivers.analyse(log, NPS, days=30, only=(), seed=1)
    with pytest.raises(InputError, match="no such measure; known are contacts"):
        drivers.analyse(log, NPS, days=30, only=["weather"], seed=1)


def noise(seed: int, n: int = 100) -> drivers.Drivers:
    random = np.random.default_rng(seed)
    return drivers.rank(random.poisson(0.5, (n, 5)).astype(float), random.integers(0, 11, n).astype(float), list("abcde"), seed)


def test_what_has_nothing_to_do_with_a_score_is_seldom_beyond_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "bootstrap", lambda *_: np.zeros((5, 2)))
    monkeypatch.setattr(drivers, "permuted_weights", lambda x, y, seed: permuted_weights(x, y, seed, 100))
    found = [noise(seed) for seed in range(40)]
    assert sum(one.p < drivers.SIGNIFICANT for one in found) <= 5
    assert sum(one.drivers[0].p < drivers.SIGNIFICANT for one in found) <= 5
    assert abs(np.mean([one.adjusted for one in found])) < 0.02 < np.mean([one.r2 for one in found])


def test_where_nothing_is_beyond_chance_the_headline_names_no_measure(path: Path) -> None:
    made, random = Maker(), np.random.default_rng(3)
    for n in range(40):
        for contact in range(int(random.integers(0, 3))):
            made.add(f"c{n}", 50 + contact, "contact.started", issue={"issue_id": f"i{n}"})
        made.answer(f"c{n}", 60, int(random.integers(0, 11)))
    made.add("clock", 0, "page.viewed")
    _, log = made.opened(path, "journeys")
    report = drivers.analyse(log, NPS, days=30, only=["contacts"], seed=1)
    assert report.headline == "Nothing that is measured goes with NPS (experience) beyond chance"
    assert report.result["p"] > 0.05


def in_trouble(path: Path, trouble_at: float) -> dict[str, Any]:
    """Every second customer's payment fails at that day, and all of these answer 2 on day 10, the others 9."""
    made = Maker()
    for n in range(200):
        checkout = {"commerce": {"checkout_id": f"k{n}"}}
        made.add(f"c{n}", 9, "contact.started" if n % 4 else "page.viewed")
        made.add(f"c{n}", 9.99, "checkout.started", **checkout)
        if n % 2:
            made.add(f"c{n}", trouble_at, "payment.failed", **checkout)
        made.answer(f"c{n}", 10, 2 if n % 2 else 9)
    made.add("clock", 0, "page.viewed")
    _, log = made.opened(path, "journeys")
    return drivers.analyse(log, NPS, days=9, only=["journeys_with_friction", "contacts"], seed=1).result


def test_friction_before_the_answer_goes_with_it(path: Path) -> None:
    told = in_trouble(path, 9.995)
    assert told["drivers"][0]["name"] == "journeys_with_friction"
    assert told["r2"] == pytest.approx(1)


def test_friction_that_comes_after_the_answer_does_not(path: Path) -> None:
    assert in_trouble(path, 10.001)["constant"] == ["journeys_with_friction"]


# --- alerts ----------------------------------------------------------------------------------------------------------------------------


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
    assert indicators._headline([seldom, few], "x", 0.6) == "No rule is surely better at x than the base rate of 60 %"
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


# --- moments ---------------------------------------------------------------------------------------------------------------------------


def checkouts(path: Path, *, least: int = 100, outcome: str = "completion") -> dict[str, Any]:
    """120 checkouts fail at payment, and 30 of them go on; of 200 others 180 do. Trouble at the address changes nothing."""
    made = Maker()
    for n in range(320):
        customer, at, checkout = f"c{n}", n * 0.1, {"commerce": {"checkout_id": f"k{n}"}}
        made.add(customer, at, "checkout.started", **checkout)
        made.add(customer, at + 0.001, "checkout.step_viewed", step="address", **checkout)
        if n % 2:
            made.add(customer, at + 0.002, "form.error", **checkout)
        made.add(customer, at + 0.003, "checkout.step_viewed", step="payment", **checkout)
        trouble = n < 120
        if trouble:
            made.add(customer, at + 0.004, "payment.failed", **checkout)
        if n % 4 == 0 if trouble else n % 10:
            made.order(customer, at + 0.005, 10, checkout_id=f"k{n}")
            made.answer(customer, at + 0.1, 10)
        else:
            made.answer(customer, at + 0.1, 3)
    made.add("open", 59.999, "checkout.started", commerce={"checkout_id": "open"})
    made.add("clock", 60, "page.viewed")
    _, log = made.opened(path, "journeys")
    return moments.analyse(log, outcome, scope="experience", days=10, least=least).result


def test_friction_at_payment_is_pivotal_and_at_the_address_it_is_not(path: Path) -> None:
    found = {one["touchpoint"]: one for one in checkouts(path)["moments"]}
    payment, address = found["payment"], found["address"]
    assert (payment["friction"], payment["smooth"]) == (120, 200)
    assert payment["difference"] == 30 / 120 - 180 / 200
    assert (payment["pivotal"], payment["validated"]) == (True, True)
    assert payment["impact"] == pytest.approx(0.65 * 120)
    assert (address["friction"], address["smooth"]) == (160, 160)
    assert not address["pivotal"]


def test_many_instances_of_few_customers_are_few(path: Path) -> None:
    made = Maker()
    for n in range(400):
        customer, checkout = f"c{n % 20}", {"commerce": {"checkout_id": f"k{n}"}}
        made.add(customer, n * 0.1, "checkout.started", **checkout)
        if n % 20 < 10:
            made.add(customer, n * 0.1 + 0.001, "form.error", **checkout)
        if n % 20 >= 10:
            made.order(customer, n * 0.1 + 0.002, 10, checkout_id=f"k{n}")
    made.add("clock", 60, "page.viewed")
    _, log = made.opened(path, "journeys")
    (start,) = [
        one
        for one in moments.analyse(log, "completion", scope="experience", days=10, least=11).result["moments"]
        if one["touchpoint"] == "checkout.started"
    ]
    assert (start["friction"], start["friction_customers"], start["smooth"], start["smooth_customers"]) == (200, 10, 200, 10)
    assert not start["pivotal"]
    assert start["high"] > -0.8


def cases(made: Maker, *, days: float, count: int, seed: int) -> None:
    """Half of the cases are resolved, with friction after five days, without after one."""
    random = np.random.default_rng(seed)
    for n in range(count):
        at, case = float(random.uniform(0.01, days - 0.1)), {"case_id": f"k{n}", "reason": "r"}
        made.add(f"c{n}", at, "case.opened", issue=case, step="desk")
        if n % 2:
            made.add(f"c{n}", at + 0.001, "friction.signal", issue=case, friction={"kind": "dead_click"}, step="desk")
        done = at + (5 if n % 2 else 1)
        if random.random() < 0.5 and done < days:
            made.add(f"c{n}", done, "case.resolved", issue=case, step="desk")


def test_who_takes_longer_to_complete_has_not_given_up(path: Path) -> None:
    made = Maker()
    cases(made, days=21, count=1_200, seed=2)
    made.add("clock", 21, "page.viewed")
    _, log = made.opened(path, "journeys")
    told = moments.analyse(log, "completion", scope="experience", days=10, least=100).result
    (desk,) = [one for one in told["moments"] if one["touchpoint"] == "desk"]
    assert not desk["pivotal"]
    assert abs(desk["difference"]) < 0.12
    (left_out,) = [note for note in told["notes"] if "begun too late" in note]
    assert int(left_out.partition(" ")[0].replace(",", "")) == 1_200 - desk["friction"] - desk["smooth"] > 400


@pytest.mark.parametrize(("chapters", "friction"), [("[digital]", 10), ("", 0)])
def test_friction_is_also_what_chapters_find(path: Path, chapters: str, friction: int) -> None:
    made = Maker()
    for n in range(20):
        who, checkout = f"c{n}", {"commerce": {"checkout_id": f"k{n}"}, "session_id": f"s{n}"}
        made.add(who, n, "checkout.started", **checkout)
        made.add(who, n + 0.0001, "checkout.step_viewed", step="payment", **checkout)
        for click in range(5 if n % 2 else 1):
            made.add(who, n + 0.0002 + click * 1e-6, "ui.clicked", friction={"element_id": "pay"}, **checkout)
    made.add("clock", 60, "page.viewed")
    journey = """[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
activity = ["checkout.*"]
identified_by = ["checkout_id", "session"]
deadline = "30m"
"""
    log = opened(read_history(made.write(path)), parse(f"revision = 1\n{chapters}\n{journey}"), "journeys")
    log.rows(moments._ENDED, {"end": log.end_ms, "span": 0, "scope": "experience", "after": 0, "share": 0.95})
    log.rows(moments._PASSED)
    assert log.rows("SELECT count(*) FROM passed_touchpoints WHERE friction") == [(friction,)]


def test_many_touchpoints_without_an_effect_are_not_pivotal_one_in_twenty() -> None:
    def touchpoint(random: np.random.Generator, name: str, share: float) -> moments.Moment:
        ones, zeros = np.repeat([1.0, 0.0], 200), np.zeros(400)
        hits = [(random.random(400) < (share if arm else 0.5)) * part for arm, part in enumerate((1 - ones, ones))]
        return moments.compare("j", name, moments.Arms(ones, hits[1], 1 - ones, hits[0], zeros, zeros, zeros, zeros))

    random = np.random.default_rng(3)
    worlds = [moments.judge([touchpoint(random, f"t{n}", 0.5) for n in range(20)]) for _ in range(50)]
    assert sum(any(one.pivotal for one in world) for world in worlds) <= 6
    assert sum(one.low > 0 or one.high < 0 for world in worlds for one in world) > 20
    assert moments.judge([touchpoint(random, "t", 0.1), *worlds[0]])[0].touchpoint == "t"


def test_an_answer_belongs_to_the_last_journey_that_had_ended_before_it(path: Path) -> None:
    made = Maker()
    for n in range(4):
        for at in (1, 2, 3):
            made.add(f"c{n}", at, "checkout.started", commerce={"checkout_id": f"k{n}-{at}"})
            if at == 2:
                made.add(f"c{n}", at + 0.001, "form.error", commerce={"checkout_id": f"k{n}-{at}"})
            made.order(f"c{n}", at + 0.01, 10, checkout_id=f"k{n}-{at}")
        made.answer(f"c{n}", 2.5, 9)
        made.answer(f"c{n}", 4, 3)
        made.answer(f"c{n}", 5, 10)
    made.add("clock", 60, "page.viewed")
    _, log = made.opened(path, "journeys")
    (one,) = [
        one
        for one in moments.analyse(log, "promoter", scope="experience", days=10, least=1).result["moments"]
        if one["touchpoint"] == "checkout.started"
    ]
    # The first checkout has no answer of its own, the second has the first, the third the second.
    assert (one["friction"], one["rate_friction"], one["smooth"], one["rate_smooth"]) == (4, 1, 4, 0)


def test_with_fewer_instances_than_asked_for_nothing_is_pivotal(path: Path) -> None:
    assert checkouts(path, least=121)["pivotal"] == 0


def test_other_outcomes(path: Path) -> None:
    promoter = {one["touchpoint"]: one for one in checkouts(path, outcome="promoter")["moments"]}
    assert promoter["payment"]["rate_friction"] == 30 / 120
    assert {one["validated"] for one in promoter.values()} == {None}
    made = Maker()
    made.add("a", 0, "page.viewed")
    _, log = made.opened(path, "journeys")
    with pytest.raises(InputError, match="no touchpoint"):
        moments.analyse(log, "repeat", scope="experience", days=10, least=1)
