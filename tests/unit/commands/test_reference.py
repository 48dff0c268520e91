"""The reference pages say what the program says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main
from typer.testing import CliRunner

from streamer import cli, errors
from streamer.engine.exits import Exit
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).parents[3] / "docs/reference"
# It prints nothing but log entries.
WITHOUT_JSON = {"worker"}


def commands() -> Iterator[tuple[str, Any]]:
    """(path of words, command) of everything a user can call."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for word, child in children.items():
            if not child.hidden:
                yield from walk(f"{name} {word}".strip(), child)

    yield from walk("", typer.main.get_command(cli.application()))


def test_the_settings_page_is_what_the_settings_generate() -> None:
    printed = CliRunner().invoke(cli.application("config"), ["config", "reference"])
    assert printed.exit_code == 0
    assert (REFERENCE / "settings.md").read_text() == printed.stdout, "run: streamer config reference > docs/reference/settings.md"


def test_the_settings_page_names_every_setting_and_no_other() -> None:
    assert re.findall(r"^\| `(\w+)` \|", (REFERENCE / "settings.md").read_text(), re.MULTILINE) == list(Settings.model_fields)


def test_the_commands_page_lists_every_command_and_no_other() -> None:
    listed = set(re.findall(r"^\| `streamer ([a-z -]+)` \|", (REFERENCE / "commands.md").read_text(), re.MULTILINE))
    assert listed == {path for path, _ in commands()}


def test_the_commands_page_lists_every_exit_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (REFERENCE / "commands.md").read_text(), re.MULTILINE)}
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.StreamerError)]
    assert listed == {0, 130, cli.PIPE_CLOSED, cli.OUTPUT_LOST} | {kind.exit_code for kind in kinds} | {int(code) for code in Exit}


def test_every_command_can_answer_in_json() -> None:
    without = {path for path, command in commands() if not any("--json" in option.opts for option in command.params)}
    # A schema is JSON already.
    assert {path for path in without if not path.endswith((" schema", " asyncapi"))} <= WITHOUT_JSON


def test_every_command_says_what_it_does() -> None:
    assert [path for path, command in commands() if not command.help] == []


def test_a_command_loads_only_its_own_module_and_the_program_all() -> None:
    names = {word for words in cli.COMMANDS.values() for word in words}
    only = typer.main.get_command(cli.application("healthcheck"))
    assert set(getattr(only, "commands", {})) == {"healthcheck", "doctor"}
    everything = typer.main.get_command(cli.application())
    assert set(getattr(everything, "commands", {})) <= names
