"""Known bugs, planted into the product's classes by the launcher; each must be caught (`scenarios.py` says by what).

A bug is written against what the engine promises, not against how the fold works inside, with two exceptions: duplicates and
timers are the fold's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import KafkaError

from streamer import topics
from streamer.engine import opening
from streamer.engine.checkpoint import Committed, Encoded, Transactions
from streamer.engine.delivery import Publisher
from streamer.engine.owner import Owner
from streamer.journeys.customer import Customer
from streamer.journeys.processor import JourneysProcessor
from streamer.journeys.timers import Timers
from streamer.metrics.pipeline import Pipeline
from streamer.processor import MARKER_KEY, Drained
from tests.chaos.points import Points, wrap

Plant = Callable[[Points], None]


def _in_two_transactions(points: Points, ahead: Callable[[Drained, int | None], Drained | None]) -> None:
    """A checkpoint writes part of it ahead of the rest: what `ahead` makes of it and of the position that is committed already."""

    def encoding(encode: Any) -> Any:
        def encoded(transactions: Any, drained: Drained, *rest: Any) -> Encoded:
            part = ahead(drained, transactions.behind)
            transactions.ahead = None if part is None else encode(transactions, part)
            whole: Encoded = encode(transactions, drained, *rest)
            return whole

        return encoded

    def committing(commit: Any) -> Any:
        async def committed(transactions: Any, encoded: Encoded) -> Committed:
            if transactions.ahead is not None:
                await commit(transactions, transactions.ahead)
                await points.pass_by("between-transactions")
            done: Committed = await commit(transactions, encoded)
            transactions.behind = encoded.next_offset
            return done

        return committed

    Transactions.behind = None  # type: ignore[attr-defined]
    wrap(Transactions, "encode", encoding)
    wrap(Transactions, "commit", committing)


def commit_before_effect(points: Points) -> None:
    """The position is committed before what it stands for."""
    _in_two_transactions(points, lambda drained, _: drained._replace(rows=drained.rows[-1:], outputs=[], journal=[]))


def torn_checkpoint(points: Points) -> None:
    """Rows are committed before outputs and position.

    Rows are written behind their changes, a few at a time: those ahead would seldom be of anything that is not told yet. So all of them go.
    """

    def rows_only(drained: Drained, behind: int | None) -> Drained | None:
        if behind is None:
            return None
        rows = [row for row in drained.rows if row[0] != MARKER_KEY]
        return drained._replace(rows=rows, outputs=[], journal=[], next_offset=behind)

    def draining(drain: Any) -> Any:
        def drained(processor: JourneysProcessor) -> Drained:
            processor.write_all()
            whole: Drained = drain(processor)
            return whole

        return drained

    wrap(JourneysProcessor, "drain", draining)
    _in_two_transactions(points, rows_only)


def missing_dedupe(_: Points) -> None:
    """An event sent twice counts twice."""
    wrap(Customer, "has", lambda _has: lambda *_arguments: False)


def off_by_one_restore(_: Points) -> None:
    """The owner goes on one record too far."""

    def make(init: Any) -> Any:
        def initialised(owner: Owner, *arguments: Any, next_offset: int, **named: Any) -> None:
            init(owner, *arguments, next_offset=next_offset + (next_offset > 0), **named)

        return initialised

    wrap(Owner, "__init__", make)


def dropped_journal(_: Points) -> None:
    """What moved time without a record is not written down."""

    def make(encode: Any) -> Any:
        return lambda transactions, drained, *rest: encode(transactions, drained._replace(journal=[]), *rest)

    wrap(Transactions, "encode", make)


def read_uncommitted_publisher(_: Points) -> None:
    """Alerts of transactions that are never committed are delivered."""

    def make(init: Any) -> Any:
        def initialised(publisher: Publisher, *arguments: Any) -> None:
            init(publisher, *arguments)
            publisher._consumer._isolation_level = "read_uncommitted"

        return initialised

    wrap(Publisher, "__init__", make)


def stale_batch(_: Points) -> None:
    """Whatever is delivered is folded, from whichever position and epoch."""

    def folded(owner: Any, batch: Any, *_rest: Any) -> None:
        owner.processor.process(batch.records, batch.end)
        owner.next_offset = batch.end
        owner.commit_soon()

    wrap(Owner, "fold", lambda _fold: folded)


def lost_timer(_: Points) -> None:
    """Deadlines are not put back by a restore."""

    def make(restore: Any) -> Any:
        def restored(processor: JourneysProcessor, rows: Any) -> None:
            restore(processor, rows)
            processor._due = Timers()

        return restored

    wrap(JourneysProcessor, "restore", make)


def double_delta(_: Points) -> None:
    """The counter changes of one checkpoint in ten are written twice."""
    count = [0]

    def make(encode: Any) -> Any:
        def encoded(transactions: Any, drained: Drained, *rest: Any) -> Encoded:
            count[0] += 1
            twice = [output for output in drained.outputs if output.topic == topics.DELTAS] if count[0] % 10 == 0 else []
            whole: Encoded = encode(transactions, drained._replace(outputs=[*drained.outputs, *twice]), *rest)
            return whole

        return encoded

    wrap(Transactions, "encode", make)


def wrong_fence_id(_: Points) -> None:
    """Each process has a transactional id of its own: nobody fences anybody."""
    wrap(opening, "transactional_id", lambda of: lambda *place: f"{of(*place)}-{os.getpid()}")


def swallowed_send_error(_: Points) -> None:
    """A checkpoint that could not be written is taken for written."""

    def initialising(init: Any) -> Any:
        def initialised(transactions: Any, *arguments: Any, **named: Any) -> None:
            init(transactions, *arguments, **named)
            transactions.again = lambda: Transactions(*arguments, **named)

        return initialised

    def committing(commit: Any) -> Any:
        async def committed(transactions: Any, encoded: Encoded) -> Any:
            try:
                return await commit(transactions, encoded)
            except KafkaError:
                other = transactions.again()
                await other.start()
                transactions._producer = other._producer
                return Committed(encoded.next_offset, None, encoded.size_bytes, None, 0.0)

        return committed

    wrap(Transactions, "__init__", initialising)
    wrap(Transactions, "commit", committing)


def uncounted_error(_: Points) -> None:
    """A command that Redis refused is not counted."""

    def make(count: Any) -> Any:
        return lambda pipeline, outcome, *rest: None if outcome == "error" else count(pipeline, outcome, *rest)

    wrap(Pipeline, "redis_command", make)


BUGS: Final[dict[str, Plant]] = {
    "commit-before-effect": commit_before_effect,
    "torn-checkpoint": torn_checkpoint,
    "missing-dedupe": missing_dedupe,
    "off-by-one-restore": off_by_one_restore,
    "dropped-journal": dropped_journal,
    "read-uncommitted-publisher": read_uncommitted_publisher,
    "stale-batch": stale_batch,
    "lost-timer": lost_timer,
    "double-delta": double_delta,
    "wrong-fence-id": wrong_fence_id,
    "swallowed-send-error": swallowed_send_error,
    "uncounted-error": uncounted_error,
}
