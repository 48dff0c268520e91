"""The dashboard *Customer experience*: where customers give up or work too hard, how sure that is, and who was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.src import frame
from grafana.src.customer import abandonment, alerts, breakdowns, effort, handoffs

if TYPE_CHECKING:
    from grafana.src.sdk import models


def build() -> models.Dashboard:
    """The dashboard's model."""
    return frame.dashboard(
        frame.CUSTOMER_EXPERIENCE_UID,
        "Customer experience",
        "Where customers give up or work too hard, how sure that is, and who was told. Event time, exactly once, within seconds.",
        ["customer-experience"],
        [
            frame.datasource_variable(),
            frame.job_variable(),
            frame.variable(
                "journey",
                "Journey",
                'label_values(cx_journeys_started{job=~"$job", slice="journey"}, journey)',
                description="Journeys are defined in the definitions file.",
                current="checkout",
            ),
            frame.variable(
                "window",
                "Window",
                'label_values(cx_journeys_started{job=~"$job"}, window)',
                description="Length of the rolling window, in event time. `lifetime` counts since the beginning.",
                current="1h",
            ),
            frame.variable(
                "platform",
                "Platform",
                'label_values(cx_journeys_started{job=~"$job", slice="journey,platform", journey=~"$journey"}, platform)',
                description="Narrows what is measured per journey. Effort and handoffs are not broken down by platform.",
                all_value="^$",
            ),
        ],
        [abandonment.row(), breakdowns.row(), effort.row(), handoffs.row(), alerts.row()],
        since="now-3h",
    )
