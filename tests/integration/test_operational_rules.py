"""The rules for operators, by Prometheus's own tools: minutes in which each fires and does not, and loaded by a running server."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from deploy.local import programs
from deploy.local.prometheus import RULES
from deploy.local.stack import STATE

if TYPE_CHECKING:
    from tests.servers import PrometheusFactory

pytestmark = [pytest.mark.integration]

ROOT: Final = Path(__file__).parents[2]
CASES: Final = sorted(Path(__file__).with_name("operational_rules").glob("*.yml"))


@pytest.fixture(scope="module", autouse=True)
def _promtool() -> None:
    programs.ensure(["promtool"], lock=STATE / "install.lock")


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_rule_fires_in_its_minutes_and_no_other_rule_does(file: Path) -> None:
    promtool("test", "rules", file)


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", *sorted(ROOT.glob(RULES)))


def test_a_running_prometheus_has_loaded_and_evaluated_them(prometheus: PrometheusFactory) -> None:
    server = prometheus([])
    groups = server.rules()
    names = {rule["name"] for group in groups for rule in group["rules"]}
    assert {path.stem for path in CASES} == {page(name) for name in names}


def page(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("-")
