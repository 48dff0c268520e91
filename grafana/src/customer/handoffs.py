"""Who is responsible? Handoffs between owners of a case, and ping-pong."""

from __future__ import annotations

from grafana.src import common
from grafana.src.business import BY_TEAM, EVERYBODY, band, band_style, gauge, known
from grafana.src.frame import Row


def row() -> Row:
    """Row 400."""
    return Row(
        400,
        "Who is responsible?",
        [
            common.timeseries(
                401,
                "Cases handed off",
                "Cases begun in the window that changed owner at least once, of all cases begun.",
                band("handoff_rate", EVERYBODY, "handed off"),
                unit="percentunit",
                width=6,
                overrides=band_style("handed off", "#5794F2"),
            ),
            common.timeseries(
                402,
                "Ping-pong",
                "Cases begun in the window that came back to an earlier owner (A, B, A), of all cases begun.",
                band("ping_pong_rate", EVERYBODY, "came back"),
                unit="percentunit",
                width=6,
                overrides=band_style("came back", "#FF9830"),
            ),
            common.timeseries(
                403,
                "Cases and handoffs",
                "Counts in the window: cases begun, and changes of owner.",
                common.queries((gauge("cases", EVERYBODY), "cases"), (gauge("handoffs", EVERYBODY), "handoffs")),
                unit="short",
                width=6,
            ),
            common.bars(
                404,
                "Handed off, by team",
                "Share of a team's cases begun in the window that changed owner. Teams with too small a sample are left out.",
                common.queries((f"sort_desc({known('handoff_rate', BY_TEAM, 'team')})", "{{team}}")),
                unit="percentunit",
                empty=common.NONE_SUFFICIENT,
                high=1,
                decimals=1,
            ),
        ],
    )
