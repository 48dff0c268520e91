"""The sinks for people: a real Alertmanager asked by amtool, and chat through the library apprise."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import subprocess
from base64 import b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from streamer.alerts.alert import Measured
from tests import alert_support
from tests.alert_support import RedisWriter, alert, until
from tests.sink_support import Receiver, Taken, forwarding, receiving, until_counted, write_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from email.message import EmailMessage
    from pathlib import Path

    from deploy.local.alertmanager import Alertmanager
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
writer = alert_support.writer

RULE = "abandoned-with-friction"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.alerts.consumer.BLOCK_SECONDS", 0.1)


def pager(server: Alertmanager, settings: Settings, more: str = "") -> str:
    labels = f'labels = {{ environment = "{settings.app}" }}'
    return f'name = "pager"\nkind = "alertmanager"\nurl = "{server.url}"\nstart = "all"\nresend = "1s"\n{labels}\n{more}'


def amtool(server: Alertmanager, *words: str) -> Any:
    """What amtool says, as JSON."""
    done = subprocess.run(
        ["amtool", "--alertmanager.url", server.url, "--output", "json", *words], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def firing(server: Alertmanager, settings: Settings) -> dict[str, Any]:
    """What this test's alerts are, by entity or journey."""
    found = amtool(server, "alert", "query", f"environment={settings.app}")
    return {entry["labels"].get("entity", entry["labels"].get("journey", "")): entry for entry in found}


async def test_alertmanager_has_what_fires_and_no_more(
    settings: Settings, writer: RedisWriter, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    ann, bob, carl = (alert(name) for name in ("ann", "bob", "carl"))
    where = {"journey": "loan", "platform": "ios"}
    sliced = alert("x", fingerprint="s", episode_id="s", entity=None, slice=where, why="abandon_rate is 40 %")
    all_four = {ann.fingerprint, bob.fingerprint, carl.fingerprint, "loan"}
    await writer.write(ann, bob, carl, sliced, alert("ann", "amended", 2))
    async with forwarding(settings, write_config(tmp_path, pager(alertmanager, settings))) as (forwarder, task):
        await until(lambda: firing(alertmanager, settings).keys() == all_four, "four", task=task)
        found = firing(alertmanager, settings)
        assert found[ann.fingerprint]["labels"] == {
            "alertname": RULE, "rule": RULE, "severity": "warning", "entity": ann.fingerprint, "journey": "checkout",
            "environment": settings.app,
        }  # fmt: skip
        assert found["loan"]["labels"] == {
            "alertname": RULE, "rule": RULE, "severity": "warning", "journey": "loan", "platform": "ios", "environment": settings.app,
        }  # fmt: skip
        assert found["loan"]["annotations"]["summary"] == f"{RULE}: abandon_rate is 40 %"
        told = json.dumps(list(found.values()))
        assert [name for name in ('"ann"', " ann ", "carl", "c-1") if name in told] == [], "nothing names a customer or a journey"
        await writer.write(alert("bob", "resolved", 2), alert("carl", "retracted", 2))
        await until(lambda: firing(alertmanager, settings).keys() == {ann.fingerprint, "loan"}, "the two that are left", task=task)
        await until_counted(forwarder, "pager", "delivered", 7, task)


async def test_what_fires_is_sent_again_so_that_a_restart_of_alertmanager_loses_nothing(
    settings: Settings, writer: RedisWriter, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    ann = alert("ann")
    await writer.write(ann)
    async with forwarding(settings, write_config(tmp_path, pager(alertmanager, settings))) as (_, task):
        await until(lambda: firing(alertmanager, settings).keys() == {ann.fingerprint}, "the alert", task=task)
        until_then = firing(alertmanager, settings)[ann.fingerprint]["endsAt"]
        await until(lambda: firing(alertmanager, settings)[ann.fingerprint]["endsAt"] > until_then, "a reminder", task=task)
        alertmanager.kill()  # its alerts are in memory only
        await asyncio.to_thread(alertmanager.start)
        await until(lambda: firing(alertmanager, settings).keys() == {ann.fingerprint}, "the alert once more", task=task)


async def test_what_fired_before_the_sink_was_there_is_sent_too_and_without_a_forwarder_it_ends(
    settings: Settings, writer: RedisWriter, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    ann = alert("ann")
    await writer.write(ann)
    path = write_config(tmp_path, pager(alertmanager, settings).replace('start = "all"\n', ""))
    async with forwarding(settings, path) as (_, task):
        await until(lambda: firing(alertmanager, settings).keys() == {ann.fingerprint}, "the alert", task=task)
    await until(lambda: firing(alertmanager, settings) == {}, "its end, after four seconds without a reminder")


async def test_customers_are_annotations_if_that_is_configured(
    settings: Settings, writer: RedisWriter, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    await writer.write(alert("ann"))
    more = 'ids = true\ngenerator_url = "https://grafana.example.com/d/cx"'
    async with forwarding(settings, write_config(tmp_path, pager(alertmanager, settings, more))) as (_, task):
        await until(lambda: len(firing(alertmanager, settings)) == 1, "the alert", task=task)
        [found] = firing(alertmanager, settings).values()
    assert found["annotations"]["customer"] == "ann"
    assert found["annotations"]["summary"] == f"{RULE}: checkout c-1 was abandoned after 2 failed payments"
    assert found["generatorURL"] == "https://grafana.example.com/d/cx"


async def test_an_alertmanager_that_is_down_is_waited_for(
    settings: Settings, writer: RedisWriter, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    await writer.write(alert("ann"))
    alertmanager.stop()
    try:
        async with forwarding(settings, write_config(tmp_path, pager(alertmanager, settings))) as (forwarder, task):
            await until(lambda: (forwarder.ready() or "").startswith("pager: cannot be reached"), "the reason", task=task)
            await asyncio.to_thread(alertmanager.start)
            await until_counted(forwarder, "pager", "delivered", 1, task)
            await asyncio.to_thread(alertmanager.stop)
            await until(lambda: forwarder.ready() is not None, "a reminder that fails", task=task)
            await asyncio.to_thread(alertmanager.start)
            await until(lambda: forwarder.ready() is None, "a reminder that succeeds", task=task)
            assert len(firing(alertmanager, settings)) == 1
    finally:
        if not alertmanager.is_running:
            alertmanager.start()


async def test_alertmanagers_password_is_sent_and_a_slash_more_in_its_url_does_no_harm(
    settings: Settings, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_PASSWORD", "pass word")
    await writer.write(alert("ann"))
    async with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/am/"
        table = f'name = "pager"\nkind = "alertmanager"\nurl = "{url}"\nusername = "cx"\npassword_env = "PAGER_PASSWORD"\nstart = "all"\n'
        async with forwarding(settings, write_config(tmp_path, table)) as (forwarder, task):
            await until_counted(forwarder, "pager", "delivered", 1, task)
    assert {taken.path for taken in receiver.taken} == {"/am/api/v2/alerts"}
    assert {taken.headers["Authorization"] for taken in receiver.taken} == {"Basic " + b64encode(b"cx:pass word").decode()}


def team(receiver: Receiver, more: str = "") -> str:
    return f'name = "team"\nkind = "apprise"\nurl_env = "TEAM_URL"\nstart = "all"\n{more}'


async def test_people_get_a_message_that_says_what_happened_and_what_to_do(
    settings: Settings, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{receiver.port}/chat")
        ann = alert("ann", suggested_action="call back", metric=Measured(name="x", signals={"payment.failed": 2, "text": "{{x}} *y* \\n"}))
        await writer.write(ann, alert("ann", "amended", 2), alert("gone", expires_in_seconds=-1), alert("ann", "resolved", 3))
        async with forwarding(settings, write_config(tmp_path, team(receiver))) as (forwarder, task):
            await until_counted(forwarder, "team", "delivered", 2, task)
    fired, ended = (taken.record for taken in receiver.taken)
    assert fired["title"] == f"[firing] warning: {RULE}"
    assert fired["type"] == "warning"
    assert fired["message"].splitlines() == [
        "a customer's checkout has payment.failed = 2, text = {{x}} *y* \\n, which meets 'abandoned and friction >= 1'",
        "Do: call back",
        f"Since: {ann.event_time}",
        f"Acknowledge: streamer alerts ack {ann.episode_id} --by NAME",
    ]
    assert (ended["title"], ended["type"]) == (f"[resolved] warning: {RULE}", "success")
    assert forwarder.counts()["team"]["filtered"] == 2


@pytest.mark.parametrize("status", [302, 307])
async def test_a_service_that_sends_messages_elsewhere_has_not_taken_them(
    settings: Settings, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    async with receiving() as elsewhere, receiving() as receiver:
        receiver.replies(status, Location=elsewhere.url)
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{receiver.port}/chat")
        await writer.write(alert("ann"))
        async with forwarding(settings, write_config(tmp_path, team(receiver))) as (forwarder, task):
            await until_counted(forwarder, "team", "delivered", 1, task)
    assert (forwarder.counts()["team"]["failed"], len(receiver.taken), elsewhere.taken) == (1, 2, [])


async def test_a_text_that_is_too_long_for_the_service_is_cut(
    settings: Settings, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apprise.plugins.custom_json.NotifyJSON.body_maxlen", 400)
    async with receiving() as receiver:
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{receiver.port}/chat")
        await writer.write(alert("ann", suggested_action="call back, " * 200))
        async with forwarding(settings, write_config(tmp_path, team(receiver))) as (forwarder, task):
            await until_counted(forwarder, "team", "delivered", 1, task)
    assert 300 < len(receiver.taken[0].record["message"]) <= 400


async def test_what_expires_while_the_service_is_away_is_not_told_any_more(
    settings: Settings, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:

        async def answer(_taken: Taken) -> web.Response:
            return web.Response(status=503)

        receiver.answer = answer
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{receiver.port}/chat")
        await writer.write(alert("ann", expires_in_seconds=3))
        async with forwarding(settings, write_config(tmp_path, team(receiver))) as (forwarder, task):
            await until_counted(forwarder, "team", "filtered", 1, task)
    assert forwarder.counts()["team"]["failed"] > 0
    assert forwarder.counts()["team"].get("delivered", 0) == 0


async def test_messages_name_customers_if_that_is_configured_and_are_tried_again(
    settings: Settings, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        receiver.replies(500)
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{receiver.port}/chat")
        await writer.write(alert("ann"))
        async with forwarding(settings, write_config(tmp_path, team(receiver, "ids = true"))) as (forwarder, task):
            await until_counted(forwarder, "team", "delivered", 1, task)
    assert len(receiver.taken) == 2
    assert "About: ann checkout c-1" in receiver.taken[1].record["message"]
    assert forwarder.counts()["team"]["failed"] == 1


@asynccontextmanager
async def mail_server() -> AsyncIterator[tuple[int, list[EmailMessage]]]:
    """Just enough of SMTP on the loopback: the port, and the mails it has been given."""
    mails: list[EmailMessage] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                mails.append(email.message_from_bytes(await reader.readuntil(b"\r\n.\r\n"), policy=email.policy.default))
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], mails


async def test_a_mail_says_the_same(settings: Settings, writer: RedisWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with mail_server() as (port, mails):
        monkeypatch.setenv("TEAM_URL", f"mailto://127.0.0.1:{port}?from=cx@example.com&to=team@example.com")
        await writer.write(alert("ann", suggested_action="call back"))
        async with forwarding(settings, write_config(tmp_path, team(Receiver()))) as (forwarder, task):
            await until_counted(forwarder, "team", "delivered", 1, task)
    [mail] = mails
    assert (mail["To"], mail["Subject"]) == ("team@example.com", f"[firing] warning: {RULE}")
    body = mail.get_content()
    assert "Do: call back" in body
    assert " ann" not in body
