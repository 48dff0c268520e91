"""`streamer backtest` over a file: no server is needed or asked."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from streamer import cli
from streamer.analysis import backtest_picture
from streamer.backtest.firings import Span
from streamer.backtest.runs import Backtest
from streamer.backtest.samples import Samples
from streamer.definitions import parse
from streamer.errors import InputError
from streamer.replay.history import read_history
from streamer.replay.pipeline import Shape, arrivals_of, end_of, run_history
from tests import history_support

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from streamer.backtest.labels import Incident


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_KAFKA_BOOTSTRAP", "127.0.0.1:1")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return history_support.write(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application("backtest"), ["backtest", *arguments])


def told(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def changed(files: list[str], old: str, new: str) -> str:
    """Another version of the rules."""
    path = Path(files[0]).with_name("other.toml")
    assert old in history_support.RULES
    path.write_text(history_support.RULES.replace(old, new).replace("revision = 3", "revision = 4"))
    return str(path)


def test_the_report_is_what_it_was(files: list[str], tmp_path: Path) -> None:
    other = changed(files, "lower > 0.3", "lower > 0.2")
    arguments = [*files, "--labels", str(tmp_path / "labels.jsonl"), "--against", other]
    history_support.assert_golden("backtest.txt", run(*arguments).stdout)
    history_support.assert_golden("backtest.json", json.dumps(told(*arguments), indent=1) + "\n")


def test_the_same_input_gives_the_same_bytes_the_pictures_too(files: list[str], tmp_path: Path) -> None:
    def made(number: int) -> tuple[bytes, bytes]:
        page = tmp_path / f"{number}.html"
        return run(*files, "--alerts", "--json", "--picture", str(page)).stdout_bytes, page.read_bytes()

    first = made(1)
    assert first == made(2)
    assert b"data:image/png;base64,iVBORw0KGgo" in first[1]
    assert b"<h2>Would have fired</h2>" in first[1]
    assert b"checkout k-anna" in first[1]


def test_a_picture_is_a_png(files: list[str], tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    assert f"Picture: {picture}" in run(*files, "--labels", str(tmp_path / "labels.jsonl"), "--picture", str(picture)).stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000


def test_a_picture_has_the_series_that_fired_as_one_alert(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    draw_panel = backtest_picture._draw_panel

    def noted(axis: Axes, panel: backtest_picture._Panel, incidents: Sequence[Incident]) -> None:
        drawn.append((panel.rule.id, panel.about, len(panel.samples) > 10))
        draw_panel(axis, panel, incidents)

    monkeypatch.setattr(backtest_picture, "_draw_panel", noted)
    grouped = changed(
        files, "when = \"journey == 'checkout' and lower", 'group_by = ["journey"]\nwhen = "journey == \'checkout\' and lower'
    )
    assert run(grouped, files[1], "--picture", str(tmp_path / "p.png")).exit_code == 0
    assert drawn == [("many-leave", "journey=checkout platform=ios", True)]


def test_the_alerts_are_those_of_a_replay(files: list[str]) -> None:
    history, rules = read_history(Path(files[1])), parse(history_support.RULES)
    run_ = Backtest([rules], Shape(), observed=True)
    run_.fold_history(history, None, lambda done: None, close=True)
    replayed = run_history(arrivals_of(history), rules, begin_ms=history.begin_ms, end_ms=end_of(history.end_ms, rules)).alerts
    [version] = run_.versions(Span())
    assert {alert.alert_id: alert for alert in version.alerts} == {alert.alert_id: alert for alert in replayed}
    assert len(version.alerts) == len(replayed) == 6


def test_what_happened_before_the_range_is_known_and_not_reported(files: list[str]) -> None:
    whole, late = told(*files), told(*files, "--from", "2026-03-02T09:00:00Z")
    assert [row["rule"] for row in whole["firings"]] == ["left-after-friction", "switching", "many-leave"]
    assert late["firings"] == whole["firings"][2:]
    assert late["in_force_before"] == 2
    early = told(*files, "--to", "2026-03-02T09:00:00Z")
    assert [(row["rule"], row["end"]) for row in early["firings"]] == [("left-after-friction", None), ("switching", None)]
    assert sum(row["resolved"] for row in early["rules"]) == 0


def test_time_stops_with_the_last_event_unless_it_is_let_go_on(files: list[str]) -> None:
    assert [row["ended"] for row in told(*files)["firings"]] == [None, None, None]
    assert [row["ended"] for row in told(*files, "--close")["firings"]] == ["resolved", "resolved", "resolved"]
    until = told(*files, "--close", "--to", "2026-03-02T11:45:00Z")
    assert [row["ended"] for row in until["firings"]] == [None, None, "resolved"]
    assert told(*files, "--to", "2026-03-02T11:45:00Z")["firings"] == until["firings"]


def test_a_partner_that_began_before_the_range_is_one(files: list[str]) -> None:
    other = changed(files, "channel_switches >= 2", "channel_switches >= 1")
    [pair] = [row["moved"] for row in told(*files, "--against", other)["against"]["rules"] if row["rule"] == "switching"]
    assert len(pair) == 1
    between = told(*files, "--against", other, "--from", "2026-03-02T08:45:00Z")["against"]["rules"]
    assert [(row["moved"], row["only_here"]) for row in between if row["rule"] == "switching"] == [(pair, [])]


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_moment_later_than_any_event_is_one_sentence(files: list[str], option: str) -> None:
    result = run(*files, option, "9999-01-01T00:00:00Z")
    assert isinstance(result.exception, InputError)
    assert "is later than any event may be, which is 9000-01-01T00:00:00.000Z" in str(result.exception)


def test_deadlines_after_the_last_event_are_in_a_range_if_time_goes_on(files: list[str]) -> None:
    late = told(*files, "--close", "--from", "2026-03-02T14:00:00Z")
    assert (late["in_force_before"], sum(row["resolved"] for row in late["rules"])) == (2, 2)


def test_alerts_of_the_range_come_first_a_line_each(files: list[str]) -> None:
    lines = run(*files, "--alerts", "--json", "--from", "2026-03-02T08:40:00Z", "--to", "2026-03-02T10:00:00Z").stdout.splitlines()
    alerts = [json.loads(line) for line in lines[:-1]]
    assert [(alert["rule"]["id"], alert["state"]) for alert in alerts] == [("switching", "firing"), ("many-leave", "firing")]


def test_two_versions_are_compared_rule_by_rule(files: list[str]) -> None:
    other = changed(files, "channel_switches >= 2", "channel_switches >= 1")
    rows = {row["rule"]: row for row in told(*files, "--against", other)["against"]["rules"]}
    assert [(row["about"]["customer"], row["later_seconds"]) for row in rows["switching"]["moved"]] == [("carla", 1200)]
    assert (rows["many-leave"]["same"], rows["many-leave"]["moved"]) == (1, [])
    strict = changed(files, "channel_switches >= 2", "channel_switches >= 3")
    rows = {row["rule"]: row for row in told(*files, "--against", strict)["against"]["rules"]}
    assert len(rows["switching"]["only_here"]) == 1
    rows = {row["rule"]: row for row in told(strict, files[1], "--against", files[0])["against"]["rules"]}
    assert len(rows["switching"]["only_there"]) == 1


def test_labelled_outcomes_give_precision(files: list[str], tmp_path: Path) -> None:
    firings = told(*files)["firings"]
    saved = {"alert_id": firings[0]["alert_id"], "outcome": "saved"}
    wrong = {"episode_id": firings[1]["episode_id"], "outcome": "false-alarm"}
    (tmp_path / "outcomes.jsonl").write_text(f"{json.dumps(saved)}\n{json.dumps(wrong)}\n")
    report = told(*files, "--labels", str(tmp_path / "outcomes.jsonl"))
    shares = {row["rule"]: row["precision"]["share"] for row in report["rules"] if "precision" in row}
    assert shares == {"left-after-friction": 1.0, "switching": 0.0}
    assert report["outcomes"] == {"labelled": 2, "matched": 2}
    assert [row.get("outcome") for row in report["firings"]] == ["saved", "false-alarm", None]


def test_a_picture_that_cannot_be_written_or_drawn_is_one_sentence(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("absent.toml", "absent.jsonl", "--picture", "/nowhere/p.png")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith("--picture /nowhere/p.png: there is no directory /nowhere: ")
    for name in [name for name in sys.modules if name.startswith(("streamer.analysis", "matplotlib"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(*files, "--picture", "p.png")
    assert isinstance(result.exception, InputError)
    assert "pip install 'journey-streamer[analysis]'" in str(result.exception)


def test_many_samples_are_thinned_out_and_stay_in_order(files: list[str]) -> None:
    history, rules = read_history(Path(files[1])), parse(history_support.RULES)
    run_ = Backtest([rules], Shape(), observed=True)
    few = Samples(samples_max=40)
    run_._runs[0]._rollups[0].observe = lambda tick: few(run_._runs[0]._rollups[0].decisions, tick)
    run_.fold_history(history, None, lambda done: None)
    taken = few.of["many-leave", ("checkout", "ios")]
    assert few.step_ms > 10_000
    assert sum(map(len, few.of.values())) <= 40 + len(few.of)
    assert all(after.time_ms - before.time_ms >= 0 for before, after in pairwise(taken))
    assert max(sample.value for sample in taken) > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{rules}"], "name a history file after the rules, or say --topic"),
        (["{rules}", "{history}", "--topic"], "and not both"),
        (["{rules}", "--topic", "--mapping", "m.toml"], "--mapping is for files"),
        (["{rules}", "--topic", "--close"], "--close is for files"),
        (["{rules}", "{history}", "--from", "soon"], "--from 'soon'"),
        (["{rules}", "{history}", "--from", "2026-03-02T09:00:00Z", "--to", "2026-03-02T09:00:00Z"], "--from is not before --to"),
        (
            ["{rules}", "{history}", "--from", "2026-03-03T00:00:00Z"],
            "between --from and --to there is nothing: the log is from 2026-03-02T08:",
        ),
        (["{rules}", "{history}", "--close", "--to", "2026-03-02T08:00:00Z"], "between --from and --to there is nothing"),
        (["{rules}", "{history}", "--picture", "p.jpg"], "ends in .png or .html"),
        (["{rules}", "{history}", "--picture", "/"], "--picture / is a directory: name a file"),
        (["{rules}", "{history}", "--labels", "absent.jsonl"], "absent.jsonl: cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(files: list[str], arguments: list[str], message: str) -> None:
    result = run(*(argument.format(rules=files[0], history=files[1]) for argument in arguments))
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
