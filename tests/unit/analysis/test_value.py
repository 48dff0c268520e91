"""What customers are worth, on histories with a known answer; and the same as the rules' lifetime_value."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamer.analysis import buying, models, value
from streamer.analysis.history import opened
from streamer.definitions import parse
from streamer.errors import InputError
from streamer.journeys.fold import Fold
from streamer.journeys.sinks import Aside
from streamer.journeys.state import Kept, State
from streamer.replay.history import History, read_history
from streamer.rollup.estimates import wilson
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Touchpoint
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.analysis.report import Report
    from streamer.definitions import Definitions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def asked(path: Path, made: Maker, *, end: float, currency: str | None = None, margin: float | None = None, horizon: int = 90) -> Report:
    made.add("clock", end, "page.viewed")
    _, log = made.opened(path)
    return value.analyse(log, currency=currency, margin=margin, discount=0.1, horizon_days=horizon)


def told(path: Path, made: Maker, **more: Any) -> dict[str, Any]:
    return asked(path, made, **more).result


def two_years(followed: int = 40) -> Maker:
    """Customer n begins with 10 (n + 1) and spends 10 more: half in the first moment of their second year, the others soon after the first.

    And ten who came with 1 too late to be followed for two years of the 730 days.
    """
    made = Maker()
    for n in range(followed):
        made.order(f"c{n:02}", 0, 10 * (n + 1))
        made.order(f"c{n:02}", 365 if n < followed // 2 else 7, 10)
    for n in range(10):
        made.order(f"late{n}", 400, 1)
    return made


def some(made: Maker, orders: int = 12) -> None:
    """Customers beside those whom a test is about, so that there are tenths."""
    for n in range(orders):
        made.order(f"some{n:02}", 1, 1000 + n)


def customer(result: dict[str, Any], key: str = "a") -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (one for one in result["customers"] if one["key"] == key)
    return found


def test_a_customer_is_what_he_ordered_and_when(path: Path) -> None:
    made = Maker()
    some(made)
    for at, amount in ((10, 30), (20, 60), (50, 90)):
        made.order("a", at, amount)
    result = told(path, made, end=110, margin=0.5)
    one = customer(result)
    assert (one["x"], one["t_x"], one["T"], one["recency_days"]) == (2, 40, 100, 60)
    assert (one["mean_spend"], one["value"], one["units"]) == (60, 90, None)
    assert one["orders_per_year"] == pytest.approx(2 * 365 / 100)
    assert one["decile"] == 10


def test_the_first_day_has_no_rate_and_units_are_those_of_lines(path: Path) -> None:
    made = Maker()
    some(made)
    made.order("a", 2, 10, lines=[{"category": "bike", "quantity": 2}, {"category": "lock"}])
    made.order("a", 3, 10)
    made.order("new", 9, 10)
    result = told(path, made, end=9)
    assert customer(result)["units"] == 3 + 1
    assert (customer(result, "new")["T"], customer(result, "new")["orders_per_year"]) == (0, None)


def test_what_was_cancelled_told_twice_or_in_another_currency_is_no_order(path: Path) -> None:
    made = Maker()
    some(made)
    made.order("a", 1, 10, order_id="kept")
    made.order("a", 2, 10, order_id="kept")
    made.order("a", 3, 50, order_id="gone")
    made.add("a", 4, "order.refunded", commerce={"order_id": "gone", "revenue": "20", "currency": "EUR"})
    made.add("a", 5, "order.cancelled", commerce={"order_id": "gone"})
    made.order("a", 6, 7000, currency="JPY")
    made.order("a", 7, 30, order_id="refunded")
    made.add("a", 8, "order.refunded", commerce={"order_id": "refunded"})
    made.order("nothing", 1, 5, order_id="x")
    made.add("nothing", 2, "order.cancelled", commerce={"order_id": "x"})
    result = told(path, made, end=10)
    assert (customer(result)["x"], customer(result)["value"], customer(result)["t_x"]) == (1, 10, 6)
    assert "nothing" not in [one["key"] for one in result["customers"]]
    assert "1 orders in other currencies" in " ".join(result["notes"])


def test_tenths_by_value(path: Path) -> None:
    result = told(path, two_years(), end=730, margin=0.5)
    top, *_, last = result["deciles"]
    assert [one["customers"] for one in result["deciles"]] == [5] * 10
    # Their revenue is 410, 400, 390, 380 and 370, of 8,610 in all.
    assert (top["lowest"], top["mean_spend"], top["orders_per_year"], top["recency_days"]) == (185, 195, 0.5, 723)
    assert top["margin_share"] == pytest.approx(1950 / 8610)
    assert (last["lowest"], last["mean_spend"], last["orders_per_year"], last["recency_days"]) == (0.5, 1, 0, 330)
    assert sum(one["margin_share"] for one in result["deciles"]) == pytest.approx(1)
    bound = result["threshold"]
    assert (bound["lifetime_value"], bound["customers"], bound["customer_share"]) == (185, 5, 0.1)


def test_recency_of_a_tenth_is_its_median(path: Path) -> None:
    made = Maker()
    for n in range(30):
        made.order(f"c{n:02}", (1, 2, 9)[n % 3], 100 - n)
    assert [one["recency_days"] for one in told(path, made, end=10)["deciles"]] == [8] * 10


def test_the_simple_prediction_is_of_those_followed_for_two_years(path: Path) -> None:
    one = told(path, two_years(), end=730, margin=0.5)["prediction"]
    # Who orders twice in the first weeks and never again has not stayed.
    assert (one["followed"], one["stayed"], one["r"]) == (40, 20, 0.5)
    assert (one["r_low"], one["r_high"]) == wilson(20, 40)
    m = 8600 * 0.5 / 60
    assert (one["active_years"], one["m"]) == (60, m)
    assert one["value"] == pytest.approx(m * 0.5 / (1 + 0.1 - 0.5))
    assert (one["low"], one["high"]) == tuple(pytest.approx(m * r / (1.1 - r)) for r in wilson(20, 40))


def test_who_orders_once_a_year_stays(path: Path) -> None:
    made = Maker()
    for n in range(40):
        for year in range(4):
            made.order(f"c{n}", 366 * year, 100)
    one = told(path, made, end=1460)["prediction"]
    assert (one["followed"], one["stayed"], one["m"]) == (40, 40, 100)


def test_a_year_that_is_not_over_makes_no_prediction(path: Path) -> None:
    assert told(path, two_years(), end=729.9)["prediction"] is None


def test_too_few_who_are_followed_make_no_prediction(path: Path) -> None:
    result = told(path, two_years(29), end=730)
    assert result["prediction"] is None
    assert "fewer than 30 customers have two years" in " ".join(result["notes"])


def comers(customers: int = 300) -> Maker:
    """They come and leave as the model tells, and spend about 10 + n each time."""
    random, made = Random(5), Maker()
    for n in range(customers):
        at, rate, leaving = random.uniform(0, 60), random.gammavariate(1, 1 / 30), random.betavariate(0.8, 2)
        while at < 300:
            made.order(f"c{n:03}", at, (10 + n) * random.uniform(0.5, 1.5))
            at += random.expovariate(rate)
            if random.random() < leaving:
                break
    return made


def test_what_is_to_come_is_forecast_by_customer(path: Path) -> None:
    result = told(path, comers(), end=300, margin=0.5)
    found, customers = result["forecast"], result["customers"]
    assert found["horizon_days"] == 90
    x, t_x, end = (np.array([one[name] for one in customers], dtype=np.float64) for name in ("x", "t_x", "T"))
    model = models.fit_bgnbd(x, t_x, end)
    assert model is not None
    assert (found["r"], found["alpha"], found["a"], found["b"]) == model.parameters
    assert list(found["standard_errors"].values()) == list(model.errors)
    assert [one["expected_orders"] for one in customers] == list(models.expected_orders(model, x, t_x, end, 90.0))
    assert [one["stays"] for one in customers] == list(models.chance_to_stay(model, x, t_x, end))
    assert found["expected_orders"] == pytest.approx(sum(one["expected_orders"] for one in customers))
    low, high = found["orders_interval"]
    half = 1.96 * found["expected_orders_error"]
    assert low < found["expected_orders"] - half < found["expected_orders"] + half < high, "chance is in it, too"
    spend = models.fit_gamma_gamma(x + 1, np.array([one["mean_spend"] for one in customers]))
    assert spend is not None
    assert found["gamma_gamma"] == pytest.approx(spend._asdict())
    means = models.expected_spend(spend, x + 1, np.array([one["mean_spend"] for one in customers]))
    assert [one["expected_margin"] for one in customers] == pytest.approx(
        [0.5 * one["expected_orders"] * mean for one, mean in zip(customers, means, strict=True)]
    )
    assert found["expected_margin"] == pytest.approx(sum(one["expected_margin"] for one in customers))


def test_without_enough_who_came_again_nothing_is_forecast_and_why_is_said(path: Path) -> None:
    made = Maker()
    some(made, 40)
    for n in range(29):
        made.order(f"some{n:02}", 5, 10)
    report = asked(path, made, end=100)
    assert report.result["forecast"] is None
    assert {one["expected_orders"] for one in report.result["customers"]} == {None}
    assert "No model of who orders again: 29 customers have ordered again, and who does can be told from 30 on." in report.notes
    assert "Who will order again, by BG/NBD" not in [table.title for table in report.tables]


def test_no_forecast_is_longer_than_the_history(path: Path) -> None:
    made = comers()
    made.order("first", 0, 10)
    assert told(path, made, end=300, horizon=300)["forecast"]["horizon_days"] == 300
    report = asked(path, made, end=300, horizon=301)
    assert report.result["forecast"] is None
    assert any("a forecast of 301 days needs as many of history, and the longest known has 300." in note for note in report.notes)


def test_a_parameter_that_the_orders_hardly_tell_is_named() -> None:
    model = models.BgNbd(0.2, 5.0, 0.8, 2.0, 0.0, np.diag([0.1, 0.9, 1.1, 4.0]))
    notes = buying.notes(buying.Forecast(90, [], model, None, 1.0, 1.0, (0.0, 2.0), None, ""))
    assert any(note.startswith("These orders hardly tell a, b:") for note in notes)


def test_where_everybody_spends_the_same_orders_are_forecast_and_no_margin(path: Path) -> None:
    made = comers()
    for event in made.events:
        event["commerce"]["revenue"] = "20.00"
    report = asked(path, made, end=300)
    found = report.result["forecast"]
    assert found["expected_orders"] > 0
    assert (found["gamma_gamma"], found["expected_margin"]) == (None, None)
    assert any("No model of spend" in note for note in report.notes)


def test_a_threshold_takes_all_who_are_worth_as_much_and_rounds_down(path: Path) -> None:
    made = Maker()
    for n in range(20):
        made.order(f"c{n:02}", 1, 100 if n < 5 else 10)
    bound = told(path, made, end=2, margin=0.12345)["threshold"]
    assert (bound["lifetime_value"], bound["customers"], bound["customer_share"]) == (12.34, 5, 0.25)
    assert bound["margin_share"] == pytest.approx(500 / 650)


def test_what_the_threshold_is_made_of_is_said(path: Path) -> None:
    made = two_years()
    assert "The margin is 100.0 % of revenue (margin_share of the definitions)." in asked(path, made, end=730).notes
    notes = " ".join(asked(path, made, end=730, margin=0.4).notes)
    assert "The margin is 40.0 % of revenue (--margin). The rules' margin_share is 1: set it to 0.4" in notes
    for n in range(12):
        made.order(f"us{n}", 5, 10, currency="USD")
    assert "is of orders in EUR: the threshold, in USD, does not fit" in " ".join(asked(path, made, end=730, currency="usd").notes)
    _, log = made.opened(path)
    without = log._replace(definitions=parse("revision = 1"))
    assert "Rules have no lifetime_value: [commerce] is off." in value.analyse(without, currency=None, margin=None, discount=0.1).notes


def test_too_little_is_refused_in_one_sentence(path: Path) -> None:
    made = Maker()
    made.add("a", 1, "page.viewed")
    with pytest.raises(InputError, match="has no order"):
        asked(path, made, end=2)
    some(made, 9)
    with pytest.raises(InputError, match="at least 10 customers with an order that stands, and this history has 9"):
        asked(path, made, end=2)
    made = Maker()
    for n in range(10):
        made.order(f"c{n}", 1, 0)
    with pytest.raises(InputError, match="come to nothing"):
        asked(path, made, end=2)


def signals(history: History, definitions: Definitions) -> dict[str, float]:
    """Each customer's lifetime_value after the last event, as the workers have it."""
    chapter = Fold(definitions).chapters["commerce"]
    kept: dict[str, Kept] = {}
    for event in history.events:
        touchpoint = decode(0, event.time_ms, event.key, event.value, ())
        assert isinstance(touchpoint, Touchpoint)
        assert event.key is not None
        if touchpoint.type.startswith("order."):
            chapter.apply(kept.setdefault(event.key.decode(), Kept()), touchpoint, State(), Aside(bytes(256)))
    return {key: float(chapter.signal(one, "lifetime_value")) for key, one in kept.items()}


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_lifetime_value_of_the_rules(path: Path, seed: int) -> None:
    random, made = Random(seed), Maker()
    for n in range(400):
        who, kind = f"c{random.randrange(20):02}", random.choice(["order.completed", "order.refunded"] * 4 + ["order.cancelled"])
        commerce: dict[str, Any] = {"order_id": f"{who}-{random.randrange(6)}"}
        if kind == "order.completed" or random.random() < 0.6:
            commerce["revenue"] = random.choice(["19.99", "0", "75.5", "300"])
            commerce["currency"] = "EUR" if kind == "order.completed" else random.choice(["", "EUR", "USD"])
        made.add(who, n / 100, kind, commerce=commerce)
    history, definitions = read_history(made.write(path)), parse("revision = 1\n[commerce]\nmargin_share = 0.3")
    found = value.analyse(opened(history, definitions), currency=None, margin=None, discount=0.1).result["customers"]
    live = signals(history, definitions)
    assert len(live) == 20
    assert dict.fromkeys(live, 0.0) | {one["key"]: one["value"] for one in found} == live
