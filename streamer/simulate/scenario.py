"""What is simulated: how many customers, how fast, from when to when, and what goes wrong on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.alerts.times import rfc3339
from streamer.durations import parse_duration
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

PLATFORMS: Final = ("desktop", "mobile-web", "ios", "android")
INCIDENTS: Final = ("payment-outage",)
# The default definitions' checkout deadline: an outage shows in the abandon rate this long after the payments failed.
CHECKOUT_DEADLINE_MS: Final = 30 * 60_000

_INCIDENT: Final = re.compile(
    r"(?P<kind>[a-z-]+)(?::platform=(?P<platform>[a-z-]+))?@(?P<sign>[+-])(?P<at>[0-9a-z]+),(?P<length>[0-9a-z]+)"
)


class Incident(NamedTuple):
    """Something that goes wrong, with its ground truth. Times in milliseconds since the epoch; end is exclusive."""

    kind: str
    platform: str
    start_ms: int
    end_ms: int

    def label(self) -> dict[str, Any]:
        """The ground truth as JSON: when, where, and which metrics must move when."""
        return {
            "incident": self.kind,
            "start": rfc3339(self.start_ms),
            "end": rfc3339(self.end_ms),
            "slice": {"journey": "checkout", "platform": self.platform},
            "metrics": [
                {"metric": "friction_rate", "direction": "up", "from": rfc3339(self.start_ms), "until": rfc3339(self.end_ms)},
                {
                    "metric": "abandon_rate",
                    "direction": "up",
                    "from": rfc3339(self.start_ms + CHECKOUT_DEADLINE_MS),
                    "until": rfc3339(self.end_ms + CHECKOUT_DEADLINE_MS),
                },
            ],
        }


class Scenario(NamedTuple):
    """A simulation, fully determined. Times in milliseconds since the epoch, rates in events per second of virtual time.

    end_ms: no event is sent at or after it; None goes on for ever. rate_from: (time, rate) steps, ascending, the first at start_ms.
    poison: add records of every dead-letter reason.
    """

    seed: int
    customers: int
    start_ms: int
    end_ms: int | None
    rate_from: Sequence[tuple[int, float]]
    incidents: Sequence[Incident] = ()
    poison: bool = False


def parse_incident(text: str, *, start_ms: int, now_ms: int) -> Incident:
    """An incident such as `payment-outage@+10m,5m`: 10 minutes after the start, for 5 minutes.

    `@-31m,6m` counts back from `now_ms` (the end of the past); `payment-outage:platform=android` names the platform, iOS by default.
    Raises InputError.
    """
    match = _INCIDENT.fullmatch(text)
    if match is None:
        raise InputError(f"--incident {text!r}: expected e.g. payment-outage@+10m,5m or payment-outage:platform=android@-31m,6m")
    platform = match["platform"] or "ios"
    if match["kind"] not in INCIDENTS:
        raise InputError(f"--incident {text!r}: unknown incident; known are {', '.join(INCIDENTS)}")
    if platform not in PLATFORMS:
        raise InputError(f"--incident {text!r}: unknown platform; known are {', '.join(PLATFORMS)}")
    try:
        at_ms, length_ms = parse_duration(match["at"]), parse_duration(match["length"])
    except ValueError as exc:
        raise InputError(f"--incident {text!r}: {exc}") from exc
    begin_ms = start_ms + at_ms if match["sign"] == "+" else now_ms - at_ms
    return Incident(match["kind"], platform, begin_ms, begin_ms + length_ms)
