"""What sinks gave up is shown, and handed over once more. Real Redis, a receiver on the loopback."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from streamer.alerts import dead
from streamer.alerts.alert import encode
from streamer.cli import app
from streamer.errors import InputError
from tests import alert_support
from tests.alert_support import RedisWriter, alert
from tests.sink_support import Receiver, Taken, forwarding, receiving, until_counted, webhook, write_config

if TYPE_CHECKING:
    from pathlib import Path

    import redis as redis_client
    from aiohttp import web

    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
client = alert_support.client
writer = alert_support.writer


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.alerts.consumer.BLOCK_SECONDS", 0.1)
    monkeypatch.setenv("STREAMER_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("STREAMER_REDIS_PREFIX", settings.redis_prefix)


async def run(*words: str) -> Any:
    """A command, in a thread: the receiver has the event loop."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["alerts", *words])


async def give_up(settings: Settings, writer: RedisWriter, receiver: Receiver, path: Path, *names: str) -> None:
    """Let the sink refuse alerts of these customers."""
    await writer.write(*(alert(name) for name in names))
    receiver.replies(*[400] * len(names))
    async with forwarding(settings, path) as (forwarder, task):
        await until_counted(forwarder, "crm", "dead", len(names), task)
    receiver.taken.clear()


async def test_what_was_given_up_is_shown_and_handed_over_once_more(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "PAGE", 2)
    async with receiving() as receiver:
        path = write_config(tmp_path, webhook(receiver))
        await give_up(settings, writer, receiver, path, "ann", "bob", "carl")
        stream = f"{settings.redis_prefix}alerts:dead"
        client.xadd(stream, {"alert": b"{}", "group": "other", "reason": "undecodable", "deliveries": "x"})

        lines = (await run("dead")).stdout.splitlines()
        assert [line.split("  ")[1:3] for line in lines] == [["sink-crm", "HTTP 400"]] * 3 + [["other", "undecodable"]]
        assert lines[0].endswith(f"abandoned-with-friction firing {alert('ann').alert_id}")
        rows = [json.loads(line) for line in (await run("dead", "--group", "sink-crm", "--json")).stdout.splitlines()]
        assert [row["alert"]["entity"]["canonical_id"] for row in rows] == ["ann", "bob", "carl"]
        assert rows[0].keys() == {"id", "entry_id", "group", "consumer", "deliveries", "reason", "alert"}

        async def answer(taken: Taken) -> web.Response:
            from aiohttp import web

            return web.Response(status=422 if taken.record["entity"]["canonical_id"] == "bob" else 200)

        receiver.answer = answer
        done = await run("redrive", "--config", str(path), "--sink", "crm", "--json")
        assert done.exit_code == 1
        assert json.loads(done.stdout) == {"delivered": 2, "kept": 1, "reason": "HTTP 422", "expired": 0, "ended": 0}
        assert receiver.customers() == ["ann", "bob", "carl"]

        receiver.answer = None
        receiver.taken.clear()
        done = await run("redrive", "--config", str(path), "--sink", "crm")
        assert (done.exit_code, done.stdout) == (0, "1 delivered, 0 left\n")
        assert receiver.customers() == ["bob"]
    assert client.xlen(stream) == 1, "what is not the sink's stays"


async def test_people_are_not_told_of_what_has_expired_meanwhile_and_programs_are(
    settings: Settings, client: redis_client.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = f"{settings.redis_prefix}alerts:dead"
    async with receiving() as receiver:
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{receiver.port}/chat")
        path = write_config(tmp_path, webhook(receiver), 'name = "team"\nkind = "apprise"\nurl_env = "TEAM_URL"')
        gone = encode(alert("ann", expires_in_seconds=-1))
        for sink in ("team", "crm"):
            entry: dict[Any, Any] = {
                "alert": gone,
                "entry_id": "1-0",
                "group": f"sink-{sink}",
                "consumer": "c",
                "deliveries": 1,
                "reason": "HTTP 503",
            }
            client.xadd(stream, entry)
        done = await run("redrive", "--config", str(path), "--sink", "team")
        assert (done.exit_code, done.stdout) == (0, "0 delivered, 1 expired, 0 left\n")
        assert receiver.taken == []
        done = await run("redrive", "--config", str(path), "--sink", "crm")
        assert (done.exit_code, done.stdout) == (0, "1 delivered, 0 left\n")
        assert receiver.customers() == ["ann"]
    assert client.xlen(stream) == 0


async def test_nobody_is_told_of_what_has_ended_meanwhile_but_together_with_its_end(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter, tmp_path: Path
) -> None:
    stream = f"{settings.redis_prefix}alerts:dead"
    async with receiving() as receiver:
        path = write_config(tmp_path, webhook(receiver))
        await give_up(settings, writer, receiver, path, "ann", "bob", "carl")
        ends = [alert(name, "resolved", 2) for name in ("ann", "carl")]
        await writer.write(*ends)
        client.xadd(stream, {"alert": encode(ends[1]), "entry_id": "9-0", "group": "sink-crm", "reason": "HTTP 400"})
        done = await run("redrive", "--config", str(path), "--sink", "crm")
        assert (done.exit_code, done.stdout) == (0, "3 delivered, 1 ended, 0 left\n")
        told = [(one.record["entity"]["canonical_id"], one.record["state"]) for one in receiver.taken]
        assert told == [("bob", "firing"), ("carl", "firing"), ("carl", "resolved")]
    assert client.xlen(stream) == 0


async def test_what_a_later_version_says_of_it_in_the_active_set_does_not_keep_it_back(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        path = write_config(tmp_path, webhook(receiver))
        await give_up(settings, writer, receiver, path, "ann")
        client.hset(f"{settings.redis_prefix}alerts:active", alert("ann").fingerprint, b"{}")
        done = await run("redrive", "--config", str(path), "--sink", "crm")
        assert (done.exit_code, done.stdout) == (0, "1 delivered, 0 left\n")
        assert receiver.customers() == ["ann"]


async def test_a_receiver_that_is_still_away_is_asked_once_and_everything_stays(
    settings: Settings, client: redis_client.Redis, writer: RedisWriter, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        path = write_config(tmp_path, webhook(receiver))
        await give_up(settings, writer, receiver, path, "ann", "bob")
        receiver.replies(503)
        done = await run("redrive", "--config", str(path), "--sink", "crm")
        assert (done.exit_code, done.stdout) == (1, "0 delivered, 2 left: HTTP 503\n")
        assert receiver.customers() == ["ann"]
    assert client.xlen(f"{settings.redis_prefix}alerts:dead") == 2


async def test_a_sink_that_is_not_in_the_file_is_one_sentence(tmp_path: Path) -> None:
    path = write_config(tmp_path, webhook(Receiver(1)))
    done = await run("redrive", "--config", str(path), "--sink", "other")
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == f"{path} has no sink other: it has crm"
