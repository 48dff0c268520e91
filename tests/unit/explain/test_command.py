"""`streamer explain` over a file: what fired and what did not, in text and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streamer import cli
from streamer.errors import InputError
from tests import history_support

AT = ("--at", "2026-03-02T09:40:00Z")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_KAFKA_BOOTSTRAP", "127.0.0.1:1")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rules, history = history_support.write(tmp_path)
    return [history, "--definitions", rules]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application("explain"), ["explain", *arguments])


def told(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def alerts(files: list[str]) -> dict[str, dict[str, Any]]:
    """By rule, what fires, as a backtest has it."""
    result = CliRunner().invoke(cli.application("backtest"), ["backtest", files[2], files[0], "--json"])
    return {row["rule"]: row for row in json.loads(result.stdout)["firings"]}


@pytest.mark.parametrize("what", ["anna", "ben", "bill", "many-leave"])
def test_the_explanation_is_what_it_was(what: str, files: list[str]) -> None:
    history_support.assert_golden(f"explain-{what}.txt", run(what, *files, *AT).stdout)
    history_support.assert_golden(f"explain-{what}.json", json.dumps(told(what, *files, *AT), indent=1) + "\n")


def test_a_rule_that_is_off_is_looked_at_by_nobody(files: list[str]) -> None:
    path = Path(files[2])
    text = path.read_text()
    path.write_text(
        text.replace('id = "heavy-effort"', 'id = "heavy-effort"\nmode = "off"').replace(
            'id = "many-leave"', 'id = "many-leave"\nmode = "off"'
        )
    )
    assert "heavy-effort" not in [row["rule"] for row in told("ben", *files)["rules"]]
    assert "'many-leave' is off: nothing looks at it" in str(run("many-leave", *files).exception)


def test_who_got_no_alert_is_told_which_condition_failed(files: list[str]) -> None:
    rules = {row["rule"]: row for row in told("ben", *files)["rules"]}
    assert rules["left-after-friction"]["status"] == "ended"
    failing = [condition["text"] for condition in rules["left-after-friction"]["conditions"] if not condition["holds"]]
    assert failing == ["abandoned"]
    assert rules["heavy-effort"]["counterfactual"] == "It would have fired with `contacts` at 4 or more (it was 0)."


@pytest.mark.parametrize("id_", ["alert_id", "episode_id", "fingerprint"])
def test_an_alert_is_explained_by_any_of_its_ids_as_of_its_time(id_: str, files: list[str]) -> None:
    fired = alerts(files)["switching"]
    found = told(fired[id_], *files)
    assert (found["kind"], found["customer"], found["at"]) == ("alert", "carla", fired["time"])
    happened = [row["offset"] for row in found["timeline"] if row["kind"] == "event"]
    assert [event["offset"] for event in found["alert"]["evidence"]] == happened
    assert [(row["rule"], row["status"]) for row in found["rules"]] == [("switching", "firing")]
    assert found["timeline"][-1]["alert_id"] == fired["alert_id"]
    assert "evidence 2026-03-02T08:50:00.000Z contact.started" in run(fired[id_], *files).stdout


@pytest.mark.parametrize(("rule", "events"), [("many-leave", 9), ("heavy-effort", 3)])
def test_the_explanation_has_the_events_that_the_record_had_no_room_for(rule: str, events: int, files: list[str]) -> None:
    rules = Path(files[2])
    text = rules.read_text().replace("contacts >= 4", "contacts >= 3")
    rules.write_text(f"{text}\n[limits]\nevidence_per_alert = 2\n")
    fired = alerts(files)[rule]
    evidence = told(fired["alert_id"], *files)["alert"]["evidence"]
    assert len({event["event_id"] for event in evidence}) == len(evidence) == events


def test_the_alert_of_a_group_is_explained_by_the_series_in_it(files: list[str]) -> None:
    rules = Path(files[2])
    rules.write_text(
        rules.read_text().replace('by = ["journey", "platform"]\nwindows', 'by = ["journey", "platform"]\ngroup_by = ["journey"]\nwindows')
    )
    fired = alerts(files)["many-leave"]
    assert fired["about"] == {"journey": "checkout"}
    found = told(f"alert:{fired['alert_id']}", *files)
    assert {"journey": "checkout", "platform": "ios"} in [one["series"] for one in found["series"] if one["status"] == "firing"]
    assert {one["series"]["journey"] for one in found["series"]} == {"checkout"}
    assert fired["alert_id"] in [row["alert_id"] for row in found["told"]]


def test_an_aggregate_alert_is_explained_by_its_windows(files: list[str]) -> None:
    fired = alerts(files)["many-leave"]
    found = told(f"alert:{fired['alert_id']}", *files)
    [series] = found["series"]
    assert (series["series"], series["status"], series["since"]) == ({"journey": "checkout", "platform": "ios"}, "firing", fired["time"])
    [window] = series["windows"]
    assert (window["outcome"], window["n"], window["value"]) == ("holds", 17, pytest.approx(9 / 17))
    assert {condition["text"]: condition["holds"] for condition in window["conditions"]} == {
        "n >= 8": True, "lower > 0.3": True, "journey == 'checkout'": True,
    }  # fmt: skip
    assert series["counterfactual"].startswith("It would not have fired with `lower` over 1h at 0.3 or less")
    assert [row["alert_id"] for row in found["told"]] == [fired["alert_id"]]
    assert [moment["status"] for moment in series["moments"]][-1] == "firing"


def test_of_a_rule_every_series_is_told_and_those_that_fire_come_first(files: list[str]) -> None:
    found = told("many-leave", *files, "--at", "2026-03-02T10:00:00Z")
    assert [(row["series"]["platform"], row["status"]) for row in found["series"]] == [
        ("ios", "firing"), ("android", "insufficient"), ("web", "insufficient"),
    ]  # fmt: skip


def test_duplicates_late_events_and_dead_letters_are_in_the_timeline(files: list[str]) -> None:
    path = Path(files[0])
    again = history_support.event(5, "anna", "checkout.started")
    path.write_text(path.read_text() + json.dumps(again) + "\n" + json.dumps({**again, "id": "x", "channel": None}) + "\n")
    rows = [row for row in told("anna", *files)["timeline"] if row["kind"] == "event"]
    assert [row["outcome"] for row in rows] == ["applied", "duplicate", "dead_lettered: missing_field", "applied"]
    shown = run("anna", *files).stdout
    assert "[duplicate]" in shown
    assert "[dead_lettered: missing_field]" in shown


def test_ids_cannot_write_to_the_terminal(files: list[str]) -> None:
    path = Path(files[0])
    evil = history_support.event(6, "mallory", "checkout.started", commerce={"checkout_id": "k\x1b[2Jx\ny"})
    path.write_text(path.read_text() + json.dumps(evil) + "\n")
    shown = run("mallory", *files, *AT).stdout
    assert "\x1b" not in shown
    assert "journey:checkout:k" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "{history}"], "nothing in this log is called 'nobody' (looked for: customer, journey), and no rule"),
        (
            ["many-leaves", "{history}", "--definitions", "{rules}"],
            '(looked for: customer, journey), and no rule: did you mean "many-leave"?',
        ),
        (
            ["rule:many-leaves", "{history}", "--definitions", "{rules}"],
            "no rule 'many-leaves': did you mean \"many-leave\", or name those",
        ),
        (["", "{history}"], "name what is to be explained: a customer"),
        ([" ", "{history}"], "name what is to be explained: a customer"),
        (["alert:0123456789abcdef", "{history}"], "nothing in this log is called '0123456789abcdef'"),
        (["anna"], "name a history file after what is to be explained"),
        (["anna", "{history}", "--topic"], "and not both"),
        (["anna", "{history}", "--at", "soon"], "--at 'soon'"),
        (["switching", "{history}", "--definitions", "{rules}"], "is about single customers"),
        (["rule:absent", "{history}", "--definitions", "{rules}"], "the definitions have no rule 'absent'"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(files: list[str], arguments: list[str], message: str) -> None:
    result = run(*(argument.format(history=files[0], rules=files[2]) for argument in arguments))
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
