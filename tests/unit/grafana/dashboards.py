"""What the dashboard tests read: the committed JSON, its panels, expressions and variables. Shares no code with their source."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[3]
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
FILES: Final = sorted(path.name for path in DASHBOARDS.glob("*.json"))

Json = dict[str, Any]

# What Grafana puts in place of its own variables.
BUILT_IN: Final = {"__rate_interval": "20s", "__interval": "5s", "__range": "1800s"}
# Anything that a variable may hold: matchers take what is like it, a metric must be one.
ANYTHING: Final = {**dict.fromkeys(("job", "journey", "window", "platform", "instance", "by"), ".+"), "metric": "cx_abandon_ratio"}


class Target(NamedTuple):
    """One expression, where it stands, and the letter it has there."""

    dashboard: str
    panel: str
    ref: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel} / {self.ref}"


def load(name: str) -> Json:
    """The dashboard's JSON."""
    model: Json = json.loads((DASHBOARDS / name).read_text(encoding="utf-8"))
    return model


def panels(model: Json) -> list[Json]:
    """All panels but the rows, those of collapsed rows too."""
    found = [panel for outer in model["panels"] for panel in (outer, *outer.get("panels", []))]
    return [panel for panel in found if panel["type"] != "row"]


def variables(model: Json) -> list[Json]:
    """The template variables."""
    found: list[Json] = model["templating"]["list"]
    return found


def targets(*, annotations: bool = True) -> list[Target]:
    """Every expression of every dashboard; annotations too."""
    found = []
    for name in FILES:
        model = load(name)
        for panel in panels(model):
            found += [Target(model["title"], panel["title"], target["refId"], target["expr"]) for target in panel.get("targets", [])]
        if annotations:
            found += [Target(model["title"], "annotations", note["name"], note["expr"]) for note in model["annotations"]["list"]]
    return found


def variable_queries() -> list[Target]:
    """The selectors that variables list the values of."""
    found = []
    for name in FILES:
        model = load(name)
        for variable in variables(model):
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert match, f"{variable['name']}: {variable['query']}"
                found.append(Target(model["title"], f"variable {variable['name']}", match[2], match[1]))
    return found


def substitute(expr: str, values: dict[str, str]) -> str:
    """The expression with its variables replaced; an unknown one is an error."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: {**BUILT_IN, **values}[match[1]], expr)


def chosen(model: Json) -> dict[str, str]:
    """What the variables hold when the dashboard is opened."""
    values = {}
    for variable in variables(model):
        value = variable["current"]["value"]
        value = value[0] if isinstance(value, list) else value
        values[variable["name"]] = variable["allValue"] if value == "$__all" else value
    return values
