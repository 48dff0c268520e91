"""How engaged teams are, beside what the customers say and spend whom they served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.analysis import engagement, trajectory
from streamer.analysis.history import Measure
from streamer.errors import InputError
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.analysis.report import Report

NPS = Measure("nps", "experience")
MONTHS = (0.1, 31, 60, 91, 121, 152)  # the beginnings of the months of 2024, in days
JANUARY = 2024 * 12


def served(scores: dict[str, list[list[int]]]) -> Maker:
    """By team, the answers of each month: one customer each, who spends less month by month if of `billing`."""
    made = Maker()
    for team, by_month in scores.items():
        for n in range(max(map(len, by_month))):
            for month, at in enumerate(MONTHS):
                made.order(f"{team}-{n}", at + 3, 100 - 15 * month if team == "billing" else 100 + 15 * month)
                made.add(f"{team}-{n}", at + 4, "contact.ended", actor={"team": team})
                if n < len(by_month[month]):
                    made.answer(f"{team}-{n}", at + 5, by_month[month][n])
    made.add("clock", 0, "page.viewed")
    made.add("clock", 183, "page.viewed")
    return made


def asked(path: Path, made: Maker, employees: dict[tuple[str, int], float]) -> Report:
    _, log = made.opened(path / "history.jsonl", "journeys")
    return trajectory.analyse(log, NPS, currency=None, employees=employees)


def team(report: Report, name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (one for one in report.result["teams"] if one["team"] == name)
    return found


def test_a_team_is_beside_the_customers_whom_it_served(tmp_path: Path) -> None:
    made = served({"billing": [[9, 9], [8], [7], [6], [5], [4]], "logistics": [[9]] * 6})
    employees = {("billing", JANUARY + month): 8.0 - month for month in range(6)}
    employees |= {("logistics", JANUARY): 7.0, ("logistics", JANUARY + 2): 7.5, ("logistics", JANUARY + 30): 1.0, ("nobody", JANUARY): 9.0}
    report = asked(tmp_path, made, employees)
    billing, logistics = team(report, "billing"), team(report, "logistics")
    assert [one["team"] for one in report.result["teams"]] == ["billing", "logistics"], "those first whose customers spend less"
    assert (billing["months"], billing["engagement"], billing["change"]) == (6, 5.5, pytest.approx(-1))
    assert (billing["customers"], billing["answers"], billing["score"]) == (2, 7, pytest.approx(48 / 7))
    assert billing["spend_change"] == pytest.approx(3 * -15 / 55)
    assert (logistics["months"], logistics["engagement"], logistics["change"]) == (2, 7.25, pytest.approx(0.25))
    assert (logistics["answers"], logistics["score"]) == (2, 9), "only of months with a score of the team"
    assert "Teams, those first" in report.tables[-1].title


def test_the_correlation_is_over_months_of_teams_with_enough_answers(tmp_path: Path) -> None:
    answers = [[score] * 5 for score in (2, 4, 5, 6, 8, 9)]
    made = served({"billing": answers, "logistics": [*answers[::-1][:5], [10] * 4]})
    employees = {
        (name, JANUARY + month): float(value) for name in ("billing", "logistics") for month, value in enumerate((1, 2, 3, 4, 5, 7))
    }
    report = asked(tmp_path, made, employees)
    x, y = [1, 2, 3, 4, 5, 7, 1, 2, 3, 4, 5], [2, 4, 5, 6, 8, 9, 9, 8, 6, 5, 4]
    assert report.result["engagement_months"] == 11, "one month has too few answers"
    rank = [[np.mean([sum(other < one for other in v) + 1, sum(other <= one for other in v)]) for one in v] for v in (x, y)]
    assert report.result["engagement_rho"] == pytest.approx(np.corrcoef(rank)[0, 1])
    employees = {at: score for at, score in employees.items() if at[1] < JANUARY + 4}
    report = asked(tmp_path, made, employees)
    assert (report.result["engagement_rho"], report.result["engagement_months"]) == (None, 8)
    assert any("8 months of teams have at least 5 answers, and it takes 10" in note for note in report.notes)


def test_teams_that_nobody_knows_are_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="teams of this history: billing, logistics"):
        asked(tmp_path, served({"billing": [[9]] * 6, "logistics": [[9]] * 6}), {("Billing", JANUARY): 7.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("team,month,score\nbilling,2024-13,7\n", r"teams\.csv:2: expected a month such as 2026-01"),
        ("team,month,score\nbilling,2024-12,7\nbilling,2024-12,8\n", r"teams\.csv:3: there is a score of billing in 2024-12 already"),
        ("team,month,score\nbilling,2024-12,good\n", r"teams\.csv:2: expected a number as score"),
        ("team,month,score\nbilling,2024-12,nan\n", r"teams\.csv:2: expected a number as score"),
        ("team,value\nbilling,7\n", r"teams\.csv:2: has no month and no score; expected team, month, score"),
        ("team,month,score\n", "has no scores"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "teams.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        engagement.read(tmp_path / "teams.csv")


def test_the_command_reads_csv_and_json_lines(tmp_path: Path) -> None:
    history = served({"billing": [[9]] * 6}).write(tmp_path / "history.jsonl")
    (tmp_path / "teams.csv").write_text("team,month,score\nbilling,2024-01,7\nbilling,2024-02,6.5\n")
    (tmp_path / "teams.jsonl").write_text(
        '{"team": "billing", "month": "2024-01", "score": 7}\n{"team":"billing","month":"2024-02","score":6.5}'
    )
    for name in ("teams.csv", "teams.jsonl"):
        arguments = ["analyze", "trajectory", str(history), "--employees", str(tmp_path / name), "--json"]
        told = CliRunner().invoke(cli.application("analyze"), arguments)
        assert told.exit_code == 0, told.output
        (one,) = json.loads(told.stdout)["teams"]
        assert (one["team"], one["months"], one["engagement"], one["change"]) == ("billing", 2, 6.75, pytest.approx(-0.5))
