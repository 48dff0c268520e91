"""The suite can fail: a few of the planted bugs, each caught; `make chaos-bugs` plants them all and runs each scenario without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.chaos.bugs import BUGS
from tests.chaos.moves import MOVES, every, fenced
from tests.chaos.run import ROLES
from tests.chaos.scenarios import PLANS, SEED, findings
from tests.chaos.stage import staged

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

# As long as the outages are.
QUIET_SECONDS: Final = 5.0

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


# What is found wrong differs: lost events, an alert delivered twice, a clock that nothing explains, a metric.
@pytest.mark.parametrize(
    ("bug", "wrong"),
    [
        ("commit-before-effect", "lost "),
        ("read-uncommitted-publisher", "phantom_alerts "),
        ("dropped-journal", "clock of partition"),
        ("uncounted-error", "redis-full did not move its metric: increase of streamer_redis_commands_total"),
    ],
)
async def test_a_planted_bug_is_caught(kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path, bug: str, wrong: str) -> None:
    found = await findings(PLANS[bug], bug, kafka, redis_server, tmp_path / "run", unique)
    assert any(wrong in one for one in found), found


async def test_a_scenario_without_a_bug_is_clean(kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path) -> None:
    assert await findings(PLANS["commit-before-effect"], None, kafka, redis_server, tmp_path / "run", unique) == []


async def test_without_a_fault_no_metric_moves_that_is_to_show_one(kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path) -> None:
    async with staged(kafka, redis_server, tmp_path / "run", unique, SEED, roles=ROLES, partitions=2) as stage:
        await stage.traffic.start()
        await stage.caught_up()
        await stage.all_ready()
        await stage.scraper.begin()
        await asyncio.sleep(QUIET_SECONDS)
        await stage.scraper.look()
        moves = [*(move for some in MOVES.values() for move in every(some)), fenced(1)]
        found = [move.look(stage.scraper.samples, QUIET_SECONDS) for move in moves]
    assert len({sample.place for sample in stage.scraper.samples}) == len(ROLES)
    assert [one for one in found if one.is_enough] == []


def test_every_bug_has_a_scenario_that_shows_it() -> None:
    assert PLANS.keys() == BUGS.keys()
    assert len(BUGS) >= 10
