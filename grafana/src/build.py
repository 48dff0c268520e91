"""Writes the dashboards' JSON: `python -m grafana.src.build`; with `--check` only says whether it is up to date (exit code 1: not)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from grafana.src import catalogue, customer, pipeline, sdk

if TYPE_CHECKING:
    from collections.abc import Sequence

DIRECTORY: Final = Path(__file__).parent.parent / "dashboards"


def render() -> dict[str, str]:
    """File name to content of every dashboard."""
    dashboards = {"catalogue.json": catalogue.build(), "customer-experience.json": customer.build(), "pipeline.json": pipeline.build()}
    return {name: json.dumps(model, cls=sdk.encoder.JSONEncoder, indent=2, sort_keys=True) + "\n" for name, model in dashboards.items()}


def outdated(directory: Path = DIRECTORY) -> list[str]:
    """Names of files which differ from what the source says, or which no source says."""
    wanted = render()
    stray = [path.name for path in directory.glob("*.json") if path.name not in wanted]
    paths = {name: directory / name for name in wanted}
    return sorted(stray + [name for name, path in paths.items() if not path.exists() or path.read_text(encoding="utf-8") != wanted[name]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m grafana.src.build", description="Generate the Grafana dashboards.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if grafana/dashboards is not what the source says")
    if parser.parse_args(arguments).check:
        for name in (different := outdated()):
            print(f"grafana/dashboards/{name} differs from its source: run `make dashboards`", file=sys.stderr)
        return 1 if different else 0
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in render().items():
        (DIRECTORY / name).write_text(content, encoding="utf-8")
        print(f"grafana/dashboards/{name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
