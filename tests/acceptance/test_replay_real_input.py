"""Real logs through the product's processors without servers, against a recount that shares no code with them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance import recount

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.acceptance


def replay(file: Path, name: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "streamer", "replay", str(file), "--mapping", f"mappings/{name}.toml"]
    command += ["--definitions", f"mappings/{name}.definitions.toml", "--json", *options]
    answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def lifetime(answer: dict[str, Any], metric: str) -> dict[str, Any]:
    [found] = [m for m in answer["metrics"] if m["metric"] == metric and m["window"] == "lifetime" and not m["slice"]]
    return dict(found)


def test_the_recount_of_the_incidents_gives_the_known_figures() -> None:
    assert recount.incident_handoffs(recount.require(recount.INCIDENTS))[:3] == (4350, 2034, 883)


def test_the_recount_of_the_help_desk_gives_the_known_figures() -> None:
    assert recount.helpdesk_contacts(recount.require(recount.HELPDESK)) == (4580, 1041)


def test_replayed_incidents_have_the_handoffs_of_the_recount() -> None:
    path = recount.require(recount.INCIDENTS)
    expected = recount.incident_handoffs(path)
    answer = replay(path, "bpic2013")
    counted = answer["counters"]
    assert [counted[name] for name in ("HANDOFFS", "CASES_HANDED_OFF", "CASES_PING_PONG")] == list(expected[:3])
    assert lifetime(answer, "handoffs")["value"] == expected.handoffs
    assert lifetime(answer, "handoff_rate")["k"] == expected.cases
    assert lifetime(answer, "ping_pong_rate")["k"] == expected.ping_pong
    assert lifetime(answer, "cases")["value"] == 7554
    assert answer["alerts"]["by_rule"]["ping-pong"]["firing"] == expected.bounced_twice
    assert (answer["accounting"]["applied"], answer["accounting"]["consumed"]) == (65_533, 65_533 + 2 * 4)


@pytest.mark.parametrize("partitions", [1, 7])
def test_replayed_tickets_have_the_repeated_contacts_of_the_recount_in_any_number_of_partitions(partitions: int) -> None:
    path = recount.require(recount.HELPDESK)
    expected = recount.helpdesk_contacts(path)
    answer = replay(path, "helpdesk", "--partitions", str(partitions))
    assert [answer["counters"][name] for name in ("CONTACTS", "REPEAT_CONTACTS")] == list(expected)
    assert [lifetime(answer, "repeat_rate")[name] for name in ("n", "k")] == list(expected)
    assert answer["alerts"]["by_rule"]["repeated-contacts"]["firing"] > 0
