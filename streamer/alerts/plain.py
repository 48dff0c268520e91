"""The consumer, and outcomes, for programs without an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from streamer.alerts.consumer import AlertConsumer, Delivery
from streamer.alerts.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from streamer.alerts.alert import Alert
    from streamer.alerts.verdicts import Outcome, Verdict


class PlainAlertConsumer:
    """`AlertConsumer` for programs without an event loop: `with PlainAlertConsumer(...) as consumer: for delivery in consumer: ...`.

    Takes the same arguments and makes the same promises.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._arguments = (args, options)
        self._consumer: AlertConsumer | None = None

    def __enter__(self) -> PlainAlertConsumer:
        async def enter() -> AlertConsumer:
            args, options = self._arguments
            return await AlertConsumer(*args, **options).__aenter__()

        self._consumer = self._runner.run(enter())
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self._runner.run(self._opened.__aexit__(exc_type, exc, traceback))
        finally:
            self._runner.close()

    @property
    def _opened(self) -> AlertConsumer:
        if self._consumer is None:
            raise RuntimeError("use the consumer in a `with` statement")
        return self._consumer

    def active(self) -> list[Alert]:
        """What is firing now, oldest first."""
        return self._runner.run(self._opened.active())

    def stop(self) -> None:
        """End the iteration after the alert in hand; safe in a signal handler."""
        self._opened.stop()

    def __iter__(self) -> Iterator[Delivery]:
        while True:
            delivery = self._opened.take()  # most need no event loop
            if delivery is None:
                try:
                    delivery = self._runner.run(self._opened.__anext__())
                except StopAsyncIteration:
                    return
            yield delivery


class PlainOutcomes:
    """`Outcomes` for programs without an event loop: `with PlainOutcomes(url) as outcomes: outcomes.acknowledge(...)`.

    Takes the same arguments and makes the same promises.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._outcomes = Outcomes(*args, **options)

    def __enter__(self) -> PlainOutcomes:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self._runner.run(self._outcomes.__aexit__(exc_type, exc, traceback))
        finally:
            self._runner.close()

    def acknowledge(self, alert: Alert | str, *, by: str, outcome: Verdict | None = None, note: str = "") -> Outcome:
        """See `Outcomes.acknowledge`."""
        return self._runner.run(self._outcomes.acknowledge(alert, by=by, outcome=outcome, note=note))

    def all(self) -> list[Outcome]:
        """See `Outcomes.all`."""
        return self._runner.run(self._outcomes.all())
