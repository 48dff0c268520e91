from __future__ import annotations

import pytest
from rich.table import Table

from streamer.commands.console import console


@pytest.mark.parametrize("value", ["[/address]", "/browse/[id]", "[bold]", ":cat:", r"\[x]"])
def test_what_comes_from_outside_is_printed_as_it_is(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(value, title=f"title {value}")
    table.add_row(f"cell {value}")
    output = console()
    output.print(table)
    output.print(f"line {value}")
    printed = capsys.readouterr().out
    assert all(f"{place} {value}" in printed for place in ("title", "cell", "line"))
