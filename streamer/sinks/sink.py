"""What every sink is, and the two ways in which it can say no."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from streamer.alerts.alert import Alert

log = logging.getLogger(__name__)

_SEVERITIES: Final = ("info", "warning", "critical")


class SinkError(Exception):
    """A sink has not taken an alert. `reason`: a few words without secrets, addresses or customer data; it is logged and kept."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TryAgainError(SinkError):
    """The same may succeed later, not before `after_seconds`."""

    def __init__(self, reason: str, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class RefusedError(SinkError):
    """Repeating it cannot help: the alert goes to the dead letters."""


class Sink(ABC):
    """One receiver. `refresh_seconds`: how often it wants to be told all that is firing, None for never."""

    refresh_seconds: float | None = None

    @abstractmethod
    async def deliver(self, alert: Alert, data: bytes) -> None:
        """Hand over one transition; `data` are the record's bytes. Raises SinkError."""

    async def refresh(self, firing: Sequence[Alert]) -> None:  # noqa: B027  most have nothing to do
        """Hand over what is firing, some at a time, for receivers that forget what they are not reminded of. Raises SinkError."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""


async def attempt(call: Awaitable[None], name: str, timeout_seconds: float) -> SinkError | None:
    """None if the sink of this name took it, else why not. Any error of its library counts as one that may pass: other sinks go on."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await call
    except SinkError as exc:
        return exc
    except TimeoutError:
        return TryAgainError(f"no answer within {timeout_seconds:g} s")
    except Exception as exc:
        log.exception("sink %s failed in an unexpected way", name, extra={"action": "sink.error"})
        return TryAgainError(type(exc).__name__)
    return None


def is_at_least(severity: str, least: str) -> bool:
    """Whether a severity is as bad as another; one that this version does not know is the worst."""
    return severity not in _SEVERITIES or _SEVERITIES.index(severity) >= _SEVERITIES.index(least)


def sentence(alert: Alert, *, ids: bool) -> str:
    """Why, in one sentence: the record's, or one that names neither customer nor journey nor issue nor account."""
    if ids or alert.entity is None:
        return alert.why
    measured = {alert.metric.name: round(alert.metric.value, 4)} if alert.metric.value is not None else alert.metric.signals
    signals = ", ".join(f"{name} = {value}" for name, value in sorted(measured.items())) or "its condition"
    whose = "an account" if alert.entity.account_id else "a customer"
    if alert.entity.journey:
        whose += f"'s {alert.entity.journey}"
    return {
        "firing": f"{whose} has {signals}, which meets {alert.rule.text!r}",
        "amended": f"{whose} by now has {signals}, which meets {alert.rule.text!r}",
        "resolved": f"{whose} no longer meets {alert.rule.text!r}, or has ended",
        "retracted": f"{whose} did not meet {alert.rule.text!r} after all",
    }[alert.state]
