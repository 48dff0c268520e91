"""Refusing to start on topics that do not fit the machine: state is bound to hash(key) mod the partition count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.engine.topic_admin import connected, observe
from streamer.errors import TopicsError
from streamer.topics import changelog_name, journal_name

if TYPE_CHECKING:
    from streamer.engine.machine import Machine
    from streamer.settings import Settings


async def check_topics(machine: Machine, settings: Settings) -> None:
    """Compare the machine's source, changelog and journal with its partition count.

    Raises:
        TopicsError: one is missing or has another count.
        UnreachableError: Kafka does not answer.
    """
    names = (settings.topic(machine.source), changelog_name(settings.app, machine.name), journal_name(settings.app, machine.name))
    async with connected(settings) as admin:
        found = await observe(admin, names)
    for name in names:
        observed = found.get(name)
        if observed is None:
            raise TopicsError(f"topic {name} does not exist: `streamer topics create` makes it")
        if observed.partitions != machine.partitions:
            raise wrong_count(name, observed.partitions, machine.partitions)


def wrong_count(name: str, observed: int, expected: int) -> TopicsError:
    """A topic that cannot be read on: a key's records and its state would be in different partitions."""
    return TopicsError(
        f"topic {name} has {observed} partitions and the machine {expected}: state is bound to the count it was created with;"
        " to grow, create topics under another app and prefix and fill them with `streamer topics refill`"
    )
