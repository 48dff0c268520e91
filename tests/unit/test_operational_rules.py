"""The rules for operators hold together with the metrics, the runbooks, the stack and their own tests."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.local.prometheus import RULES
from grafana.src.frame import RUNBOOKS_URL
from streamer.alerts.publisher import LIBRARY
from streamer.metrics.families import FAMILIES
from tests.promql_support import DECLARED, Reading

yaml: Final[Any] = import_module("yaml")  # without annotations

ROOT: Final = Path(__file__).parents[2]
RUNBOOKS: Final = ROOT / "docs/runbooks"
TESTS: Final = ROOT / "tests/integration/operational_rules"
REFERENCE: Final = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
COMMANDS: Final = re.findall(r"^\| `(streamer [a-z -]+)` \|", REFERENCE, re.MULTILINE)
DEFINITIONS: Final = (ROOT / "streamer/default.toml").read_text(encoding="utf-8")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def page_of(alert: str) -> str:
    """`GrowingLag` has the page `growing-lag`."""
    return re.sub(r"(?<=.)([A-Z])", r"-\1", alert).lower()


ALERTS: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule for path in sorted(ROOT.glob(RULES)) for group in read(path)["groups"] for rule in group["rules"]
}
each: Final = pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS.keys())


def test_what_operators_must_hear_of_has_a_rule() -> None:
    assert ALERTS.keys() >= {"StaleGauges", "GrowingLag", "DeadLetters", "PublisherBehind", "SourceSilent", "RestartLoop"}


@each
def test_a_rule_asks_for_what_the_product_exports(rule: dict[str, Any]) -> None:
    Reading(rule["expr"]).check()


@each
def test_a_rule_says_how_bad_it_is_what_happened_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"[1-9]\d*m", rule["for"]), "one odd scrape wakes nobody"
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS_URL}/{page_of(rule['alert'])}.md"


@each
def test_texts_name_only_labels_that_the_expression_keeps(rule: dict[str, Any]) -> None:
    texts = rule["annotations"]["summary"] + rule["annotations"]["description"]
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= Reading(rule["expr"]).labels


@each
def test_a_rule_is_tested_in_minutes_with_and_without_it(rule: dict[str, Any]) -> None:
    checks = [check for case in read(TESTS / f"{page_of(rule['alert'])}.yml")["tests"] for check in case["promql_expr_test"]]
    firing = [check for check in checks if any(f'alertname="{rule["alert"]}"' in sample["labels"] for sample in check["exp_samples"])]
    assert 0 < len(firing) < len(checks)


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    """Rules about customers are in the definitions, and name their page themselves; a storm's alert is made in Redis."""
    storm = set(re.findall(r"runbook = 'docs/runbooks/([\w-]+)\.md'", LIBRARY))
    customers = set(re.findall(r'runbook = "(?:docs/)?runbooks/([\w-]+)\.md"', DEFINITIONS))
    operators = {page_of(alert) for alert in ALERTS}
    assert customers
    assert not customers & operators
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == customers | operators | storm


@each
def test_a_page_says_what_to_know_and_what_to_do(rule: dict[str, Any]) -> None:
    page = (RUNBOOKS / f"{page_of(rule['alert'])}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {page_of(rule['alert'])}\n")
    for part in ("**Means:**", "**Customers see:**", "**Look**", "**Do**", "**Escalate**"):
        assert part in page, part


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_commands_on_a_page_exist(page: Path) -> None:
    for said in re.findall(r"`(streamer [a-z][a-z -]*)", page.read_text(encoding="utf-8")):
        assert any(f"{said} ".startswith(f"{command} ") for command in COMMANDS), said


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_metrics_on_a_page_exist(page: Path) -> None:
    exported = {*DECLARED, *(family.name for family in FAMILIES)}
    assert set(re.findall(r"`((?:streamer|cx|process)_\w+)", page.read_text(encoding="utf-8"))) <= exported


def test_the_composed_prometheus_loads_them() -> None:
    (pattern,) = read(ROOT / "deploy/prometheus/prometheus.yml")["rule_files"]
    assert (ROOT / "deploy/prometheus" / pattern) == ROOT / RULES


def test_the_index_links_every_runbook() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(re.findall(r"runbooks/([\w-]+)\.md\)", text))
