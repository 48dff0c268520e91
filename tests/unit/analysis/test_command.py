"""`streamer analyze` as it is typed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.errors import InputError
from tests.unit.analysis.made import world

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

COMMANDS = {
    "spend": [], "trajectory": [], "initiative": ["--id", "welcome-call", "--margin", "0.4"],
    "drivers": ["--measure", "contacts", "--measure", "transfers"], "alerts": [], "moments": [],
    "value": ["--margin", "0.4"], "steps": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(world(1, customers=30).write(tmp_path_factory.mktemp("analyze") / "world.jsonl"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application("analyze"), ["analyze", *arguments])


@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_is_a_table_json_and_a_picture(command: str, history: str, tmp_path: Path) -> None:
    picture = tmp_path / "plot.png"
    shown = run(command, history, *COMMANDS[command], "--plot", str(picture))
    assert shown.exit_code == 0, shown.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
    told = run(command, history, *COMMANDS[command], "--json")
    answer = json.loads(told.stdout)
    assert answer["headline"] in shown.stdout
    assert answer["notes"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_answers_and_how_it_ends(command: str) -> None:
    shown = run(command, "--help")
    assert shown.exit_code == 0
    assert "Exit code 0" in shown.output
    assert "--plot" in shown.output


def test_without_a_question_the_questions_are_listed() -> None:
    assert all(command in run("--help").output for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["spend", "missing.jsonl"], "missing.jsonl: cannot be read"),
        (["spend", "{history}", "--score", "ces"], r"no answers to CES \(experience\) in this file; it has --score nps"),
        (["initiative", "{history}", "--id", "x", "--margin", "0.4"], "there is welcome-call"),
        (["spend", "missing.jsonl", "--plot", "plot.gif"], r"--plot plot.gif: give it a name that ends in .png, .svg or .pdf"),
        (["spend", "missing.jsonl", "--plot", "."], r"--plot . is a directory: name a file"),
        (["spend", "missing.jsonl", "--plot", "/nowhere/plot.png"], "--plot /nowhere/plot.png: there is no directory /nowhere"),
        (["drivers", "{history}", "--measure", "weather"], "known are contacts"),
        (["value", "{history}", "--currency", "usd"], "no orders in USD; there are EUR"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(arguments: list[str], message: str, history: str) -> None:
    result = run(*(argument.format(history=history) for argument in arguments))
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 2
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert "\n" not in str(result.exception)


def test_without_the_extra_it_says_what_to_install(history: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("streamer.analysis", "matplotlib"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("spend", history)
    assert isinstance(result.exception, InputError)
    assert "pip install 'journey-streamer[analysis]'" in str(result.exception)
