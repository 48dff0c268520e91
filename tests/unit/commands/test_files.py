"""What the commands over a history file have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.definitions import default
from streamer.errors import DefinitionsError, InputError
from tests import history_support

if TYPE_CHECKING:
    from typer.testing import Result

# Before and after the file's name.
COMMANDS = {
    "replay": (["replay"], []),
    "verify": (["verify"], ["--metric", "touchpoints"]),
    "explain": (["explain", "anna"], []),
    "analyze": (["analyze", "steps"], []),
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application(arguments[0]), arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_definitions_are_those_of_the_setting_unless_the_option_names_others(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, history = history_support.write(tmp_path)
    before, after = COMMANDS[command]
    monkeypatch.setenv("STREAMER_DEFINITIONS", str(tmp_path / "absent.toml"))
    refused = run(*before, history, *after).exception
    assert isinstance(refused, DefinitionsError)
    assert str(refused) == f"{tmp_path / 'absent.toml'}: the definitions file cannot be read: No such file or directory"
    assert not isinstance(run(*before, history, *after, "--definitions", rules).exception, DefinitionsError)


def test_without_the_option_a_replay_is_under_the_revision_that_the_setting_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, history = history_support.write(tmp_path)
    monkeypatch.delenv("STREAMER_DEFINITIONS", raising=False)
    assert json.loads(run("replay", history, "--json").stdout)["definitions"]["revision"] == default().revision
    monkeypatch.setenv("STREAMER_DEFINITIONS", rules)
    assert json.loads(run("replay", history, "--json").stdout)["definitions"]["revision"] == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_is_called_one(command: str, tmp_path: Path) -> None:
    before, after = COMMANDS[command]
    refused = run(*before, str(tmp_path), *after).exception
    assert isinstance(refused, InputError)
    assert str(refused) == f"{tmp_path} is a directory: name a file"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_dash_is_standard_input(command: str, tmp_path: Path) -> None:
    rules, history = history_support.write(tmp_path)
    before, after = COMMANDS[command]
    options = [*after, "--definitions", rules]
    piped = CliRunner().invoke(cli.application(before[0]), [*before, "-", *options], input=Path(history).read_bytes())
    of_file = run(*before, history, *options)
    assert piped.output == of_file.output.replace("history.jsonl", "-")
    assert str(piped.exception) == str(of_file.exception)


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["backtest", "a rules", "a jsonl", "--json"], 0),
        (["backtest", "a rules", "a jsonl", "--json", "--picture", "a png"], 0),
        (["explain", "anna", "a jsonl", "--json"], 0),
        (["rules", "check", "a rules", "--json"], 0),
        (["rules", "test", "a tests", "--json"], 0),
        (["rules", "status", "--definitions", "a rules", "--json"], 1),
        (["rules", "status", "--definitions", "a absent", "--json"], 1),
    ],
)
def test_a_name_that_is_not_utf_8_is_told_with_escapes(
    arguments: list[str], exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, history = map(Path, history_support.write(tmp_path))
    tests = "definitions = 'rules.toml'\n[[test]]\nname = 'none'\nevents = ['10:00:00 c-1 contact.started']\nnone = ['many-leave']\n"
    names = {f"a {name}": tmp_path / f"c-\udcff.{name}" for name in ("rules", "jsonl", "tests", "png", "absent")}
    names["a rules"].write_bytes(rules.read_bytes())
    names["a jsonl"].write_bytes(history.read_bytes())
    names["a tests"].write_text(tests)
    monkeypatch.setenv("STREAMER_METRICS_PORT", "0")
    result = run(*(str(names.get(argument, argument)) for argument in arguments))
    assert result.exit_code == exit_code, result.exception
    assert r"c-\\udcff" in result.stdout
    assert isinstance(json.loads(result.stdout), dict)


def test_what_has_to_be_read_twice_is_no_standard_input(tmp_path: Path) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        'source = "/crm"\ntime = { column = "at" }\ncase = "case"\n[[touchpoint]]\ntype = "case.opened"\nfirst_of_case = true\n'
        'fields = { customer_id = "{who}", channel = "other" }\n'
    )
    error = CliRunner().invoke(cli.application("replay"), ["replay", "-", "--mapping", str(mapping)], input="{}").exception
    assert isinstance(error, InputError)
    assert "write it to a file first" in str(error)
