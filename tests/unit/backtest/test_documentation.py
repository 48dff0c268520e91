"""docs/how-to/try-rules.md says what the program prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from streamer import cli
from streamer.definitions import default_text

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[3] / "docs/how-to/try-rules.md").read_text(encoding="utf-8")
# As the page says of its rules, in the words of the default ones.
OTHERWISE = {
    'by = ["journey"]': 'by = ["journey", "platform"]',
    '"5m", "1h"': '"1h"',
    "lower > 0.5": "lower > 0.3",
    "min_n = 30": "min_n = 20",
}


def rules() -> str:
    before, named, after = default_text().partition('id = "checkout-abandonment"')
    rule, end, others = after.partition("[[rule]]")
    for old, new in OTHERWISE.items():
        assert old in rule
        rule = rule.replace(old, new)
    return before + named + rule + end + others


def test_its_commands_print_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(rules())
    found = re.search(r"```console\n\$ streamer (.*)\n\$ streamer (.*)\n((?:.*\n)*?)```", PAGE)
    assert found is not None
    simulate, backtest = found[1].split(), found[2].partition(" --picture")[0].split()
    assert CliRunner().invoke(cli.application("simulate"), simulate).exit_code == 0
    printed = [line.rstrip() for line in CliRunner().invoke(cli.application("backtest"), backtest).stdout.splitlines()]
    shown = [line for line in found[3].splitlines() if line.strip() != "..."]
    assert [line for line in printed if line in shown] == shown
