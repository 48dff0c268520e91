from __future__ import annotations

import pytest
from rich.table import Table
from typer.testing import CliRunner

from streamer import cli
from streamer.commands.console import console
from streamer.errors import InputError


@pytest.mark.parametrize("value", ["[/address]", "/browse/[id]", "[bold]", ":cat:", r"\[x]"])
def test_what_comes_from_outside_is_printed_as_it_is(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(value, title=f"title {value}")
    table.add_row(f"cell {value}")
    output = console()
    output.print(table)
    output.print(f"line {value}")
    printed = capsys.readouterr().out
    assert all(f"{place} {value}" in printed for place in ("title", "cell", "line"))


@pytest.mark.parametrize(
    "command",
    [
        ["state", "get", "c-\udcff"],
        ["explain", "c-\udcff", "--topic"],
        ["alerts", "ack", "c-\udcff", "--by", "ann"],
        ["analyze", "initiative", "h.jsonl", "--id", "c-\udcff", "--margin", "0.4"],
        ["alerts", "ack", "id", "--by", "c-\udcff"],
        ["alerts", "ack", "id", "--by", "ann", "--note", "c-\udcff"],
    ],
    ids=" ".join,
)
def test_an_id_that_is_not_utf_8_is_one_sentence(command: list[str]) -> None:
    error = CliRunner().invoke(cli.application(command[0]), command).exception
    assert isinstance(error, InputError)
    assert str(error).startswith(r"'c-\udcff' is no text in UTF-8")
