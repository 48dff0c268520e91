"""What goes with a score: on histories with a known answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamer.analysis import drivers
from streamer.analysis.history import Measure
from streamer.analysis.statistics import permuted_weights
from streamer.errors import InputError
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path


NPS = Measure("nps", "experience")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


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
