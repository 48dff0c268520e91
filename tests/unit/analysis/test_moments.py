"""Where friction goes with another outcome: on histories with a known answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamer.analysis import moments
from streamer.analysis.history import Measure, opened
from streamer.definitions import parse
from streamer.errors import InputError
from streamer.replay.history import read_history
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.analysis.history import Log


NPS = Measure("nps", "experience")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


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


def of_checkout(log: Log, outcome: str, least: int) -> dict[str, Any]:
    """What is found of the touchpoint at which a checkout begins."""
    found = moments.analyse(log, outcome, scope="experience", days=10, least=least).result["moments"]
    (one,) = [one for one in found if one["touchpoint"] == "checkout.started"]
    answer: dict[str, Any] = one
    return answer


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
    start = of_checkout(log, "completion", least=11)
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
    one = of_checkout(log, "promoter", least=1)
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
