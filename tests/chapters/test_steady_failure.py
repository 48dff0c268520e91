"""Where it goes the same way all the time a rate says so, also in a window no longer than the time after which that is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import pytest

from streamer import definitions
from streamer.replay.pipeline import Arrival, Result, run_history

BEGIN_MS: Final = 1_795_219_200_000
HOUR: Final = 3_600_000
HOURS: Final = 120
DEFINITIONS: Final = definitions.default_text().replace('windows = ["5m", "1h", "24h"]', 'windows = ["5m", "1h", "24h", "7d"]', 1)


def each_hour(hour: int) -> list[dict[str, Any]]:
    """A case that nobody owns for an hour, that changes its owner untold and that nobody answers, a handoff that a partner leaves lying,
    an onboarding that ends on its step, and a contact, every second of which is resolved soon and the others never.
    """
    contact = {"issue_id": f"i{hour}"}
    return [
        {"type": "contact.started", "issue": contact},
        {"type": "contact.ended" if hour % 2 else "contact.transferred", "issue": contact},
        {"type": "case.opened", "issue": {"case_id": f"k{hour}"}},
        {"type": "case.updated", "issue": {"case_id": f"k{hour - 1}"}, "actor": {"owner": "ann"}},
        {"type": "case.updated", "issue": {"case_id": f"k{hour - 2}"}, "actor": {"owner": "ben"}},
        {"type": "handoff.initiated", "issue": {"case_id": f"h{hour}"}, "handoff": {"partner": "acme"}},
        {"type": "journey.started", "journey": "onboarding", "journey_id": f"j{hour}", "step": "form"},
    ]


@cache
def found() -> Result:
    arrivals = []
    for hour in range(HOURS):
        for number, event in enumerate(each_hour(hour)):
            time_ms = BEGIN_MS + hour * HOUR + number * 1000
            time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
            customer = next(iter(event["issue"].values())) if "issue" in event else event["journey_id"]
            value = {"id": f"{hour}-{number}", "time": time, "channel": "web", "customer_id": customer, **event}
            arrivals.append(Arrival(time_ms, customer.encode(), json.dumps(value).encode()))
    return run_history(arrivals, definitions.parse(DEFINITIONS), partitions=2, begin_ms=BEGIN_MS)


@pytest.mark.parametrize("window", ["24h", "7d"])
@pytest.mark.parametrize(
    "metric", ["silent_case_rate", "unowned_case_rate", "untold_owner_change_rate", "handoff_failure_rate", "abandoned_at_step"]
)
def test_where_all_fail_the_rate_is_one(metric: str, window: str) -> None:
    assert value_of(metric, window) == 1


def test_where_half_fail_it_is_a_half_also_if_the_others_are_known_at_once() -> None:
    assert value_of("resolution_in_time_rate", "24h") == 0.5


def value_of(metric: str, window: str) -> float | None:
    [gauge] = [one for one in found().gauges if (one.metric.id, one.by, one.window) == (metric, (), window)]
    assert gauge.n >= 20
    return gauge.value
