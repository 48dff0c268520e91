"""docs/how-to/write-rules.md says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from streamer import cli
from streamer.definitions import parse
from streamer.metrics.catalogue import SIGNALS
from streamer.rules.language import AGGREGATE_NAMES, ENTITY_NAMES

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "write-rules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def names_in(row: str) -> set[str]:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {row} |")]
    return set(re.findall(r"`(\w+)`", line.partition("| ")[2].partition("| ")[2])) - {"by"}


def test_it_lists_every_name_that_a_rule_can_use_and_no_other() -> None:
    signals = {name for names in SIGNALS.values() for name in names}
    assert names_in("with `metric`") == AGGREGATE_NAMES
    for kind in ("journey", "issue"):
        assert names_in(f'`on = "{kind}"`') == ENTITY_NAMES[kind]
    assert names_in('`on = "customer"`') | signals | {"pattern_*"} == ENTITY_NAMES["customer"]


def test_it_explains_every_signal_of_a_chapter() -> None:
    told = [re.split(r"\s*\|\s*", line)[1:4] for line in PAGE.splitlines() if re.match(r"\| `\w+` \| `\w+` \|", line)]
    assert told == [[f"`{chapter}`", f"`{name}`", text] for chapter, names in SIGNALS.items() for name, text in names.items()]


def test_its_file_is_right_and_its_tests_pass(tmp_path: Path) -> None:
    rules, tests = (next(block for block in BLOCKS if key in block) for key in ("revision = 1", "[[test]]"))
    parse(rules)
    (tmp_path / "rules.toml").write_text(rules)
    (tmp_path / "t.toml").write_text(tests)
    checked = CliRunner().invoke(cli.application("rules"), ["rules", "check", str(tmp_path / "rules.toml")])
    assert checked.exit_code == 0
    assert "warning" not in checked.stdout
    done = CliRunner().invoke(cli.application("rules"), ["rules", "test", str(tmp_path / "t.toml")])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "2 tests, 0 failed")
