"""Reading PromQL against the product's metric declarations: what an expression selects, and whether anybody exports it."""

from __future__ import annotations

from typing import Final

import promql_parser

from streamer.metrics.exporter import exported_names
from streamer.metrics.families import FAMILIES, PROCESS_NAMES

# What a scrape adds.
SCRAPE_LABELS: Final = {"job", "instance"}


def _business() -> dict[str, set[str]]:
    return {name: set(labels) for name, labels in exported_names().items()}


def _telemetry() -> dict[str, set[str]]:
    return {name: {*family.labels, *({"le"} if name.endswith("_bucket") else set())} for family in FAMILIES for name in family.sample_names}


# What Prometheus itself makes of the rules, and the labels that all of them have.
ALERTS: Final = {"ALERTS": {"alertname", "alertstate", "severity"}}
# Name -> its labels.
DECLARED: Final = {**_business(), **_telemetry(), **{name: set[str]() for name in PROCESS_NAMES}, **ALERTS}


class Reading:
    """The selectors of an expression, and the labels that its operators name."""

    def __init__(self, expr: str) -> None:
        self.selectors: list[tuple[str, set[str]]] = []
        self.labels: set[str] = set()
        self.joined: set[str] = set()  # made by the expression itself
        promql_parser.walk(promql_parser.parse(expr), self._visit)

    def _visit(self, node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name
            self.selectors.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        elif isinstance(node, promql_parser.Call) and node.func.name == "label_join":
            self.joined.add(node.args[1].val)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            self.labels |= set(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier:
            if node.modifier.matching:
                self.labels |= set(node.modifier.matching.labels)
            self.labels |= set(node.modifier.group_labels or ())

    def check(self) -> None:
        """Every name is exported, with every label that is used of it."""
        assert self.selectors
        known = SCRAPE_LABELS | self.joined
        for name, matched in self.selectors:
            assert name in DECLARED, f"nobody exports {name}"
            assert matched <= DECLARED[name] | SCRAPE_LABELS, f"{name} has no label {matched - DECLARED[name] - SCRAPE_LABELS}"
            known |= DECLARED[name]
        assert self.labels <= known, f"no metric here has {self.labels - known}"
