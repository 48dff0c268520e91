"""The definitions that histories are folded with: those of `default.toml`, with deadlines of seconds so that small logs reach them."""

from __future__ import annotations

from typing import Final

from streamer.definitions import Definitions, parse

LATENESS_MS: Final = 60_000

# Multiples of 10 s like most times in the logs, so that events often fall exactly on a deadline.
_TEXT = """
revision = 1
allowed_lateness = "60s"
windows = ["20s", "60s", "2h"]

[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
fail = ["order.cancelled"]
activity = ["checkout.*", "payment.*", "form.error", "friction.signal"]
identified_by = ["checkout_id", "order_id", "cart_id", "session"]
deadline = "30s"
recoverable_for = "40s"

[[journey]]
id = "service_case"
start = ["case.opened"]
complete = ["case.resolved", "case.closed"]
activity = ["case.*", "contact.*", "handoff.*", "message.sent", "info.captured"]
identified_by = ["case_id"]
deadline = "50s"
recoverable_for = "30s"

[[journey]]
id = "onboarding"
start = ["journey.started"]
complete = ["journey.completed"]
fail = ["journey.failed"]
activity = ["journey.*"]
identified_by = ["journey_id", "session"]
deadline = "20s"
recoverable_for = "10s"

[[journey]]
id = "delivery"
start = ["shipment.created"]
complete = ["shipment.delivered"]
activity = ["shipment.*"]
identified_by = ["order_id"]
deadline = "40s"
recoverable_for = "20s"

[[journey]]
id = "loan_application"
start = ["journey.started"]
complete = ["journey.completed"]
fail = ["journey.failed"]
activity = ["journey.*"]
identified_by = ["journey_id", "session"]
deadline = "30s"
recoverable_for = "50s"

[contacts]
window = "60s"
repeat_within = "50s"

[contacts.channel_groups]
web = "self_service"
app = "self_service"
phone = "phone"
ivr = "phone"

[cases]
retention = "40s"

[[slice]]
by = []

[[slice]]
by = ["journey"]

[[slice]]
by = ["journey", "channel"]

[[slice]]
by = ["team"]

[[rule]]
id = "abandonment"
metric = "abandon_rate"
by = ["journey"]
windows = ["20s", "60s"]
when = "lower > 0.1"
min_n = 1
for = "2s"

[[rule]]
id = "starts"
metric = "journeys_started"
windows = ["60s"]
when = "n >= 2"

[[rule]]
id = "friction"
on = "journey"
when = "journey == 'checkout' and abandoned and friction >= 1"
cooldown = "50s"

[[rule]]
id = "any-abandoned"
on = "journey"
when = "abandoned or effort_index >= 1"

[[rule]]
id = "switching"
on = "issue"
when = "channel_switches >= 1"
cooldown = "120s"

[[rule]]
id = "effort"
on = "issue"
when = "effort_index >= 3 and contacts >= 2"

[[rule]]
id = "repeats"
on = "customer"
when = "repeat_contacts >= 1"
cooldown = "90s"

[[rule]]
id = "moved-around"
on = "customer"
when = "handoffs + transfers >= 2 or ping_pongs >= 1"
"""

_LIMITS = """
[limits]
events_per_customer = 6
journeys_per_customer = 2
issues_per_customer = 2
cases_per_customer = 1
episodes_per_customer = 3
evidence_per_alert = 2
label_values = 2
"""


def _next(text: str) -> str:
    """The next revision: other deadlines, rules and break-downs."""
    return (
        text.replace("revision = 1", "revision = 2")
        .replace('deadline = "30s"', 'deadline = "20s"')
        .replace('by = ["team"]', 'by = ["platform"]')
        .replace('id = "any-abandoned"', 'id = "new-rule"')
        .replace('windows = ["20s", "60s", "2h"]', 'windows = ["20s", "60s", "3h"]')
        .replace('window = "60s"', 'window = "30s"')
    )


# By revision. Small limits are met by small logs; without them, order of arrival must not show.
WIDE: Final[dict[int, Definitions]] = {1: parse(_TEXT), 2: parse(_next(_TEXT))}
TIGHT: Final[dict[int, Definitions]] = {1: parse(_TEXT + _LIMITS), 2: parse(_next(_TEXT + _LIMITS))}
