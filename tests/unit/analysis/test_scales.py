"""Which answers count, and in which band: as the chapter `surveys` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.analysis import spend, trajectory
from streamer.analysis.history import Measure, opened
from streamer.definitions import parse
from streamer.replay.history import read_history
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path


def answered(path: Path, surveys: list[dict[str, Any]], definitions: str = "revision = 1") -> tuple[list[tuple[Any, ...]], list[str]]:
    """(band, score) of the answers that count, and the note of those that do not."""
    made = Maker()
    for n, survey in enumerate(surveys):
        made.add(f"c{n:03}", n, "survey.responded", survey=survey)
    log = opened(read_history(made.write(path / "history.jsonl")), parse(definitions))
    measure = Measure(surveys[0]["instrument"], "experience")
    return log.rows("SELECT band, score::DOUBLE FROM answers ORDER BY key"), log.off_scale(measure)


def test_nps_is_of_whole_points_on_its_scale(tmp_path: Path) -> None:
    surveys = [{"instrument": "nps", "score": score} for score in (0, 6, 7, 8, 9, 10, 11, -1, 7.5)]
    surveys.append({"instrument": "nps", "score": 3, "scale_min": 1, "scale_max": 5})
    found, notes = answered(tmp_path, surveys)
    assert found == [(0, 0), (0, 6), (1, 7), (1, 8), (2, 9), (2, 10)]
    assert notes == ["4 answers to NPS (experience) left out: off the scale, which is whole points of 0-10."]


def test_ces_is_of_version_2_only(tmp_path: Path) -> None:
    surveys: list[dict[str, Any]] = [{"instrument": "ces", "ces_version": "2.0", "score": score} for score in (1, 3, 4, 5, 7, 8)]
    surveys += [{"instrument": "ces", "score": 2}, {"instrument": "ces", "ces_version": "1.0", "score": 2}]
    found, notes = answered(tmp_path, surveys)
    assert found == [(0, 1), (0, 3), (1, 4), (2, 5), (2, 7)]
    assert notes[0].startswith("3 answers to CES (experience) left out")


def test_csat_on_another_scale_is_stretched(tmp_path: Path) -> None:
    surveys = [{"instrument": "csat", "score": score} for score in (1, 2, 3, 4, 5)]
    surveys += [{"instrument": "csat", "score": score, "scale_min": 0, "scale_max": 100} for score in (2, 25, 26, 74, 75, 101)]
    found, notes = answered(tmp_path, surveys)
    assert [band for band, _ in found] == [0, 0, 1, 2, 2, 0, 0, 1, 1, 2]
    assert [score for _, score in found] == pytest.approx([1, 2, 3, 4, 5, 1.08, 2, 2.04, 3.96, 4])
    assert len(notes) == 1


def test_satisfied_is_what_the_definitions_call_so(tmp_path: Path) -> None:
    surveys = [{"instrument": "csat", "score": score, "scale_min": 0, "scale_max": 10} for score in (2, 4, 7, 8)]
    found, _ = answered(tmp_path, surveys, "revision = 1\n[surveys]\nsatisfied_share = 0.8")
    assert [band for band, _ in found] == [0, 1, 1, 2]


def test_bands_of_spend_are_by_the_scale(tmp_path: Path) -> None:
    made = Maker()
    for n in range(60):
        score = (2, 3, 90)[n % 3]
        made.add(f"c{n}", 5, "survey.responded", survey={"instrument": "csat", "score": score, "scale_min": 0, "scale_max": 100})
        made.order(f"c{n}", 6, 10 * score)
    made.add("clock", 200, "page.viewed")
    _, log = made.opened(tmp_path / "history.jsonl")
    (told,) = spend.analyse(log, Measure("csat", "experience"), currency=None, days=(90,), seed=1).result["spans"]
    assert [(band["customers"], band["mean"]) for band in told["bands"]] == [(40, 25), (0, None), (20, 900)]


def test_a_low_score_of_a_trajectory_is_by_the_scale(tmp_path: Path) -> None:
    made = Maker()
    for customer, score in (("low", 1), ("middle", 2)):
        for month, at in enumerate((1, 32, 61, 92, 122)):
            made.order(customer, at, 100 - 20 * month)
        made.add(customer, 100, "survey.responded", survey={"instrument": "csat", "score": score, "scale_min": 1, "scale_max": 3})
    made.add("clock", 0, "page.viewed")
    made.add("clock", 155, "page.viewed")
    _, log = made.opened(tmp_path / "history.jsonl", "journeys")
    told = trajectory.analyse(log, Measure("csat", "experience"), currency=None).result
    assert [one["key"] for one in told["silent_decliners"]] == ["low"]
