"""Do they work too hard? Channel switches, repeated contacts, transfers, and the effort index over them."""

from __future__ import annotations

from grafana.src import common, sdk
from grafana.src.business import EVERYBODY, band, band_style, gauge, queries_of
from grafana.src.common import BLUE, RED, YELLOW
from grafana.src.frame import Panels, Row
from streamer.metrics.catalogue import METRIC_BY_ID


def _signal(panel_id: int, title: str, description: str, metric_id: str, name: str, color: str) -> sdk.timeseries.Panel:
    return common.timeseries(
        panel_id,
        title,
        description,
        band(metric_id, EVERYBODY, name),
        unit="percentunit",
        width=6,
        height=7,
        overrides=band_style(name, color),
    )


def _shares() -> Panels:
    """How many meet each signal."""
    return [
        _signal(
            301,
            "Channel switching",
            "Issues begun in the window in which the customer had to go to another channel, of all issues begun.",
            "switch_rate",
            "switched channel",
            "#5794F2",
        ),
        _signal(
            302,
            "Repeated contacts",
            "Contacts for the same reason within 7 days of its resolution, or about a reopened issue, of all contacts.",
            "repeat_rate",
            "contacted again",
            "#FF9830",
        ),
        _signal(
            303,
            "Transfers",
            "Contacts passed on to another agent or team at least once, of all contacts. Common target: at most 10 %; average 19 %.",
            "transfer_rate",
            "transferred",
            "#B877D9",
        ),
        _signal(
            304,
            "High effort",
            "Issues begun in the window whose effort index is above 5 points, of all issues begun. House definition.",
            "high_effort_rate",
            "high effort",
            "#F2495C",
        ),
    ]


def _weight() -> Panels:
    """How heavy it is altogether."""
    return [
        common.timeseries(
            305,
            "Effort index, mean per issue",
            "Points per issue: repeated contact 3, cold transfer 2, channel switch 1.5, warm transfer 1, ping-pong 1. Medium from 2, "
            "high above 5. Observed behaviour, not the surveyed CES.",
            band("effort_mean", EVERYBODY, "effort"),
            unit="short",
            width=6,
            decimals=2,
            overrides=band_style("effort", "#FADE2A"),
            steps=((None, "transparent"), (2, YELLOW), (5, RED)),
        ),
        common.timeseries(
            306,
            "Cold transfers",
            "Transfers without context passed on, of all transfers: the customer starts again. Twenty per cent is a common limit.",
            band("cold_transfer_share", EVERYBODY, "cold"),
            unit="percentunit",
            width=6,
            overrides=band_style("cold", "#8AB8FF"),
        ),
        common.timeseries(
            308,
            "Transfers per contact",
            "Transfers in the window by contacts begun in it. What an IVR passes on to the first person is none.",
            queries_of(METRIC_BY_ID["transfers_per_contact"], interval=False),
            unit="short",
            width=6,
            decimals=2,
        ),
        common.bars(
            307,
            "Volume in the window",
            "The counts behind the rates.",
            common.queries(
                (gauge("contacts", EVERYBODY), "contacts"),
                (gauge("channel_switches", EVERYBODY), "channel switches"),
                (gauge("web_to_phone", EVERYBODY), "of these self-service to phone"),
            ),
            unit="short",
            width=6,
            steps=((None, BLUE),),
        ),
    ]


def row() -> Row:
    """Row 300."""
    return Row(300, "Do they work too hard? (all journeys together)", [*_shares(), *_weight()])
