"""Are customers giving up? The abandon rate with its interval, the close rate, the funnel."""

from __future__ import annotations

from grafana.src import common
from grafana.src.business import INSUFFICIENT, JOURNEY, band, band_style, estimate, gauge
from grafana.src.common import BLUE, GREEN, RED, YELLOW
from grafana.src.frame import Panels, Row
from streamer.metrics.readings import SHOW_MINIMUM

PURPOSE = f"""\
**Are customers giving up, where, and how sure is that?** Rates are over the rolling *Window* in event time; the shaded area is the 95 %
interval (Wilson). Act when the **whole band** is beyond what you accept, not when the line twitches. Fewer than {SHOW_MINIMUM} cases
read **insufficient**: neither good nor bad. A journey counts as abandoned once its deadline has passed; a late completion takes it back.
**Owner:** customer experience · **Runbook:** `docs/runbooks/checkout-abandonment.md` ·
**Definitions:** behind each panel's (i), and `docs/reference/metrics.md` · Odd numbers? First look at the *Pipeline* dashboard."""

# Orientation [H]: the field's checkouts lose about every second, so half is the default rule's fixed target.
ABANDON_STEPS = ((None, GREEN), (0.4, YELLOW), (0.5, RED))


def _figures() -> Panels:
    """The numbers now."""
    return [
        common.text(101, "How to read this", "What the dashboard is for, how to read it, whom to ask.", PURPOSE, height=4),
        common.stat(
            102,
            "Abandon rate",
            "abandoned / (abandoned + completed), among instances whose deadline has passed or which completed, in the window.",
            common.queries((estimate("abandon_rate", JOURNEY), "abandon rate")),
            unit="percentunit",
            decimals=1,
            steps=ABANDON_STEPS,
            texts=INSUFFICIENT,
        ),
        common.stat(
            103,
            "At least (95 %)",
            "Lower bound of the abandon rate's 95 % interval (Wilson). Rules fire on this bound, never on the estimate.",
            common.queries((estimate("abandon_rate", JOURNEY, suffix="_lower"), "lower bound")),
            unit="percentunit",
            decimals=1,
            steps=ABANDON_STEPS,
            texts=INSUFFICIENT,
        ),
        common.stat(
            104,
            "Out of",
            "Sample size of the abandon rate: instances in the window which ended by completion or abandonment.",
            common.queries((gauge("abandon_rate", JOURNEY, suffix="_sample_size"), "ended journeys")),
            unit="short",
            steps=((None, "#8E8E8E"), (SHOW_MINIMUM, BLUE)),
        ),
        common.stat(
            105,
            "Close rate",
            "won / (won + lost), open ones excluded; lost = abandoned or failed.",
            common.queries((estimate("close_rate", JOURNEY), "close rate")),
            unit="percentunit",
            decimals=1,
            steps=((None, BLUE),),
            texts=INSUFFICIENT,
        ),
        common.stat(
            106,
            "With friction",
            "Share of the instances begun in the window that met at least one payment failure, form error, friction or effort signal.",
            common.queries((estimate("friction_rate", JOURNEY), "friction rate")),
            unit="percentunit",
            decimals=1,
            steps=((None, BLUE), (0.2, YELLOW), (0.4, RED)),
            texts=INSUFFICIENT,
        ),
        common.stat(
            107,
            "Open now",
            "Instances neither completed, failed nor abandoned: still to be won. A stock, not a window.",
            common.queries((gauge("journeys_open", JOURNEY), "open")),
            unit="short",
        ),
    ]


def _charts() -> Panels:
    """How they came about."""
    return [
        common.timeseries(
            108,
            "Abandon rate with 95 % interval",
            "The estimate and its Wilson interval. A narrow band is sure, a wide one is not. Dashed: the default rule's target.",
            band("abandon_rate", JOURNEY, "abandon rate"),
            unit="percentunit",
            width=12,
            height=9,
            overrides=band_style("abandon rate", "#F2495C"),
            steps=((None, "transparent"), (0.5, RED)),
        ),
        common.timeseries(
            109,
            "Close rate with 95 % interval",
            "won / (won + lost) with its Wilson interval. Lagging: it moves after the signals below.",
            band("close_rate", JOURNEY, "close rate"),
            unit="percentunit",
            width=6,
            height=9,
            overrides=band_style("close rate", "#73BF69"),
        ),
        common.bars(
            110,
            "Funnel in the window",
            "Counts of the window. Recovered ones were abandoned first and completed late; they count as completed, not as abandoned.",
            common.queries(
                (gauge("journeys_started", JOURNEY), "started"),
                (gauge("journeys_completed", JOURNEY), "completed"),
                (gauge("journeys_abandoned", JOURNEY), "abandoned"),
                (gauge("journeys_recovered", JOURNEY), "recovered late"),
            ),
            unit="short",
            width=6,
            height=9,
        ),
    ]


def row() -> Row:
    """Row 100."""
    return Row(100, "Are customers giving up?", [*_figures(), *_charts()])
