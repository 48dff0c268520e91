"""Acknowledging and judging alerts, on a real Redis: by command, by library, and what is kept."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import redis as redis_client
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streamer.alerts import Outcomes, PlainOutcomes
from streamer.alerts import outcomes as module
from streamer.alerts.outcomes import UnknownAlertError
from streamer.cli import app
from streamer.errors import InputError
from tests import alert_support
from tests.alert_support import RedisWriter, alert

if TYPE_CHECKING:
    from streamer.alerts import Alert, Outcome
    from streamer.settings import Settings

pytestmark = pytest.mark.integration

settings = alert_support.redis_settings
client = alert_support.client


def outcomes_of(settings: Settings) -> Outcomes:
    return Outcomes(settings.redis_url, prefix=settings.redis_prefix)


async def fill(settings: Settings, *records: Alert) -> None:
    writer = RedisWriter(settings)
    await writer.write(*records)
    await writer.store.close()


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setenv("STREAMER_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("STREAMER_REDIS_PREFIX", settings.redis_prefix)
    return CliRunner().invoke(app, ["alerts", *words])


FIRED: dict[str, Any] = {"detected_at": "2026-05-01T10:00:00.000Z"}
LATER: dict[str, Any] = {"detected_at": "2026-05-01T10:05:00.000Z"}


@pytest.mark.parametrize("name", ["alert_id", "episode_id", "fingerprint"])
async def test_any_of_its_names_leads_to_the_episode_and_to_when_it_fired(settings: Settings, name: str) -> None:
    fired, amended = alert("ann", **FIRED), alert("ann", "amended", 2, **LATER)
    await fill(settings, alert("bob"), fired, alert("carl"), amended, *(alert(f"k{n}") for n in range(module.SCAN + 20)))
    async with outcomes_of(settings) as outcomes:
        known = await outcomes.acknowledge(getattr(amended, name), by="agent-7")
    assert (known.episode_id, known.fingerprint, known.rule, known.severity) == (
        fired.episode_id, fired.fingerprint, "abandoned-with-friction", "warning",
    )  # fmt: skip
    assert known.fired_ms == 1777629600000
    assert (known.acknowledged_by, known.outcome) == ("agent-7", None)
    assert abs(known.acknowledged_ms - time.time() * 1000) < 5000


async def test_a_fingerprint_means_the_latest_episode(settings: Settings) -> None:
    second = alert("ann", episode_id="second", alert_id="second-1")
    await fill(settings, alert("ann"), alert("ann", "resolved", 2), second)
    async with outcomes_of(settings) as outcomes:
        assert (await outcomes.acknowledge(second.fingerprint, by="x")).episode_id == "second"


async def test_a_fingerprint_means_the_episode_that_fires_though_a_storm_keeps_it_out_of_the_stream(
    settings: Settings, client: redis_client.Redis
) -> None:
    second = alert("ann", episode_id="second", alert_id="second-1")
    await fill(settings, alert("ann"), alert("ann", "resolved", 2), second)
    entries: Any = client.xrange(f"{settings.redis_prefix}alerts")
    client.xdel(f"{settings.redis_prefix}alerts", entries[-1][0])
    async with outcomes_of(settings) as outcomes:
        assert (await outcomes.acknowledge(second.fingerprint, by="x")).episode_id == "second"


async def test_what_fires_for_longer_than_the_stream_reaches_is_found_in_the_active_set(
    settings: Settings, client: redis_client.Redis
) -> None:
    await fill(settings, alert("ann", "amended", 2))
    client.xtrim(f"{settings.redis_prefix}alerts", maxlen=0)
    async with outcomes_of(settings) as outcomes:
        known = await outcomes.acknowledge(alert("ann").episode_id, by="x", outcome="lost")
    assert (known.fired_ms, known.seconds_to_acknowledge, known.outcome) == (None, None, "lost")


async def test_the_first_word_is_the_acknowledgement_and_the_last_outcome_is_in_force(settings: Settings) -> None:
    fired = alert("ann")
    await fill(settings, fired)
    async with outcomes_of(settings) as outcomes:
        first = await outcomes.acknowledge(fired, by="ann")
        await asyncio.sleep(0.01)  # another millisecond
        second = await outcomes.acknowledge(fired, by="bob", outcome="false-alarm", note="was a test")
        third = await outcomes.acknowledge(fired, by="carl", outcome="saved")
        assert await outcomes.all() == [third]
    assert (third.acknowledged_by, third.acknowledged_ms) == ("ann", first.acknowledged_ms)
    assert (second.outcome, second.judged_by, second.note) == ("false-alarm", "bob", "was a test")
    assert (third.outcome, third.judged_by, third.note) == ("saved", "carl", "was a test")
    assert second.judged_ms > first.acknowledged_ms


async def test_saying_the_same_again_changes_nothing(settings: Settings) -> None:
    fired = alert("ann")
    await fill(settings, fired)
    async with outcomes_of(settings) as outcomes:
        once = await outcomes.acknowledge(fired, by="ann", outcome="saved", note="called back")
        mark = await outcomes.mark()
        await asyncio.sleep(0.01)
        assert await outcomes.acknowledge(fired, by="ann", outcome="saved", note="called back") == once
        assert await outcomes.acknowledge(fired, by="bob") == once
        assert await outcomes.mark() == mark
        assert (await outcomes.acknowledge(fired, by="ann", outcome="lost")).outcome == "lost"
        assert await outcomes.mark() != mark


async def test_two_at_the_same_time_agree_on_who_was_first(settings: Settings) -> None:
    fired = alert("ann")
    await fill(settings, fired)

    async def say(name: str) -> Outcome:
        async with outcomes_of(settings) as outcomes:
            return await outcomes.acknowledge(fired, by=name, outcome="saved" if name == "n3" else None)

    told = await asyncio.gather(*(say(f"n{n}") for n in range(8)))
    assert len({(known.acknowledged_by, known.acknowledged_ms) for known in told}) == 1
    async with outcomes_of(settings) as outcomes:
        [known] = await outcomes.all()
    assert (known.outcome, known.judged_by) == ("saved", "n3")


async def test_a_record_in_hand_can_be_acknowledged_when_the_stream_has_lost_it(settings: Settings) -> None:
    async with outcomes_of(settings) as outcomes:
        firing = await outcomes.acknowledge(alert("ann", **FIRED), by="x")
        resolved = await outcomes.acknowledge(alert("bob", "resolved", 2), by="x")
    assert firing.fired_ms == 1777629600000
    assert resolved.fired_ms is None


async def test_outcomes_are_bounded_by_number_and_age_and_the_oldest_go(
    settings: Settings, client: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COUNT", 3)
    async with outcomes_of(settings) as outcomes:
        for n in range(6):
            await outcomes.acknowledge(alert(f"k{n}"), by="x")
            await asyncio.sleep(0.002)  # entries of one millisecond would go by name
        assert [known.episode_id for known in await outcomes.all()] == [alert(f"k{n}").episode_id for n in (3, 4, 5)]
        old = int(time.time() * 1000) - module.AGE_SECONDS * 1000 - 1000
        client.zadd(f"{settings.redis_prefix}alerts:outcomes:age", {alert("k5").episode_id: old})
        await outcomes.acknowledge(alert("k6"), by="x")
        assert [known.episode_id for known in await outcomes.all()] == [alert(f"k{n}").episode_id for n in (3, 4, 6)]
    assert client.zcard(f"{settings.redis_prefix}alerts:outcomes:age") == client.hlen(f"{settings.redis_prefix}alerts:outcomes") == 3


async def test_what_cannot_be_said_is_one_sentence_and_writes_nothing(settings: Settings, client: redis_client.Redis) -> None:
    await fill(settings, alert("ann"))
    async with outcomes_of(settings) as outcomes:
        with pytest.raises(UnknownAlertError, match=r"no alert, episode or fingerprint 'nothing' is in Redis"):
            await outcomes.acknowledge("nothing", by="x")
        with pytest.raises(InputError, match="by whom"):
            await outcomes.acknowledge(alert("ann"), by=" ")
        with pytest.raises(InputError, match="501 characters: 500 are kept"):
            await outcomes.acknowledge(alert("ann"), by="x", note="n" * 501)
        with pytest.raises(InputError, match="'won' is no outcome"):
            await outcomes.acknowledge(alert("ann"), by="x", outcome="won")  # type: ignore[arg-type]
    assert client.exists(f"{settings.redis_prefix}alerts:outcomes") == 0


def test_the_same_without_an_event_loop(settings: Settings) -> None:
    with PlainOutcomes(settings.redis_url, prefix=settings.redis_prefix) as outcomes:
        known = outcomes.acknowledge(alert("ann"), by="ann", outcome="saved")
        assert outcomes.all() == [known]


def test_the_commands_say_what_is_known(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fired = alert("ann", **FIRED)
    asyncio.run(fill(settings, fired, *(alert(f"k{n}") for n in range(50))))
    assert run(settings, monkeypatch, "outcomes").stdout == "no alert has been acknowledged\n"
    told = run(settings, monkeypatch, "ack", fired.alert_id, "--by", "ann", "--outcome", "saved", "--note", "called")
    assert told.exit_code == 0
    assert told.stdout.startswith(f"abandoned-with-friction {fired.episode_id}: acknowledged by ann ")
    assert told.stdout.endswith("s after it fired; saved, says ann\n")
    known = json.loads(run(settings, monkeypatch, "ack", fired.fingerprint, "--by", "bob", "--json").stdout)
    assert known.keys() == {
        "episode_id", "fingerprint", "rule", "severity", "fired_ms", "acknowledged_by", "acknowledged_ms",
        "outcome", "judged_by", "judged_ms", "note",
    }  # fmt: skip
    with PlainOutcomes(settings.redis_url, prefix=settings.redis_prefix) as outcomes:
        for n in range(50):
            outcomes.acknowledge(alert(f"k{n}"), by="x", outcome="false-alarm")

    [line] = run(settings, monkeypatch, "outcomes", "--json").stdout.splitlines()
    verdict = json.loads(line)
    assert verdict["judged"] == {"saved": 1, "lost": 0, "false-alarm": 50}
    assert (verdict["rule"], verdict["acknowledged"], verdict["precision"], verdict["noisy"]) == ("abandoned-with-friction", 51, 0.0, True)
    table = run(settings, monkeypatch, "outcomes").stdout
    assert [word for word in ("abandoned-with-friction", "51", "50", "0%", "noisy") if word not in table] == []
    each = run(settings, monkeypatch, "outcomes", "--each").stdout.splitlines()
    assert len(each) == 51
    assert json.loads(each[0]) == known


def test_who_acknowledged_cannot_drive_the_terminal_of_who_asks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(fill(settings, alert("ann")))
    printed = run(settings, monkeypatch, "ack", alert("ann").episode_id, "--by", "x\x1b]0;owned\x07").stdout
    assert "\\x1b]0;owned\\x07" in printed
    assert "\x1b" not in printed


def test_an_alert_that_is_not_there_ends_with_2(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(settings, monkeypatch, "ack", "nothing", "--by", "x")
    assert isinstance(found.exception, UnknownAlertError)
    assert found.exception.exit_code == 2


SAID = st.lists(
    st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from([None, "saved", "lost", "false-alarm"]), st.sampled_from(["", "x", "y"])),
    min_size=1,
    max_size=8,
)


@given(SAID)
# The fixture gives a prefix, and each example has a customer of its own.
@hypothesis.settings(max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_whatever_is_said_in_whatever_order_the_first_and_the_last_word_count(settings: Settings, said: list[tuple[str, Any, str]]) -> None:
    fired = alert(f"c{uuid.uuid4().hex}")
    with PlainOutcomes(settings.redis_url, prefix=settings.redis_prefix) as outcomes:
        known = [outcomes.acknowledge(fired, by=by, outcome=outcome, note=note) for by, outcome, note in said][-1]
    told = [(by, outcome) for by, outcome, _ in said if outcome is not None]
    changes = [entry for n, entry in enumerate(told) if n == 0 or entry[1] != told[n - 1][1]]
    notes = [note for _, _, note in said if note]
    assert known.acknowledged_by == said[0][0]
    assert (known.judged_by, known.outcome) == (changes[-1] if changes else ("", None))
    assert known.note == (notes[-1] if notes else "")
    assert known.judged_ms >= known.acknowledged_ms or known.outcome is None
