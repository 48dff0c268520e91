"""Webhooks: signed, tried again, given up, and never in the way of another sink. Real Redis, a receiver on the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import redis as redis_client
import trustme
from aiohttp import web
from typer.testing import CliRunner

from streamer.alerts.alert import encode
from streamer.alerts.groups import GroupWatch, read
from streamer.cli import app
from streamer.engine.forwarder import MAX_DELIVERIES
from streamer.errors import DeliveryError
from tests import alert_support
from tests.alert_support import RedisWriter, alert, until
from tests.sink_support import SECRET, Receiver, Taken, forwarding, receiving, until_counted, webhook, write_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.local.redis import Redis
    from streamer.alerts import Alert
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
client = alert_support.client
writer = alert_support.writer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "forward-alerts.md").read_text()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the end of a forwarder waits for."""
    monkeypatch.setattr("streamer.alerts.consumer.BLOCK_SECONDS", 0.1)
    monkeypatch.setattr("streamer.engine.forwarder.STOP_SECONDS", 0.3)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


def dead(client: redis_client.Redis, settings: Settings) -> list[dict[str, str]]:
    entries: Any = client.xrange(f"{settings.redis_prefix}alerts:dead")
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]


def pending(client: redis_client.Redis, settings: Settings, sink: str = "crm") -> int:
    return int(client.xpending(f"{settings.redis_prefix}alerts", f"sink-{sink}")["pending"])


async def command(settings: Settings, path: Path) -> asyncio.subprocess.Process:
    """`streamer alerts forward` in a process of its own, called `one`."""
    own = {"REDIS_URL": settings.redis_url, "REDIS_PREFIX": settings.redis_prefix, "METRICS_PORT": "0"}
    environment = {**os.environ, **{f"STREAMER_{name}": value for name, value in own.items()}}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamer", "alerts", "forward", "--config", str(path), "--name", "one", "--json",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_a_webhook_gets_each_record_as_it_stands_in_redis_in_order_and_signed(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    records: list[Alert | bytes] = [alert("ann"), alert("ann", "amended", 2), alert("bob"), alert("ann", "resolved", 3)]
    newer = json.dumps({**json.loads(encode(alert("carl"))), "of_a_newer_version": 1}).encode()
    await writer.write(*records, newer)
    async with forwarding(settings, write_config(tmp_path, webhook(receiver))) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 5, task)
    stored: Any = client.xrange(f"{settings.redis_prefix}alerts")
    assert [taken.body for taken in receiver.taken] == [fields[b"alert"] for _, fields in stored]
    assert b"of_a_newer_version" in receiver.taken[-1].body
    assert pending(client, settings) == 0
    verify = verification()
    for taken in receiver.taken:
        assert taken.headers["Content-Type"] == "application/json"
        assert taken.headers["X-Streamer-Alert-Id"] == taken.record["alert_id"]
        assert verify(taken.headers, taken.body, SECRET)


def verification() -> Any:
    """The receiver's side, as the how-to shows it."""
    match = re.search(r"```python\n(import hashlib.*?)```", PAGE, re.DOTALL)
    assert match is not None
    names: dict[str, Any] = {}
    exec(match[1], names)  # noqa: S102  our own page
    return names["verified"]


def test_the_receivers_side_refuses_what_is_forged_changed_or_old() -> None:
    from streamer.sinks.webhook import signature

    verify = verification()
    now = str(int(time.time()))
    body = b'{"alert_id":"a"}'

    def headers(timestamp: str = now, secret: str = SECRET, signed: bytes = body) -> dict[str, str]:
        return {"X-Streamer-Timestamp": timestamp, "X-Streamer-Signature": signature(secret.encode(), timestamp, signed)}

    assert verify(headers(), body, SECRET)
    assert not verify(headers(secret="another secret"), body, SECRET)  # noqa: S106
    assert not verify(headers(signed=b"{}"), body, SECRET)
    assert not verify(headers(timestamp=str(int(now) - 3600)), body, SECRET)
    assert not verify({**headers(), "X-Streamer-Timestamp": str(int(now) - 1)}, body, SECRET)
    assert not verify({}, body, SECRET)


@pytest.mark.parametrize(
    "hostile", [{"X-Streamer-Signature": "sha256=\u00e9\udcff"}, {"X-Streamer-Timestamp": "9" * 400}, {"X-Streamer-Timestamp": "9" * 4_400}]
)
def test_the_receivers_side_says_no_to_whatever_else_headers_hold(hostile: dict[str, str]) -> None:
    headers = {"X-Streamer-Timestamp": str(int(time.time())), "X-Streamer-Signature": "sha256=0"}
    assert verification()({**headers, **hostile}, b"{}", SECRET) is False


@pytest.mark.parametrize("status", [500, 429, 408, 401])
async def test_what_may_pass_is_tried_again_in_order(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path, status: int
) -> None:
    receiver.replies(status, status, status)
    await writer.write(alert("ann"), alert("bob"))
    async with forwarding(settings, write_config(tmp_path, webhook(receiver))) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 2, task)
    assert receiver.customers() == ["ann", "ann", "ann", "ann", "bob"]
    assert forwarder.counts()["crm"] == {"delivered": 2, "filtered": 0, "failed": 3, "dead": 0, "trimmed": 0}
    assert dead(client, settings) == []


@pytest.mark.parametrize("status", [400, 404, 301])
async def test_what_the_receiver_refuses_goes_to_the_dead_letters_at_once(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path, status: int
) -> None:
    receiver.replies(status)
    await writer.write(alert("ann"), alert("bob"))
    async with forwarding(settings, write_config(tmp_path, webhook(receiver))) as (forwarder, task):
        await until_counted(forwarder, "crm", "dead", 1, task)
        assert forwarder.ready() is None, "the sink is well, it does not want this one"
        await until_counted(forwarder, "crm", "delivered", 1, task)
    assert receiver.customers() == ["ann", "bob"]
    [letter] = dead(client, settings)
    assert (letter["group"], letter["consumer"], letter["reason"]) == ("sink-crm", "here", f"HTTP {status}")
    assert json.loads(letter["alert"])["entity"]["canonical_id"] == "ann"
    assert forwarder.counts()["crm"] == {"delivered": 1, "filtered": 0, "failed": 1, "dead": 1, "trimmed": 0}
    assert pending(client, settings) == 0


async def test_what_was_not_taken_for_too_long_is_given_up_and_the_next_gets_its_turn(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    async def answer(taken: Taken) -> web.Response:
        return web.Response(status=500 if taken.record["entity"]["canonical_id"] == "ann" else 204)

    receiver.answer = answer
    await writer.write(alert("ann"), alert("bob"))
    async with forwarding(settings, write_config(tmp_path, webhook(receiver, more='give_up_after = "1s"'))) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 1, task)
    assert receiver.customers().count("ann") >= 5
    assert [letter["reason"] for letter in dead(client, settings)] == ["HTTP 500"]


async def test_retry_after_is_waited_for(settings: Settings, receiver: Receiver, writer: RedisWriter, tmp_path: Path) -> None:
    at: list[float] = []
    receiver.replies(429, Retry_After="1")
    original = receiver.answer

    async def answer(taken: Taken) -> web.Response:
        at.append(time.monotonic())
        assert original is not None
        return await original(taken)

    receiver.answer = answer
    await writer.write(alert("ann"))
    async with forwarding(settings, write_config(tmp_path, webhook(receiver))) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 1, task)
    assert at[1] - at[0] >= 1.0


async def test_a_receiver_that_is_down_or_hangs_is_waited_for(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter, tmp_path: Path, unused_tcp_port: int
) -> None:
    await writer.write(alert("ann"))
    path = write_config(tmp_path, webhook(Receiver(unused_tcp_port), more='timeout = "200ms"'))
    async with forwarding(settings, path) as (forwarder, task):
        await until(lambda: (forwarder.ready() or "").startswith("crm: cannot be reached"), "the reason", task=task)
        async with receiving(unused_tcp_port) as receiver:

            async def hang(_taken: Taken) -> web.Response:
                await asyncio.sleep(3600)
                raise AssertionError

            receiver.answer = hang
            await until(lambda: forwarder.ready() == "crm: no answer within 0.2 s", "the other reason", task=task)
            receiver.answer = None
            await until_counted(forwarder, "crm", "delivered", 1, task)
            assert forwarder.ready() is None
    assert dead(client, settings) == []


async def test_one_slow_sink_never_delays_another(settings: Settings, writer: RedisWriter, tmp_path: Path) -> None:
    async with receiving() as slow, receiving() as broken, receiving() as quick:

        async def hang(_taken: Taken) -> web.Response:
            await asyncio.sleep(3600)
            raise AssertionError

        slow.answer = hang
        broken.replies(*[500] * 10_000)
        path = write_config(tmp_path, webhook(slow, "slow"), webhook(broken, "broken"), webhook(quick, "quick"))
        async with forwarding(settings, path) as (forwarder, task):
            began = time.monotonic()
            for n in range(20):
                await writer.write(alert(f"k{n}"))
            await until_counted(forwarder, "quick", "delivered", 20, task)
            took = time.monotonic() - began
            await until(lambda: bool(slow.taken) and bool(broken.taken), "the others to have begun", task=task)
            assert forwarder.counts()["slow"]["delivered"] == forwarder.counts()["broken"]["delivered"] == 0
    assert quick.customers() == [f"k{n}" for n in range(20)]
    assert took < 5, "the slow one takes 10 s for its first attempt"


async def test_only_what_is_wanted_is_sent(settings: Settings, receiver: Receiver, writer: RedisWriter, tmp_path: Path) -> None:
    from streamer.alerts.alert import RuleRef

    other = RuleRef(id="other", version=1, text="x")
    await writer.write(
        alert("minor", severity="info"),
        alert("other", rule=other),
        alert("ann"),
        alert("ann", "amended", 2),
        alert("worse", severity="critical"),
        alert("unheard-of", severity="catastrophe"),
    )
    more = 'severity = "warning"\nrules = ["abandoned-with-friction"]\nstates = ["firing"]'
    async with forwarding(settings, write_config(tmp_path, webhook(receiver, more=more))) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 3, task)
    assert receiver.customers() == ["ann", "worse", "unheard-of"]
    assert forwarder.counts()["crm"]["filtered"] == 3


async def test_what_was_not_taken_when_it_was_stopped_comes_first_next_time(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    receiver.replies(*[503] * 10_000)
    await writer.write(alert("ann"), alert("bob"))
    path = write_config(tmp_path, webhook(receiver))
    async with forwarding(settings, path, backoff_seconds=(30.0, 30.0)) as (forwarder, task):
        await until_counted(forwarder, "crm", "failed", 1, task)
        began = time.monotonic()
    assert time.monotonic() - began < 5, "a pause does not hold up the end"
    assert pending(client, settings) == 2
    receiver.answer = None
    receiver.taken.clear()
    async with forwarding(settings, path) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 2, task)
    assert receiver.customers() == ["ann", "bob"]
    assert pending(client, settings) == 0


async def test_while_it_is_tried_again_nobody_else_gets_it(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.engine.forwarder.STALE_SECONDS", 1.0)
    monkeypatch.setattr("streamer.sinks.forwarding.STALE_SECONDS", 1.0)
    path = write_config(tmp_path, webhook(receiver))
    receiver.replies(*[503] * 10_000)
    await writer.write(alert("ann"))
    async with forwarding(settings, path, name="first", backoff_seconds=(0.5, 0.5)) as (first, first_task):
        await until_counted(first, "crm", "failed", 1, first_task)
        async with forwarding(settings, path, name="second") as (second, second_task):
            await until_counted(first, "crm", "failed", 8, first_task)  # two to four seconds
            assert second.counts()["crm"]["failed"] == 0
            assert not second_task.done()
            receiver.answer = None
            await until_counted(first, "crm", "delivered", 1, first_task)


async def test_the_endpoint_tells_lag_outcomes_and_who_does_not_take(
    settings: Settings, receiver: Receiver, writer: RedisWriter, tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.engine.forwarder.LAG_SECONDS", 0.05)
    receiver.replies(*[503] * 10_000)
    await writer.write(alert("wilhelmina"), alert("bob"), alert("carl"))
    changed = settings.model_copy(update={"metrics_port": unused_tcp_port - 4})
    async with forwarding(changed, write_config(tmp_path, webhook(receiver))) as (forwarder, task), aiohttp.ClientSession() as session:

        async def fetch(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{unused_tcp_port}{path}") as response:
                return response.status, await response.text()

        def lag() -> float | None:
            return forwarder.metrics.registry.get_sample_value("streamer_sink_lag_records", {"role": "forwarder", "sink": "crm"})

        await until_counted(forwarder, "crm", "failed", 1, task)
        await until(lambda: lag() == 3, "the lag", task=task)
        assert await fetch("/readyz") == (503, "crm: HTTP 503\n")
        receiver.answer = None
        await until_counted(forwarder, "crm", "delivered", 3, task)
        await until(lambda: lag() == 0, "no lag", task=task)
        assert await fetch("/readyz") == (200, "ok\n")
        _, metrics = await fetch("/metrics")
        monkeypatch.setenv("STREAMER_METRICS_PORT", str(changed.metrics_port))
        checked = await asyncio.to_thread(CliRunner().invoke, app, ["healthcheck", "--role", "forwarder", "--ready"])
        assert (checked.exit_code, checked.stdout) == (0, "forwarder: ok\n")
    assert 'streamer_sink_deliveries_total{outcome="delivered",role="forwarder",sink="crm"} 3.0' in metrics
    assert 'streamer_sink_delivery_duration_seconds_count{role="forwarder",sink="crm"} 3.0' in metrics
    assert "wilhelmina" not in metrics


async def test_a_sink_that_fell_behind_the_streams_bounds_is_told_by_what_it_lost(settings: Settings, client: redis_client.Redis) -> None:
    stream = f"{settings.redis_prefix}alerts"
    writer = RedisWriter(settings)
    await writer.write(alert("first"))
    client.xgroup_create(stream, "slow", "$")
    client.xgroup_create(stream, "quick", "0")
    watch = GroupWatch()
    watch.look(*await read(writer.store))
    await writer.write(*(alert(f"k{n}") for n in range(30)))
    client.xreadgroup("quick", "c", {stream: ">"}, count=100)
    assert {name: (look.unread, look.pending) for name, look in watch.look(*await read(writer.store)).items()} == {
        "slow": (30, 0), "quick": (0, 31),
    }  # fmt: skip
    client.xtrim(stream, maxlen=10, approximate=False)
    assert {name: look.lost for name, look in watch.look(*await read(writer.store)).items()} == {"slow": 20, "quick": 0}
    client.xreadgroup("slow", "c", {stream: ">"}, count=3)
    assert watch.look(*await read(writer.store))["slow"][:3] == (7, 3, 0)
    client.xtrim(stream, maxlen=2, approximate=False)
    assert watch.look(*await read(writer.store))["slow"].lost == 5
    client.xreadgroup("slow", "c", {stream: ">"}, count=100)
    assert watch.look(*await read(writer.store))["slow"][:3] == (0, 5, 0)
    await writer.store.close()


async def test_a_redis_that_is_away_is_waited_for(
    settings: Settings, client: redis_client.Redis, redis_server: Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    await writer.write(alert("ann"))
    async with forwarding(settings, write_config(tmp_path, webhook(receiver))) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 1, task)
        await asyncio.to_thread(redis_server.stop)
        await asyncio.to_thread(redis_server.start)
        await writer.write(alert("bob"))
        await until_counted(forwarder, "crm", "delivered", 2, task)
    assert receiver.customers() == ["ann", "bob"]


async def test_a_redis_that_refuses_for_good_ends_it_with_one_sentence(settings: Settings, receiver: Receiver, tmp_path: Path) -> None:
    denied = settings.model_copy(update={"redis_url": settings.redis_url.replace("redis://", "redis://nobody:wrong@")})
    with pytest.raises(DeliveryError, match="rejects the user or the password"):
        async with forwarding(denied, write_config(tmp_path, webhook(receiver))) as (_, task):
            await asyncio.wait_for(task, 30)


async def test_the_command_forwards_until_sigterm_and_says_what_it_did(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    receiver.replies(503, 400)
    await writer.write(alert("wilhelmina"), alert("bob"), alert("minor", severity="info"))
    path = write_config(tmp_path, webhook(receiver, more='severity = "warning"'))
    process = await command(settings, path)
    try:
        await until(lambda: len(receiver.taken) == 3 and pending(client, settings) == 0, "the alerts")
        process.terminate()
        printed, logged = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, logged.decode()
    assert json.loads(printed) == {"crm": {"delivered": 1, "filtered": 1, "failed": 2, "dead": 1, "trimmed": 0}}
    entries = [json.loads(line) for line in logged.decode().splitlines()]
    assert [entry["action"] for entry in entries] == ["endpoint.listening", "sink.waiting", "dead", "sink.gave_up", "sink.forwarding"]
    assert "wilhelmina" not in logged.decode()
    assert SECRET not in logged.decode()


async def test_what_the_stream_lost_while_it_was_in_hand_is_counted(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    receiver.replies(*[503] * 10_000)
    await writer.write(alert("ann"), alert("bob"), alert("carl"))
    path = write_config(tmp_path, webhook(receiver))
    async with forwarding(settings, path) as (forwarder, task):
        await until_counted(forwarder, "crm", "failed", 1, task)
    client.xtrim(f"{settings.redis_prefix}alerts", maxlen=1, approximate=False)
    receiver.answer = None
    async with forwarding(settings, path) as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 1, task)
        await until_counted(forwarder, "crm", "trimmed", 2, task)
    assert receiver.customers()[-1] == "carl"


async def test_what_was_in_hand_in_too_many_starts_is_given_up_and_counted(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    receiver.replies(*[503] * 10_000)
    await writer.write(alert("ann"), alert("bob"))
    path = write_config(tmp_path, webhook(receiver))
    async with forwarding(settings, path, name="one") as (forwarder, task):
        await until_counted(forwarder, "crm", "failed", 1, task)
    stream = f"{settings.redis_prefix}alerts"
    (in_hand,) = client.xpending_range(stream, "sink-crm", "-", "+", 1)
    client.xclaim(stream, "sink-crm", "one", 0, [in_hand["message_id"]], retrycount=MAX_DELIVERIES, justid=True)
    receiver.answer = None
    async with forwarding(settings, path, name="one") as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 1, task)
        await until_counted(forwarder, "crm", "dead", 1, task)
    assert receiver.customers()[-1] == "bob"


async def test_a_process_that_is_killed_while_it_hands_over_loses_nothing(
    settings: Settings, client: redis_client.Redis, receiver: Receiver, writer: RedisWriter, tmp_path: Path
) -> None:
    await writer.write(alert("ann"), alert("bob"))
    path = write_config(tmp_path, webhook(receiver))

    async def hang(_taken: Taken) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    receiver.answer = hang
    process = await command(settings, path)
    try:
        await until(lambda: bool(receiver.taken), "the first attempt")
    finally:
        process.kill()
        await process.communicate()
    receiver.answer = None
    async with forwarding(settings, path, name="one") as (forwarder, task):
        await until_counted(forwarder, "crm", "delivered", 2, task)
    assert receiver.customers() == ["ann", "ann", "bob"]
    assert pending(client, settings) == 0


async def test_over_tls_the_receivers_certificate_is_checked(settings: Settings, writer: RedisWriter, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    await writer.write(alert("ann"))
    async with receiving(tls=context) as receiver:
        path = write_config(tmp_path, webhook(receiver, "trusting", 'ca_file = "ca.pem"'), webhook(receiver, "strict"))
        async with forwarding(settings, path) as (forwarder, task):
            await until_counted(forwarder, "trusting", "delivered", 1, task)
            await until(lambda: (forwarder.ready() or "").startswith("strict: certificate not accepted"), "the refusal", task=task)
    assert receiver.customers() == ["ann"]
