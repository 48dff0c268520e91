"""The function library in the real Redis: what one call promises."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from streamer.alerts.alert import encode
from streamer.alerts.connection import RedisUnavailableError, connect
from streamer.alerts.publisher import ATTEMPTS, LIBRARY, ActiveRecord, AlertStore, OutOfStepError
from streamer.errors import DeliveryError
from tests import alert_support
from tests.alert_support import active_customers, alert, customers, delivered, settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.local.redis import Redis
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
client = alert_support.client
FAR_MS = 4_000_000_000_000  # 2096


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[AlertStore]:
    """A store whose partition 0 is open, with nothing applied."""
    store = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, stream_length=100, stream_age_seconds=60)
    await store.restore("id", 0, (), expected=None, applied=-1)
    yield store
    await store.close()


async def test_a_batch_is_stamped_delivered_and_remembered(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    published = await store.publish("id", 0, [(3, encode(alert("ann"))), (7, encode(alert("bob", "resolved", 2)))], after=-1)
    assert (published.delivered, published.present, published.undecodable) == (2, 0, [])
    assert await store.applied_offsets() == {("id", 0): 7}
    assert customers(client, settings) == ["ann", "bob"]
    assert active_customers(client, settings) == ["ann"]
    assert all("published_at" in record for record in delivered(client, settings))


async def test_what_was_applied_is_ignored_and_the_rest_of_the_batch_is_not(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    await store.publish("id", 0, [(0, encode(alert("ann"))), (1, encode(alert("bob")))], after=-1)
    again = await store.publish("id", 0, [(0, encode(alert("ann"))), (1, encode(alert("bob"))), (2, encode(alert("carl")))], after=-1)
    assert (again.delivered, again.present, len(again.detected_ms)) == (1, 2, 1)
    assert customers(client, settings) == ["ann", "bob", "carl"]


async def test_an_old_firing_sent_again_does_not_undo_a_resolution(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    await store.publish("id", 0, [(0, encode(alert("ann"))), (1, encode(alert("ann", "resolved", 2)))], after=-1)
    await store.publish("id", 0, [(0, encode(alert("ann")))], after=-1)
    assert active_customers(client, settings) == []


async def test_partitions_and_topics_are_counted_apart(store: AlertStore) -> None:
    await store.restore("id", 1, (), expected=None, applied=-1)
    await store.restore("other", 0, (), expected=None, applied=9)
    await store.publish("id", 1, [(5, encode(alert("ann")))], after=-1)
    assert await store.applied_offsets() == {("id", 0): -1, ("id", 1): 5, ("other", 0): 9}


async def test_a_batch_without_a_single_alert_moves_the_offset(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    published = await store.publish("id", 0, [(4, b"{"), (5, None), (6, encode(alert("ann", expires_at="soon")))], after=-1)
    assert published.undecodable == [4, 5, 6]
    assert await store.applied_offsets() == {("id", 0): 6}
    assert delivered(client, settings) == []


async def test_a_redis_that_knows_less_than_it_should_refuses_and_says_what_it_knows(store: AlertStore, client: redis_client.Redis) -> None:
    await store.publish("id", 0, [(0, encode(alert("ann")))], after=-1)
    with pytest.raises(OutOfStepError) as behind:
        await store.publish("id", 0, [(9, encode(alert("bob")))], after=8)
    assert behind.value.applied == 0
    with pytest.raises(OutOfStepError) as unknown:
        await store.publish("new", 0, [(0, encode(alert("bob")))], after=-1)
    assert unknown.value.applied is None
    assert await store.applied_offsets() == {("id", 0): 0}


async def test_the_stream_is_bounded_by_length(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    for start in range(0, 1000, 100):
        await store.publish("id", 0, [(start + n, encode(alert(f"k{start + n}"))) for n in range(100)], after=start - 1)
    length: Any = client.xlen(f"{settings.redis_prefix}alerts")
    assert 100 <= length <= 100 + 100, "trimming is exact to one node of the stream"
    assert customers(client, settings)[-1] == "k999"


async def test_the_stream_is_bounded_by_age(settings: Settings, client: redis_client.Redis, store: AlertStore) -> None:
    client.delete(f"{settings.redis_prefix}alerts")
    for n in range(300):
        client.xadd(f"{settings.redis_prefix}alerts", {"alert": encode(alert("old"))}, id=f"1000-{n + 1}")
    await store.publish("id", 0, [(0, encode(alert("ann")))], after=-1)
    names = customers(client, settings)
    assert names[-1] == "ann"
    assert len(names) < 100, "only what shares a node with the new entry is left"


async def test_what_has_expired_leaves_the_active_set_with_the_next_alert_or_sweep(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    await store.publish("id", 0, [(0, encode(alert("ann", expires_in_seconds=0.3))), (1, encode(alert("bob")))], after=-1)
    assert active_customers(client, settings) == ["ann", "bob"]
    await asyncio.sleep(0.4)
    assert await store.sweep() == 1
    assert active_customers(client, settings) == ["bob"]
    await store.publish("id", 0, [(2, encode(alert("late", expires_in_seconds=-5)))], after=1)
    assert active_customers(client, settings) == ["bob"], "expired on arrival: told, but not firing"
    assert customers(client, settings)[-1] == "late"
    assert client.zcard(f"{settings.redis_prefix}alerts:expiry") == 1


async def test_a_wake_names_the_last_entry(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    channel = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    channel.subscribe(f"{settings.redis_prefix}alerts:wake")
    channel.get_message(timeout=5)
    await store.publish("id", 0, [(0, encode(alert("ann"))), (1, encode(alert("bob")))], after=-1)
    message: Any = channel.get_message(timeout=5)
    newest: Any = client.xrevrange(f"{settings.redis_prefix}alerts", count=1)
    assert message["data"] == newest[0][0]
    channel.close()


async def test_a_call_refused_half_way_would_be_half_a_call_so_types_are_looked_at_first(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    client.delete(f"{settings.redis_prefix}alerts:expiry")
    client.set(f"{settings.redis_prefix}alerts:expiry", "somebody else's")
    with pytest.raises(DeliveryError, match="another type"):
        await store.publish("id", 0, [(0, encode(alert("ann")))], after=-1)
    assert delivered(client, settings) == []
    assert active_customers(client, settings) == []
    assert await store.applied_offsets() == {("id", 0): -1}


async def test_a_server_without_the_library_gets_it(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    client.function_flush("SYNC")
    await store.publish("id", 0, [(0, encode(alert("ann")))], after=-1)
    assert customers(client, settings) == ["ann"]


async def test_a_publisher_puts_its_library_in_the_place_of_another_version_s(settings: Settings, client: redis_client.Redis) -> None:
    client.function_load(LIBRARY + "\n-- of another version", replace=True)
    store = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, installs=True)
    await store.sweep()
    assert _loaded(client) == LIBRARY
    client.function_load(LIBRARY + "\n-- of a newer one, whose publisher came later", replace=True)
    await store.sweep()
    assert _loaded(client) != LIBRARY, "it is put there once"
    await store.close()
    client.function_load(LIBRARY, replace=True)


async def test_a_publisher_whose_user_may_not_load_works_with_what_an_operator_has_loaded(
    settings: Settings, client: redis_client.Redis, request: pytest.FixtureRequest
) -> None:
    client.function_load(LIBRARY, replace=True)
    client.acl_setuser("no-load", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-function|load"], reset=True)
    request.addfinalizer(lambda: client.acl_deluser("no-load"))
    store = AlertStore(connect(settings.redis_url.replace("://", "://no-load:x@", 1)), prefix=settings.redis_prefix, installs=True)
    assert await store.sweep() == 0
    await store.close()


async def test_a_replica_that_takes_no_library_is_waited_for_and_left_as_for_any_command(
    settings: Settings, client: redis_client.Redis, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.alerts.publisher.BACKOFF_SECONDS", 0.01)
    refused: list[str] = []
    store = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix, installs=True, on_refused=refused.append)
    connections = client.info("stats")["total_connections_received"]
    client.replicaof("127.0.0.1", "1")
    request.addfinalizer(lambda: client.replicaof("NO", "ONE"))
    with pytest.raises(RedisUnavailableError, match="read-only replica"):
        await store.sweep()
    assert refused == ["readonly"] * ATTEMPTS
    assert client.info("stats")["total_connections_received"] - connections >= ATTEMPTS, "each time the name is asked anew"
    client.replicaof("NO", "ONE")
    assert await store.sweep() == 0
    await store.close()


def _loaded(client: redis_client.Redis) -> str:
    libraries: Any = client.function_list("cx_alerts_1", withcode=True)
    [code] = [library[library.index(b"library_code") + 1] for library in libraries]
    return str(code.decode())


def test_the_library_names_only_commands_of_redis_7_0(client: redis_client.Redis) -> None:
    """This server is 7.0: what it loads and runs there is; and the names carry a version."""
    info: Any = client.info("server")
    assert info["redis_version"].startswith("7.0."), "the tests' server is the baseline"
    client.function_load(LIBRARY, replace=True)
    listed: Any = client.function_list(library="cx_alerts_1")
    assert b"cx_alerts_apply_2" in str(listed).encode()


async def test_a_restore_waits_for_nobody_and_overwrites_nobody(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    await store.publish("id", 0, [(0, encode(alert("ann"))), (1, encode(alert("bob")))], after=-1)
    states = [(alert("carl").fingerprint, ActiveRecord(encode(alert("carl")), FAR_MS)), (alert("ann").fingerprint, ActiveRecord(None, 0))]
    assert await store.restore("id", 0, states, expected=0, applied=None) == 1, "somebody applied offset 1 meanwhile"
    assert active_customers(client, settings) == ["ann", "bob"]
    assert await store.restore("id", 0, states, expected=1, applied=None) is None
    assert active_customers(client, settings) == ["bob", "carl"]
    assert customers(client, settings) == ["ann", "bob"], "the stream is left as it is"
    assert await store.applied_offsets() == {("id", 0): 1}


async def test_a_restore_of_many_parts_stores_the_offset_with_the_last(
    store: AlertStore, settings: Settings, client: redis_client.Redis
) -> None:
    states = [(f"f{n:04}", ActiveRecord(encode(alert(f"k{n}")), FAR_MS)) for n in range(1203)]
    assert await store.restore("wiped", 0, states, expected=None, applied=77) is None
    assert len(await store.active()) == 1203
    assert (await store.applied_offsets())["wiped", 0] == 77


async def test_forgetting_spares_what_has_changed(store: AlertStore, settings: Settings, client: redis_client.Redis) -> None:
    await store.publish("id", 0, [(0, encode(alert("ann"))), (1, encode(alert("bob")))], after=-1)
    seen = await store.active()
    await store.publish("id", 0, [(2, encode(alert("bob", "amended", 2)))], after=1)
    assert await store.forget(seen.items()) == 1
    assert active_customers(client, settings) == ["bob"]


BATCHES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=25)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, lost=st.integers(0, 3))
def test_any_overlap_and_repetition_of_batches_delivers_each_offset_once_and_in_order(
    redis_server: Redis, unique: str, batches: list[tuple[int, int]], lost: int
) -> None:
    """Two owners, restarts and lost replies in any mixture: an owner asks where to go on, or sends what it sent before."""
    config = settings_for(f"{unique}{abs(hash((tuple(batches), lost)))}", None, redis_server)

    async def run() -> list[int]:
        store = AlertStore(connect(config.redis_url), prefix=config.redis_prefix)
        await store.restore("id", 0, (), expected=None, applied=-1)
        for start, count in batches:
            records = [(offset, encode(alert(f"k{offset}"))) for offset in range(start, start + count)]
            for _ in range(1 + lost):
                with contextlib.suppress(OutOfStepError):  # a batch that would leave a gap
                    await store.publish("id", 0, records, after=start - 1)
        await store.close()
        return [int(name[1:]) for name in customers(redis_client.Redis.from_url(config.redis_url), config)]

    reached = -1
    for start, count in batches:
        if start <= reached + 1:
            reached = max(reached, start + count - 1)
    assert asyncio.run(run()) == list(range(reached + 1))


def test_the_record_in_the_stream_is_the_record_in_the_active_set(settings: Settings, client: redis_client.Redis) -> None:
    async def run() -> None:
        store = AlertStore(connect(settings.redis_url), prefix=settings.redis_prefix)
        await store.restore("id", 0, (), expected=None, applied=-1)
        await store.publish("id", 0, [(0, encode(alert("ann")))], after=-1)
        await store.close()

    asyncio.run(run())
    [record] = delivered(client, settings)
    stored: Any = client.hget(f"{settings.redis_prefix}alerts:active", record["fingerprint"])
    assert json.loads(stored) == record
