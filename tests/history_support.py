"""A small history with known ends, its rules, and golden files of what commands say of it.

anna meets an error in the checkout and leaves it; ben meets one and buys; carla calls about her bill on three channels; from 09:00 the
payments of iOS fail, so that those who come then leave.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN: Final = Path(__file__).parent / "data/history"
BEGIN: Final = datetime(2026, 3, 2, 8, tzinfo=UTC)

RULES: Final = """\
revision = 3
windows = ["1h"]

[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
activity = ["checkout.step_viewed"]
identified_by = ["checkout_id"]

[contacts]
switch_on = ["contact.started"]

[[slice]]
by = []

[[slice]]
by = ["journey", "platform"]

[[rule]]
id = "left-after-friction"
on = "journey"
when = "journey == 'checkout' and abandoned and friction >= 1"
severity = "critical"
cooldown = "24h"

[[rule]]
id = "switching"
on = "issue"
when = "channel_switches >= 2"

[[rule]]
id = "heavy-effort"
on = "customer"
when = "effort_index > 5 or contacts >= 4"

[[rule]]
id = "many-leave"
metric = "abandon_rate"
by = ["journey", "platform"]
windows = ["1h"]
when = "journey == 'checkout' and lower > 0.3"
min_n = 8
"""

INCIDENT: Final = {
    "incident": "payments-of-ios",
    "start": "2026-03-02T09:00:00Z",
    "end": "2026-03-02T09:30:00Z",
    "slice": {"journey": "checkout", "platform": "ios"},
    "metrics": [
        {"metric": "abandon_rate", "slice": {"journey": "checkout", "platform": "ios"}, "until": "2026-03-02T10:30:00Z", "direction": "up"}
    ],
}


def event(minute: float, customer: str, kind: str, channel: str = "web", **fields: Any) -> dict[str, Any]:
    time = BEGIN + timedelta(minutes=minute)
    head = {"id": f"{customer}-{kind}-{minute:g}", "source": "made", "type": kind, "time": time.isoformat().replace("+00:00", "Z")}
    return {**head, "customer_id": customer, "channel": channel, **fields}


def checkout(minute: float, customer: str, platform: str, *, bought: bool, error: bool = False) -> Iterator[dict[str, Any]]:
    names: dict[str, Any] = {"commerce": {"checkout_id": f"k-{customer}"}, "platform": platform}
    yield event(minute, customer, "checkout.started", **names)
    if error:
        yield event(minute + 1, customer, "form.error", **names)
    if bought:
        yield event(minute + 3, customer, "order.completed", **names)


def events() -> list[dict[str, Any]]:
    """In the order of their times."""
    found = [
        *checkout(5, "anna", "web", bought=False, error=True),
        *checkout(7, "ben", "web", bought=True, error=True),
        *(event(10 + 20 * n, "carla", "contact.started", channel, issue={"issue_id": "bill"}, actor={"initiator": "customer"})
          for n, channel in enumerate(("web", "phone", "email"))),
    ]  # fmt: skip
    for n in range(30):
        found += checkout(2 * n, f"a{n}", "android", bought=n % 5 > 0)
        found += checkout(2 * n + 30.5, f"i{n}", "ios", bought=2 * n + 30.5 < 60)
    found.append(event(180, "dora", "page.viewed"))
    return sorted(found, key=lambda one: (one["time"], one["id"]))


def write(folder: Path) -> list[str]:
    """Writes `rules.toml`, `history.jsonl` and `labels.jsonl`; returns the first two as arguments of a backtest."""
    (folder / "rules.toml").write_text(RULES)
    (folder / "history.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events()))
    (folder / "labels.jsonl").write_text(json.dumps(INCIDENT) + "\n")
    return [str(folder / "rules.toml"), str(folder / "history.jsonl")]


def assert_golden(name: str, text: str) -> None:
    """Compares with the committed file; UPDATE_GOLDEN=1 writes it instead."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; if it is meant to, run the test with UPDATE_GOLDEN=1"
