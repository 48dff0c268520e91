"""Jobs A and B on Quix Streams, state with changelog.

It has no event-time timers for a key: a passed deadline is noticed when the same customer comes back, and never if he does not. B
needs a repartition topic and a tumbling window; an abandonment counts in the pane of the event that made it known.

Arguments: bootstrap, topic, run, number of events, guarantee, jobs (A or AB), state directory, commit interval and grace in seconds.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import Any

import quixstreams.dataframe.windows.aggregations as sums
from quixstreams import Application

from bench.job import PANE_MS, Alert, Customer

NAMES = ("events", "switches", "opened", "closed", "lost")


class Job:
    """The functions of the data flow, and when it is over."""

    def __init__(self, arguments: list[str]) -> None:
        bootstrap, self.topic, self.run, total, guarantee, jobs, directory, commit, grace = arguments
        self.total, self.panes, self.grace = int(total), jobs == "AB", timedelta(seconds=float(grace))
        self.seen = self.counted = self.late = 0
        self.begun = self.begun_cpu = 0.0
        self.used: dict[str, float] = {}
        self.app = Application(
            broker_address=bootstrap, consumer_group=self.run, auto_offset_reset="earliest", state_dir=directory,
            processing_guarantee=guarantee, commit_interval=float(commit), use_changelog_topics=True, loglevel="WARNING",
            consumer_extra_config={"queued.min.messages": 100_000},
        )  # fmt: skip

    def step(self, event: dict[str, Any], state: Any) -> list[dict[str, Any]]:
        """A: what one event makes known, alerts and changes of panes."""
        if not self.begun:
            self.begun, self.begun_cpu = time.monotonic(), time.process_time()
        self.seen += 1
        packed = state.get("customer")
        customer = Customer.unpacked(packed) if packed else Customer()
        alerts: list[Alert] = []
        done = customer.step(
            event["customer_id"], event["id"], event["channel"], event["type"], event["segment"], event["timestamp"], alerts
        )
        state.set("customer", customer.packed())
        made = [alert._asdict() for alert in alerts]
        if self.panes:
            made += [_change(alert.segment, alert.channel, (0, 0, 0, 0, 1)) for alert in alerts if not alert.cause]
            made.append(_change(event["segment"], event["channel"], (1, done[0], done[1], 0, 0)))
            if done[2]:
                made.append(_change(customer.segment, customer.checkout_channel, (0, 0, 0, 1, 0)))
        elif self.seen == self.total:
            self.finish()
        return made

    def count(self, change: dict[str, Any]) -> None:
        """B is over when every event has come through the repartition topic."""
        self.counted += change["events"]
        if self.counted == self.total:
            self.finish()

    def dropped(self, *_: Any) -> bool:
        """A change came too late for its window."""
        self.late += 1
        return False

    def finish(self) -> None:
        """Everything was seen."""
        self.used = {
            "wall_seconds": round(time.monotonic() - self.begun, 2), "cpu_seconds": round(time.process_time() - self.begun_cpu, 2)
        }  # fmt: skip
        self.app.stop()

    def build(self) -> None:
        """Lay the pipes."""
        app = self.app
        source = app.topic(
            self.topic, value_deserializer="json", key_deserializer="str",
            timestamp_extractor=lambda value, headers, timestamp, kind: value["timestamp"],
        )  # fmt: skip
        flow = app.dataframe(source).apply(self.step, stateful=True, expand=True)
        alerts = app.topic(f"{self.run}-alerts", value_serializer="json", key_serializer="str")
        flow.filter(lambda made: "kind" in made).to_topic(alerts)
        if self.panes:
            changes = flow.filter(lambda made: "cell" in made).group_by("cell").update(self.count)
            windows = changes.tumbling_window(timedelta(milliseconds=PANE_MS), grace_ms=self.grace, on_late=self.dropped)
            closed = windows.agg(**{name: sums.Sum(name) for name in NAMES}).final().apply(_pane, metadata=True)
            closed.to_topic(app.topic(f"{self.run}-panes", value_serializer="json", key_serializer="json"))


def _change(segment: str, channel: str, counts: tuple[int, ...]) -> dict[str, Any]:
    return {"cell": f"{segment}|{channel}", **dict(zip(NAMES, counts, strict=True))}


def _pane(window: dict[str, Any], key: Any, timestamp: int, headers: Any) -> dict[str, Any]:
    cell = key if isinstance(key, str) else key.decode()
    segment, _, channel = cell.strip('"').partition("|")
    return {"pane": window["start"] // PANE_MS, "segment": segment, "channel": channel, "counts": [window[name] for name in NAMES]}


def main() -> None:
    job = Job(sys.argv[1:])
    job.build()
    job.app.run()
    print(json.dumps({"events": job.seen, "late": job.late, **job.used}), flush=True)


if __name__ == "__main__":
    main()
