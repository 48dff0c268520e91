"""Who is told: the alert record, its delivery to Redis and the consumer side.

Programs that act on alerts import from here: `AlertConsumer`, `PlainAlertConsumer` and the records they get; `Outcomes` and
`PlainOutcomes` to say who took an alert up and how it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.alerts.alert import Alert
    from streamer.alerts.consumer import AlertConsumer, Delivery
    from streamer.alerts.outcomes import Outcomes
    from streamer.alerts.plain import PlainAlertConsumer, PlainOutcomes
    from streamer.alerts.verdicts import Outcome

__all__ = ["Alert", "AlertConsumer", "Delivery", "Outcome", "Outcomes", "PlainAlertConsumer", "PlainOutcomes"]

_MODULES = {
    "Alert": "alert",
    "AlertConsumer": "consumer",
    "Delivery": "consumer",
    "Outcome": "verdicts",
    "Outcomes": "outcomes",
    "PlainAlertConsumer": "plain",
    "PlainOutcomes": "plain",
}


def __getattr__(name: str) -> Any:
    # On first use: the processors import the record from here and must not pull in Redis and asyncio with it.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
