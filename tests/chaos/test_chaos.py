"""The short form of `make chaos`: every kind of fault once, by a fixed seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.moves import ALL_ALONG
from tests.chaos.run import run

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis

SEED = 1


# About four minutes; more on a machine that others use too.
@pytest.mark.timeout(1800)
@pytest.mark.integration
async def test_no_fault_loses_doubles_or_changes_anything(kafka: Kafka, redis_server: Redis, unique: str, tmp_path: Path) -> None:
    assert len(FAULTS) >= 20
    try:
        report = await run(kafka, redis_server, tmp_path / "run", app=unique, cycles=len(FAULTS), seed=SEED)
    finally:
        for server in (kafka, redis_server):
            if not server.is_running:
                server.start()
    assert report.is_clean, "\n".join(report.lines())
    assert report.verdict is not None
    assert report.verdict.events > 1_000
    assert report.verdict.alerts > 100
    assert report.verdict.aggregate_alerts > 20
    assert report.recovery_seconds.keys() == FAULTS.keys()
    assert report.moved.keys() == FAULTS.keys() | ALL_ALONG.keys()
