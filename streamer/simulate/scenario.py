"""What is simulated: how many customers, how fast, from when to when, and what goes wrong on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.simulate.incidents import Incident
    from streamer.touchpoints.touchpoint import Reason

PLATFORMS: Final = ("desktop", "mobile-web", "ios", "android")
MOBILE: Final = ("mobile-web", "ios", "android")
QUEUES: Final = ("phone", "chat")  # where customers wait in line
STEPS: Final = ("address", "delivery", "payment")
# The default definitions' checkout deadline: who gives up shows in the abandon rate this long after the last activity.
CHECKOUT_DEADLINE_MS: Final = 30 * 60_000

HOUR_MS: Final = 3_600_000
# How busy an hour of the day (UTC) and a day of the week are, each with a mean of 1: a quiet night, a rise over the day, an evening
# peak, and more on Sunday evening's and Monday's side of the week, as in online retail [H].
BY_HOUR: Final = (
    0.35, 0.22, 0.15, 0.12, 0.14, 0.25, 0.50, 0.80, 1.05, 1.20, 1.28, 1.30,
    1.30, 1.25, 1.22, 1.22, 1.25, 1.35, 1.55, 1.80, 1.90, 1.70, 1.25, 0.85,
)  # fmt: skip
BY_WEEKDAY: Final = (1.10, 1.02, 1.00, 1.00, 0.93, 0.87, 1.08)  # from Monday
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


class Scenario(NamedTuple):
    """A simulation, fully determined. Times in milliseconds since the epoch, rates in events per second of virtual time.

    end_ms: no event is sent at or after it; None goes on for ever. rate_from: (time, rate) steps, ascending, the first at start_ms.
    poison: the reasons of which records are added that become dead letters. seasonal: the rates are a week's means, and follow the hour
    and the weekday.
    """

    seed: int
    customers: int
    start_ms: int
    end_ms: int | None
    rate_from: Sequence[tuple[int, float]]
    incidents: Sequence[Incident] = ()
    poison: Sequence[Reason] = ()
    seasonal: bool = False

    def rate(self, now_ms: float) -> float:
        """Events per second at a time."""
        rate = next(rate for start_ms, rate in reversed(self.rate_from) if start_ms <= now_ms)
        return rate * season(now_ms) if self.seasonal else rate


def season(now_ms: float) -> float:
    """How busy the hour is, as a multiple of the week's mean."""
    day, hour = divmod(int(now_ms // HOUR_MS), 24)
    return BY_HOUR[hour] * BY_WEEKDAY[(day + _EPOCH_WEEKDAY) % 7]
