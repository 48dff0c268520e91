"""A rule that fires for everybody at once: one summary in place of thousands, and nothing lost."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import redis as redis_client

from streamer.alerts.alert import RuleRef, decode, encode
from streamer.alerts.connection import connect
from streamer.alerts.publisher import AlertStore
from tests import alert_support
from tests.alert_support import alert, delivered, rfc3339
from tests.engine_support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamer.alerts.alert import Alert
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
client = alert_support.client

LIMIT, SECONDS = 3, 600
# The beginning of a span, some spans ago.
SPAN = datetime.fromtimestamp(datetime.now(UTC).timestamp() // SECONDS * SECONDS, UTC) - timedelta(seconds=10 * SECONDS)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[AlertStore]:
    """A store with a low limit, whose partitions 0 and 1 are open."""
    store = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, storm_limit=LIMIT, storm_seconds=SECONDS)
    for partition in (0, 1):
        await store.restore("id", partition, (), expected=None, applied=-1)
    yield store
    await store.close()


def fired(customer: str, span: int = 0, state: str = "firing", transition: int = 1, rule: str = "r") -> Alert:
    """A transition detected in the n-th span."""
    moment = rfc3339(SPAN + timedelta(seconds=span * SECONDS + 1))
    return alert(customer, state, transition, detected_at=moment, rule=RuleRef(id=rule, version=1, text="contacts >= 1"))


class Feed:
    """Publishes in the order of offsets."""

    def __init__(self, store: AlertStore, topic_id: str = "id") -> None:
        self._store, self._topic_id = store, topic_id
        self._next = [0, 0]

    async def send(self, *alerts: Alert, partition: int = 0) -> int:
        """Returns how many were held back."""
        first = self._next[partition]
        records = [(first + i, encode(one)) for i, one in enumerate(alerts)]
        self._next[partition] += len(records)
        published = await self._store.publish(self._topic_id, partition, records, after=first - 1)
        assert published.delivered == len(alerts)
        return published.held


def told(client: redis_client.Redis, settings: Settings) -> list[str]:
    """The stream: customer, or `storm`, and state."""
    return [f"{(record.get('entity') or {}).get('canonical_id', 'storm')} {record['state']}" for record in delivered(client, settings)]


async def active(store: AlertStore) -> dict[str, bool]:
    """Who is in the active set, and whether held back."""
    found = [decode(record) for record in (await store.active()).values()]
    return {(one.entity.canonical_id if one.entity else "storm"): one.held for one in found}


async def test_beyond_the_limit_one_summary_is_told_and_the_rest_is_in_the_active_set(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    feed = Feed(store)
    assert await feed.send(*[fired(f"c{i}") for i in range(5)]) == 2
    assert told(client, settings) == ["c0 firing", "c1 firing", "c2 firing", "storm firing"]
    assert await active(store) == {"c0": False, "c1": False, "c2": False, "c3": True, "c4": True, "storm": False}
    summary = delivered(client, settings)[-1]
    assert summary["why"].startswith("Rule r has fired more than 3 times within 600 s")
    assert (summary["rule"]["id"], summary["severity"], summary["runbook"]) == ("r", "warning", "docs/runbooks/alert-storm.md")


async def test_the_limit_is_of_one_rule_over_all_partitions(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    feed = Feed(store)
    assert await feed.send(fired("a"), fired("b"), fired("x", rule="other")) == 0
    assert await feed.send(fired("c"), fired("d"), partition=1) == 1
    assert told(client, settings) == ["a firing", "b firing", "x firing", "c firing", "storm firing"]


async def test_what_was_held_back_is_amended_and_ends_unheard_and_what_was_told_is_told_to_its_end(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    feed = Feed(store)
    await feed.send(*[fired(f"c{i}") for i in range(4)])
    assert await feed.send(fired("c3", state="amended", transition=2), fired("c0", state="amended", transition=2)) == 1
    assert (await active(store))["c3"] is True
    assert await feed.send(fired("c3", state="resolved", transition=3), fired("c0", state="resolved", transition=3)) == 1
    assert told(client, settings)[4:] == ["c0 amended", "c0 resolved"]
    assert (await active(store)).keys() == {"c1", "c2", "storm"}


async def test_a_storm_goes_on_while_spans_exceed_the_limit_and_ends_with_the_first_that_does_not(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    feed = Feed(store)
    await feed.send(*[fired(f"a{i}") for i in range(5)])
    await feed.send(*[fired(f"b{i}", 1) for i in range(4)])
    await feed.send(fired("c", 2))
    assert [entry for entry in told(client, settings) if "storm" in entry] == ["storm firing"]
    await feed.send(fired("d", 3))
    storms = [record for record in delivered(client, settings) if "entity" not in record]
    assert [record["state"] for record in storms] == ["firing", "resolved"]
    assert storms[1]["why"] == "Rule r fires less again; 3 alerts were not told one by one."
    assert storms[1]["metric"]["value"] == 3
    assert (len({record["episode_id"] for record in storms}), len({record["alert_id"] for record in storms})) == (1, 2)
    assert "storm" not in await active(store)
    await feed.send(*[fired(f"e{i}", 5) for i in range(4)])
    again = [record for record in delivered(client, settings) if "entity" not in record][2]
    assert (again["state"], again["fingerprint"] == storms[0]["fingerprint"]) == ("firing", True)
    assert again["episode_id"] != storms[0]["episode_id"]


async def test_a_storm_that_nothing_follows_is_ended_by_housekeeping(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    quick = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, storm_limit=LIMIT, storm_seconds=1)
    await Feed(quick).send(*[fired(f"c{i}") for i in range(4)])

    async def is_over() -> bool:
        await quick.sweep()
        return told(client, settings)[-1] == "storm resolved"

    await until(is_over, "the storm has ended")
    await quick.sweep()
    assert told(client, settings).count("storm resolved") == 1
    await quick.close()


async def test_a_storm_of_long_ago_that_is_only_now_delivered_goes_on(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    """A publisher that catches up sweeps every few seconds while it does."""
    feed = Feed(store)
    for i in range(10):
        await feed.send(fired(f"c{i}"))
        await store.sweep()
    assert [entry for entry in told(client, settings) if "storm" in entry] == ["storm firing"]


async def test_of_a_span_of_another_length_nothing_is_counted_on(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    """The number of a longer span is smaller than that of any before: it would not come for centuries."""
    await Feed(store).send(*[fired(f"c{i}") for i in range(5)])
    longer = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, storm_limit=LIMIT, storm_seconds=2 * SECONDS)
    await longer.restore("longer", 0, (), expected=None, applied=-1)
    feed = Feed(longer, "longer")
    assert [await feed.send(fired(f"d{i}", 4 + 2 * i)) for i in range(LIMIT + 2)] == [0] * (LIMIT + 2)
    await longer.close()
    assert told(client, settings)[4:] == ["storm resolved", *(f"d{i} firing" for i in range(LIMIT + 2))]


async def test_what_a_clock_that_is_ahead_fires_counts_for_the_next_span_at_most(store: AlertStore, settings: Settings) -> None:
    quick = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, storm_limit=1, storm_seconds=1)
    feed = Feed(quick)
    await feed.send(alert("tomorrow", "firing", 1, detected_at=rfc3339(datetime.now(UTC) + timedelta(days=1))))
    began = int(time.time())

    async def is_after() -> bool:
        return int(time.time()) > began + 1

    await until(is_after, "the next span has passed")
    assert await feed.send(alert("today", "firing", 1, detected_at=rfc3339(datetime.now(UTC)))) == 0
    await quick.close()


async def test_housekeeping_ends_a_storm_that_nothing_counts_any_more(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    await Feed(store).send(*[fired(f"c{i}") for i in range(5)])
    without = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix)
    await without.sweep()
    await without.close()
    assert told(client, settings)[-1] == "storm resolved"
    assert "storm" not in await active(store)


async def test_a_storm_after_redis_was_emptied_is_another_one(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    await Feed(store).send(*[fired(f"c{i}") for i in range(5)])
    client.delete(store.keys.storms, store.keys.active, store.keys.expiry)
    await Feed(store).send(*[fired(f"d{i}") for i in range(5)], partition=1)
    storms = [record for record in delivered(client, settings) if "entity" not in record]
    assert [record["state"] for record in storms] == ["firing", "firing"]
    assert len({record["episode_id"] for record in storms}) == len({record["alert_id"] for record in storms}) == 2


async def test_records_sent_again_are_not_counted_again(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    records = [(i, encode(fired(f"c{i}"))) for i in range(3)]
    for _ in range(3):
        await store.publish("id", 0, records, after=-1)
    assert told(client, settings) == ["c0 firing", "c1 firing", "c2 firing"]


async def test_without_a_limit_everything_is_told(settings: Settings, client: redis_client.Redis) -> None:
    store = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix)
    await store.restore("id", 0, (), expected=None, applied=-1)
    assert await Feed(store).send(*[fired(f"c{i}") for i in range(50)]) == 0
    await store.close()
    assert len(told(client, settings)) == 50
