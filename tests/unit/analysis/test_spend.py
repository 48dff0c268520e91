"""What customers spend after a score: on histories with a known answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
from matplotlib.figure import Figure

from streamer.analysis import spend
from streamer.analysis.history import DAY_MS, Measure
from streamer.errors import InputError
from tests.unit.analysis.made import BEGIN_MS, Maker

if TYPE_CHECKING:
    from pathlib import Path


NPS = Measure("nps", "experience")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


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
