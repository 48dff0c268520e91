"""How long instances stay on their steps, and the stall_after that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamer.analysis import stays
from streamer.analysis.history import opened
from streamer.definitions import parse
from streamer.durations import written
from streamer.errors import InputError
from streamer.replay.history import read_history
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.analysis.report import Report

DEFINITIONS = """
revision = 1
[steps]
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
activity = ["checkout.*"]
identified_by = ["checkout_id"]
deadline = "3h"
stall_after = "10m"
[[journey]]
id = "case"
start = ["case.opened"]
complete = ["case.resolved"]
identified_by = ["case_id"]
deadline = "9d"
stall_after = "2d"
"""


def asked(path: Path, made: Maker) -> Report:
    history = read_history(made.write(path / "history.jsonl"))
    return stays.analyse(opened(history, parse(DEFINITIONS), "journeys"))


def checkout(made: Maker, n: int, address_s: float, payment_s: float | None) -> None:
    of = {"commerce": {"checkout_id": f"k-{n}"}}
    at = n / 10
    made.add(f"c{n}", at, "checkout.started", step="address", **of)
    made.add(f"c{n}", at + address_s / 86_400, "checkout.step_viewed", step="payment", **of)
    if payment_s is not None:
        made.add(f"c{n}", at + (address_s + payment_s) / 86_400, "order.completed", **of)


def test_the_slowest_steps_p95_is_proposed_where_it_is_above_what_is_set(tmp_path: Path) -> None:
    made, address, payment = Maker(), list(range(1, 121)), [10 * n for n in range(1, 121)]
    for n in range(120):
        checkout(made, n, address[n], payment[n])
    checkout(made, 200, 60, None)  # still there, or gone: no stay that has ended
    for n in range(100):
        made.add(f"j{n}", n / 10, "case.opened", step="asked", issue={"case_id": f"j-{n}"})
        made.add(f"j{n}", n / 10 + 1, "case.resolved", issue={"case_id": f"j-{n}"})
    report = asked(tmp_path, made)
    found = {(one["journey"], one["step"]): one for one in report.result["steps"]}
    one = found["checkout", "payment"]
    assert [one[name] for name in ("median", "p90", "p95")] == pytest.approx(np.quantile(payment, [0.5, 0.9, 0.95]), abs=2e-3)
    assert (one["stays"], one["longer"], one["judged"]) == (120, 0.5, True)
    assert found["checkout", "address"]["stays"] == 121
    raised, kept = report.result["proposals"]
    assert (raised["journey"], raised["step"], raised["now"], raised["proposed"]) == ("checkout", "payment", "10m", "20m")
    assert (kept["journey"], kept["now"], kept["proposed"], kept["raised"]) == ("case", "2d", "2d", False)
    assert report.headline == 'checkout: stall_after = "20m"'


def test_of_few_stays_there_is_no_p95(tmp_path: Path) -> None:
    made = Maker()
    for n in range(99):
        checkout(made, n, 10, 4_000)
    report = asked(tmp_path, made)
    assert [one["judged"] for one in report.result["steps"]] == [False, False]
    assert report.result["proposals"] == []
    assert report.headline == "No step has 100 stays, which a P95 takes"
    assert {row[4] for row in report.tables[0].rows} == {"-"}


def test_a_history_without_steps_is_refused(tmp_path: Path) -> None:
    made = Maker()
    made.add("a", 1, "checkout.started")
    with pytest.raises(InputError, match="no instance has left a step"):
        asked(tmp_path, made)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(1, "10s"), (10_000, "10s"), (10_001, "20s"), (119_999, "2m"), (120_001, "3m"), (7_200_001, "3h"), (172_800_001, "3d")],
)
def test_a_proposal_is_rounded_up_to_what_a_person_would_write(ms: float, text: str) -> None:
    assert written(stays.rounded_up(ms)) == text
