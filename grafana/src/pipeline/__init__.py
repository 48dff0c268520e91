"""The dashboard *Pipeline*: does every event arrive in time, is every one accounted for, and if not, where does it wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.src import frame
from grafana.src.pipeline import alerts, durability, events, freshness, overview, processes, readers

if TYPE_CHECKING:
    from grafana.src.sdk import models


def build() -> models.Dashboard:
    """The dashboard's model."""
    return frame.dashboard(
        frame.PIPELINE_UID,
        "Pipeline",
        "Does every event arrive in time, is every one accounted for, and if not, where does it wait. Rows follow the flow of data.",
        ["pipeline"],
        [
            frame.datasource_variable(),
            frame.job_variable(),
            frame.variable(
                "instance",
                "Instance",
                'label_values(streamer_build_info{job=~"$job"}, instance)',
                description="One per process: the supervisor and each role have an endpoint of their own.",
                all_value=".+",
                multi=True,
            ),
        ],
        [overview.row(), events.row(), freshness.row(), durability.row(), alerts.row(), readers.row(), processes.row()],
        since="now-30m",
    )
