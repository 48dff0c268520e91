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


def test_what_has_to_be_read_twice_is_no_standard_input(tmp_path: Path) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        'source = "/crm"\ntime = { column = "at" }\ncase = "case"\n[[touchpoint]]\ntype = "case.opened"\nfirst_of_case = true\n'
        'fields = { customer_id = "{who}", channel = "other" }\n'
    )
    error = CliRunner().invoke(cli.application("replay"), ["replay", "-", "--mapping", str(mapping)], input="{}").exception
    assert isinstance(error, InputError)
    assert "write it to a file first" in str(error)
