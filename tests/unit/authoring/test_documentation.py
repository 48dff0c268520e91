"""docs/how-to/write-rules.md, and what other pages say to write into a definitions file, say what the program does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from streamer import cli
from streamer.definitions import default_text, parse
from streamer.metrics.catalogue import SIGNALS
from streamer.metrics.counters import Counter
from streamer.replay.pipeline import Arrival, run_history
from streamer.rules.language import AGGREGATE_NAMES, ENTITY_NAMES

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "write-rules.md").read_text(encoding="utf-8")
COMMERCE = (Path(__file__).parents[3] / "docs" / "reference" / "chapters" / "commerce.md").read_text(encoding="utf-8")
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


def test_carts_and_deals_can_be_journeys(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", COMMERCE, re.DOTALL)
    text = default_text().replace("revision = ", "revision = 1", 1) + block
    (tmp_path / "rules.toml").write_text(text)
    checked = CliRunner().invoke(cli.application("rules"), ["rules", "check", str(tmp_path / "rules.toml")])
    assert (checked.exit_code, "warning" in checked.stdout) == (0, False)
    sent: list[tuple[int, str, dict[str, Any]]] = [
        (0, "cart.item_added", {"commerce": {"cart_id": "k1"}}),
        (1, "cart.item_added", {"commerce": {"cart_id": "k2"}}),
        (2, "opportunity.created", {"journey_id": "d1"}),
        (3, "opportunity.lost", {"journey_id": "d1"}),
        (4, "order.completed", {"commerce": {"cart_id": "k2", "order_id": "o1"}}),
    ]
    common = {"source": "s", "customer_id": "c", "channel": "web"}
    events = [
        {"id": f"{minute}", "type": kind, "time": f"1970-01-01T00:{minute:02}:00Z", **common, **fields} for minute, kind, fields in sent
    ]
    arrivals = [Arrival(minute * 60_000, b"c", json.dumps(one).encode()) for (minute, _, _), one in zip(sent, events, strict=True)]
    found = run_history(arrivals, parse(text), partitions=1, end_ms=2 * 86_400_000)
    ends = {Counter.ABANDONED, Counter.COMPLETED, Counter.FAILED}
    assert {(counter, dict(cell)["journey"]): n for (counter, cell, _), n in found.sums.items() if counter in ends} == {
        (Counter.ABANDONED, "cart"): 1,
        (Counter.COMPLETED, "cart"): 1,
        (Counter.FAILED, "deal"): 1,
    }
