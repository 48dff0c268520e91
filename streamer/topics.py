"""Logical topic names, and the names they have in Kafka."""

from __future__ import annotations

from typing import Final

TOUCHPOINTS: Final = "touchpoints"
DELTAS: Final = "deltas"
ALERTS: Final = "alerts"
DEAD_LETTERS: Final = "dead-letters"
LATE: Final = "late"
AGGREGATE_ALERTS: Final = "aggregate-alerts"

ALL: Final = (TOUCHPOINTS, DELTAS, ALERTS, DEAD_LETTERS, LATE, AGGREGATE_ALERTS)


def kafka_name(logical: str, prefix: str = "cx.") -> str:
    """The topic's name in Kafka: `cx.dead-letters.v1` for `dead-letters`."""
    return f"{prefix}{logical}.v1"


def changelog_name(app: str, machine: str) -> str:
    """The changelog's name; Faust names a table's changelog the same way."""
    return f"{app}-{machine}-changelog"


def journal_name(app: str, machine: str) -> str:
    """The name of the topic with what influenced the fold but was not in the source."""
    return f"{app}-{machine}-journal"
