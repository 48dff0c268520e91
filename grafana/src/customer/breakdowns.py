"""Where? The same rates by platform, channel and journey."""

from __future__ import annotations

from grafana.src import common
from grafana.src.business import BY_CHANNEL, BY_JOURNEY, BY_PLATFORM, INSUFFICIENT, JOURNEY, band, band_style, estimate, gauge, known
from grafana.src.common import Column
from grafana.src.frame import Panels, Row
from streamer.metrics.readings import SHOW_MINIMUM


def _lines() -> Panels:
    """Over time."""
    return [
        common.timeseries(
            201,
            "Abandon rate by platform",
            f"Of the chosen journey, whatever platform is chosen above. Platforms with fewer than {SHOW_MINIMUM} ended instances "
            "are left out here and are in the table's sample sizes.",
            common.queries((known("abandon_rate", BY_PLATFORM, "platform"), "{{platform}}")),
            unit="percentunit",
            empty=common.NONE_SUFFICIENT,
            width=6,
        ),
        common.timeseries(
            202,
            "Abandon rate by channel",
            f"Of the chosen journey. Channels with fewer than {SHOW_MINIMUM} ended instances are left out.",
            common.queries((known("abandon_rate", BY_CHANNEL, "channel"), "{{channel}}")),
            unit="percentunit",
            empty=common.NONE_SUFFICIENT,
            width=6,
        ),
        common.timeseries(
            205,
            "Friction with 95 % interval",
            "Share of the instances begun in the window that met a payment failure, form error, friction or effort signal.",
            band("friction_rate", JOURNEY, "with friction"),
            unit="percentunit",
            width=6,
            overrides=band_style("with friction", "#FF9830"),
        ),
        common.timeseries(
            203,
            "Journeys begun and closed",
            "Of the chosen journey, in the window.",
            common.queries(
                (gauge("journeys_started", BY_JOURNEY + ', journey=~"$journey"'), "started"),
                (gauge("journeys_completed", BY_JOURNEY + ', journey=~"$journey"'), "completed"),
                (gauge("journeys_abandoned", BY_JOURNEY + ', journey=~"$journey"'), "abandoned"),
            ),
            unit="short",
            width=6,
        ),
    ]


def _tables() -> Panels:
    """Now."""
    return [
        common.table(
            204,
            "All journeys now",
            f"Every journey seen, in the window. Below a sample of {SHOW_MINIMUM} a rate is insufficient: neither good nor bad.",
            common.queries(
                (estimate("abandon_rate", BY_JOURNEY, "journey"), ""),
                (estimate("abandon_rate", BY_JOURNEY, "journey", "_lower"), ""),
                (estimate("abandon_rate", BY_JOURNEY, "journey", "_upper"), ""),
                (gauge("abandon_rate", BY_JOURNEY, "journey", "_sample_size"), ""),
                (estimate("close_rate", BY_JOURNEY, "journey"), ""),
                (estimate("close_odds", BY_JOURNEY, "journey"), ""),
                (gauge("journeys_open", BY_JOURNEY, "journey"), ""),
                (gauge("touchpoints", BY_JOURNEY, "journey"), ""),
                instant=True,
            ),
            labels={"journey": "Journey"},
            columns=[
                Column("A", "Abandon rate", "percentunit", 1, INSUFFICIENT),
                Column("B", "At least", "percentunit", 1, INSUFFICIENT),
                Column("C", "At most", "percentunit", 1, INSUFFICIENT),
                Column("D", "Out of", "short"),
                Column("E", "Close rate", "percentunit", 1, INSUFFICIENT),
                Column("F", "Won : lost", "short", 2, INSUFFICIENT),
                Column("G", "Open now", "short"),
                Column("H", "Touchpoints", "short"),
            ],
            width=24,
            height=7,
        ),
    ]


def row() -> Row:
    """Row 200."""
    return Row(200, "Where?", [*_lines(), *_tables()])
