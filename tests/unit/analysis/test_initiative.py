"""What an initiative has returned: on histories with a known answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import scipy.stats  # type: ignore[import-untyped]

from streamer.analysis import initiative
from streamer.analysis.history import Measure
from streamer.errors import InputError
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.analysis.report import Report

NPS = Measure("nps", "experience")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


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


@pytest.mark.filterwarnings("error")
def test_an_arm_in_which_all_change_by_the_same_has_an_interval(path: Path) -> None:
    low, high = changed(path, {"treated": [30.0, 31.0], "control": [10.0, 10.0]}).result["effect_interval"]
    assert low < 20.5 < high


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
