"""The users in docs/reference/alerts.md can do their work in the real Redis, and nothing beyond it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_client

from streamer.alerts import AlertConsumer, Outcomes, dead, groups
from streamer.alerts import tail as reading
from streamer.alerts.alert import encode
from streamer.alerts.connection import connect
from streamer.alerts.publisher import AlertStore
from tests import alert_support
from tests.alert_support import alert

if TYPE_CHECKING:
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
client = alert_support.client

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "alerts.md").read_text()
ROLES = ("cx-publisher", "cx-consumer", "cx-agent", "cx-operator", "cx-reader")


@pytest.fixture
def users(settings: Settings, client: redis_client.Redis) -> dict[str, str]:
    """The documented users, with this test's prefix in place of `cx:` and of `cx-`; role -> name."""
    match = re.search(r"```acl\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    names = {}
    for line in match[1].splitlines():
        _, role, rules = line.split(" ", 2)
        names[role] = role.replace("cx-", f"{settings.app}-")
        client.execute_command("ACL SETUSER", names[role], *split(rules.replace("cx:", settings.redis_prefix)))  # type: ignore[no-untyped-call]
    assert tuple(names) == ROLES
    return names


def split(rules: str) -> list[str]:
    """Words, with a selector in parentheses as one."""
    return re.findall(r"\([^)]*\)|\S+", rules)


def url_of(settings: Settings, user: str) -> str:
    return settings.redis_url.replace("redis://", f"redis://{user}:change-me@")


ALLOWED = {
    "cx-publisher": [
        "FCALL cx_alerts_apply_2 5 cx:alerts cx:alerts:active cx:alerts:expiry cx:alerts:applied cx:alerts:storms cx:alerts:wake",
        "HSET cx:alerts:storms r x",
        "FUNCTION LOAD REPLACE any",
        "XADD cx:alerts MAXLEN ~ 5 * alert x",
        "XTRIM cx:alerts MINID ~ 0",
        "HSET cx:alerts:active f r",
        "PUBLISH cx:alerts:wake 1-1",
        "HSCAN cx:alerts:active 0",
        "XINFO STREAM cx:alerts",
        "XINFO GROUPS cx:alerts",
        "HSCAN cx:alerts:outcomes 0",
        "ZREVRANGE cx:alerts:outcomes:age 0 0 WITHSCORES",
    ],
    "cx-consumer": [
        "XGROUP CREATE cx:alerts g $ MKSTREAM",
        "XREADGROUP GROUP g c COUNT 1 STREAMS cx:alerts >",
        "XACK cx:alerts g 1-1",
        "XAUTOCLAIM cx:alerts g c 1000 0-0",
        "XCLAIM cx:alerts g c 0 1-1 JUSTID",
        "XPENDING cx:alerts g",
        "XADD cx:alerts:dead * alert x",
        "HSCAN cx:alerts:active 0",
        "SUBSCRIBE cx:alerts:wake",
        "XINFO STREAM cx:alerts",
        "XINFO GROUPS cx:alerts",
    ],
    "cx-agent": [
        "FCALL cx_alerts_acknowledge_1 2 cx:alerts:outcomes cx:alerts:outcomes:age e",
        "HSET cx:alerts:outcomes e r",
        "ZADD cx:alerts:outcomes:age 1 e",
        "HSCAN cx:alerts:outcomes 0",
        "HSCAN cx:alerts:active 0",
        "XREVRANGE cx:alerts + -",
    ],
    "cx-operator": ["XRANGE cx:alerts:dead - +", "XDEL cx:alerts:dead 1-1", "HGET cx:alerts:active f"],
    "cx-reader": ["XREVRANGE cx:alerts + -", "XREAD STREAMS cx:alerts 0", "HSCAN cx:alerts:active 0"],
}
DENIED = {
    "cx-publisher": [
        "FLUSHALL", "KEYS *", "CONFIG GET *", "DEL cx:alerts", "GET other", "FCALL any 1 other", "FUNCTION FLUSH", "EVAL x 0",
        "FUNCTION DELETE cx_alerts_1", "XGROUP DESTROY cx:alerts g", "PUBLISH other x", "XADD cx:alerts:dead * a b",
        "HSET cx:alerts:outcomes e r", "ZADD cx:alerts:outcomes:age 1 e", "DEL cx:alerts:outcomes", "XINFO STREAM other",
    ],
    "cx-consumer": [
        "XADD cx:alerts * alert x", "XTRIM cx:alerts MAXLEN 0", "XDEL cx:alerts 1-1", "HSET cx:alerts:active f r",
        "HDEL cx:alerts:active f", "HGETALL cx:alerts:applied", "FCALL cx_alerts_apply_2 0", "PUBLISH cx:alerts:wake x",
        "XGROUP DESTROY cx:alerts g", "DEL cx:alerts", "SUBSCRIBE other", "GET other", "FLUSHALL", "XREAD STREAMS cx:alerts:dead 0",
        "HSCAN cx:alerts:outcomes 0", "FCALL cx_alerts_acknowledge_1 2 cx:alerts:outcomes cx:alerts:outcomes:age e",
    ],
    "cx-agent": [
        "XADD cx:alerts * alert x", "XDEL cx:alerts 1-1", "HSET cx:alerts:active f r", "HDEL cx:alerts:active f", "DEL cx:alerts:outcomes",
        "FCALL cx_alerts_apply_2 4 cx:alerts cx:alerts:active cx:alerts:expiry cx:alerts:applied", "FUNCTION LOAD REPLACE any",
        "FCALL cx_alerts_forget_1 2 cx:alerts:active cx:alerts:expiry", "XREADGROUP GROUP g c STREAMS cx:alerts >", "GET other", "FLUSHALL",
        "PUBLISH cx:alerts:wake x",
    ],
    "cx-operator": [
        "XADD cx:alerts:dead * a b", "DEL cx:alerts:dead", "XDEL cx:alerts 1-1", "XRANGE cx:alerts - +", "GET other",
        "HSET cx:alerts:active f r", "HDEL cx:alerts:active f",
    ],
    "cx-reader": [
        "XADD cx:alerts * alert x", "XREADGROUP GROUP g c STREAMS cx:alerts >", "HSET cx:alerts:active f r", "XRANGE cx:alerts - +",
        "GET other",
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_each_user_may_do_its_work_and_nothing_else(
    settings: Settings, client: redis_client.Redis, users: dict[str, str], role: str
) -> None:
    def verdicts(commands: list[str]) -> dict[str, bool]:
        found = {}
        for command in commands:
            words = [word.replace("cx:", settings.redis_prefix) for word in command.split()]
            # The client parses the reply of a dry run as that of the command it names, hence the plain connection.
            reply: Any = dry_run(client, users[role], words)
            found[command] = reply == b"OK"
        return found

    assert verdicts(ALLOWED[role]) == dict.fromkeys(ALLOWED[role], True)
    assert verdicts(DENIED[role]) == dict.fromkeys(DENIED[role], False)


def dry_run(client: redis_client.Redis, user: str, words: list[str]) -> Any:
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("ACL", "DRYRUN", user, *words)  # type: ignore[no-untyped-call]
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


async def test_publisher_consumer_agent_and_reader_work_as_their_users(settings: Settings, users: dict[str, str]) -> None:
    prefix = settings.redis_prefix
    store = AlertStore(connect(url_of(settings, users["cx-publisher"])), prefix=prefix)
    await store.ping()
    await store.restore("id", 0, (), expected=None, applied=-1)
    await store.publish("id", 0, [(0, encode(alert("ann"))), (1, encode(alert("bob")))], after=-1)
    await store.publish("id", 0, [(2, encode(alert("bob", "resolved", 2)))], after=1)
    await store.sweep()
    await store.forget([("nothing", b"")])
    assert await store.applied_offsets() == {("id", 0): 2}
    assert len(await store.active()) == 1
    await store.close()

    consumer = AlertConsumer(
        url_of(settings, users["cx-consumer"]), "desk", "c-1", prefix=prefix, start="all", max_deliveries=1, stale_after_seconds=0.1
    )
    async with consumer:
        assert len(await consumer.active()) == 1
        first = await asyncio.wait_for(anext(consumer), 20)
        first.retry_later()  # comes back once more than it may, and goes to the dead stream
        await asyncio.wait_for(anext(consumer), 20)
        last = await asyncio.wait_for(anext(consumer), 20)
        assert last.alert.state == "resolved"
        waiting = asyncio.create_task(anext(consumer))
        async with connect(settings.redis_url) as admin:
            for _ in range(200):
                if await admin.xlen(f"{prefix}alerts:dead"):
                    break
                await asyncio.sleep(0.05)
            assert await admin.xlen(f"{prefix}alerts:dead") == 1
        consumer.stop()
        with pytest.raises(StopAsyncIteration):
            await waiting

    async with Outcomes(url_of(settings, users["cx-agent"]), prefix=prefix) as outcomes:
        known = await outcomes.acknowledge(alert("bob").fingerprint, by="agent-7", outcome="saved")
        assert await outcomes.all() == [known]

    for role in ("cx-publisher", "cx-consumer"):
        store = AlertStore(connect(url_of(settings, users[role])), prefix=prefix)
        stream, [group] = await groups.read(store)
        assert (stream.added, group.name) == (3, "desk")
        if role == "cx-publisher":
            told = Outcomes(store.client, prefix=prefix)
            assert await told.mark() == await told.mark()
            assert await told.all() == [known]
        await store.close()

    store = AlertStore(connect(url_of(settings, users["cx-operator"])), prefix=prefix)
    [entry] = [entry async for entry in dead.read(store)]
    assert (entry.group, entry.reason) == ("desk", "max_deliveries")
    await dead.remove(store, entry)
    assert [entry async for entry in dead.read(store)] == []
    await store.close()

    async with connect(url_of(settings, users["cx-reader"])) as client:
        assert [entry.alert.state for entry in await reading.last(client, store.keys, 10)] == ["firing", "firing", "resolved"]
