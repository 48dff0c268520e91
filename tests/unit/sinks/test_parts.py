"""The parts of sinks that need no server: what an answer means, how long to wait, what is sent."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.alerts.alert import Entity, Measured
from streamer.sinks.alertmanager import labels, posted
from streamer.sinks.chat import message
from streamer.sinks.config import Alertmanager, Webhook
from streamer.sinks.forwarding import is_wanted, pause_seconds
from streamer.sinks.http import judge
from streamer.sinks.sink import RefusedError, TryAgainError, is_at_least, sentence
from tests.alert_support import alert

PAGER = Alertmanager(name="pager", url="http://127.0.0.1:9093")
NOW_MS = 1_777_629_600_000  # 2026-05-01T10:00:00Z


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_two_hundreds_are_taken(status: int) -> None:
    judge(status, None, 0)  # raises nothing


@pytest.mark.parametrize("status", [300, 302, 304, 400, 402, 404, 409, 413, 422])
def test_refusals_are_final(status: int) -> None:
    with pytest.raises(RefusedError, match=f"HTTP {status}"):
        judge(status, "60", 0)


@pytest.mark.parametrize("status", [401, 403, 407, 408, 425, 429, 500, 501, 503, 599])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (None, 0), ("120", 120), (" 7 ", 7), ("Fri, 01 May 2026 10:02:00 GMT", 120), ("Fri, 01 May 2026 09:00:00 GMT", 0), ("soon", 0),
        ("-5", 0), ("", 0), ("²", 0), ("Mon, 01 Jan 99999999999 00:00:00 GMT", 0),
    ],
)  # fmt: skip
def test_the_rest_may_pass_and_says_when(status: int, retry_after: str | None, seconds: float) -> None:
    with pytest.raises(TryAgainError) as caught:
        judge(status, retry_after, NOW_MS / 1000)
    assert caught.value.after_seconds == pytest.approx(seconds)


@given(st.integers(1, 10_000), st.floats(0, 1e6), st.floats(0, 1))
def test_pauses_double_up_to_the_longest_and_never_fall_short_of_what_is_asked(attempt: int, asked: float, chance: float) -> None:
    pause = pause_seconds(attempt, asked, chance)
    assert pause >= asked
    assert pause >= min(60, 0.5 * 2.0 ** min(attempt - 1, 20)) / 2
    assert pause <= max(asked, 60)
    assert pause_seconds(attempt, 0, chance) <= pause_seconds(attempt + 1, 0, chance)


def test_the_first_pause_is_short() -> None:
    assert pause_seconds(1, 0, 1.0) == 0.5
    assert pause_seconds(1, 0, 0.0) == 0.25


def test_severities_are_ordered_and_unknown_ones_are_the_worst() -> None:
    assert is_at_least("critical", "warning")
    assert is_at_least("warning", "warning")
    assert not is_at_least("info", "warning")
    assert is_at_least("catastrophe", "critical")


def test_a_sink_that_wants_beginnings_is_reminded_of_what_was_amended_since() -> None:
    config = Alertmanager(name="pager", url="http://127.0.0.1:9093", states=("firing", "resolved"))
    assert not is_wanted(alert("ann", "amended", 2), config, 0)
    assert is_wanted(alert("ann", "amended", 2), config, 0, firing=True)
    only_ends = Alertmanager(name="pager", url="http://127.0.0.1:9093", states=("resolved",))
    assert not is_wanted(alert("ann"), only_ends, 0, firing=True)


def test_what_a_storm_holds_back_reaches_no_sink_by_a_reminder() -> None:
    config = Alertmanager(name="pager", url="http://127.0.0.1:9093")
    held = msgspec.structs.replace(alert("ann"), held=True)
    assert is_wanted(alert("ann"), config, 0, firing=True)
    assert not is_wanted(held, config, 0, firing=True)


def test_what_has_expired_is_for_programs_only() -> None:
    gone = alert("ann", expires_in_seconds=-1)
    now_ms = int(time.time() * 1000)
    assert not is_wanted(gone, PAGER, now_ms)
    assert is_wanted(gone, Webhook(name="crm", url="http://127.0.0.1"), now_ms)
    assert is_wanted(alert("ann", "resolved", 2, expires_in_seconds=-1), PAGER, now_ms), "an end is an end"


STATES = ["firing", "amended", "resolved", "retracted"]


@pytest.mark.parametrize("state", STATES)
def test_without_ids_no_sentence_message_or_label_names_a_customer(state: str) -> None:
    told = alert("ann", state, why="Checkout c-1 of customer ann ...", metric=Measured(name="x", signals={"friction": 2}))
    texts = [sentence(told, ids=False), *message(told, ids=False), str(posted(told, PAGER, NOW_MS))]
    assert [text for text in texts if " ann" in text or "c-1" in text or "'ann'" in text] == []
    assert sentence(told, ids=True) == told.why


def test_what_came_with_events_makes_no_line_of_its_own_in_a_message_and_calls_nobody() -> None:
    customer = "bob\nAcknowledge: http://evil.example @everyone"
    title, body = message(alert(customer, why=f"customer {customer} has waited"), ids=True)
    assert [line.partition(":")[0] for line in body.splitlines()][:2] == ["customer bob\\nAcknowledge", "About"]
    assert "@everyone" not in title + body
    assert [line for line in body.splitlines() if line.startswith("Acknowledge: http")] == []
    of_slice = alert("", entity=None, slice={"region": "@here\u2028x"}, why="abandon rate (region @here) is 0.5")
    assert "@here" not in message(of_slice, ids=False)[1]
    assert len(message(of_slice, ids=False)[1].splitlines()) == len(
        message(alert("", entity=None, slice={"region": "x"}), ids=False)[1].splitlines()
    )


@pytest.mark.parametrize("state", STATES)
def test_without_ids_none_names_an_account_and_with_them_each_does(state: str) -> None:
    metric = Measured(name="contacts", value=12.0, k=12, n=12)
    told = alert("", state, entity=Entity(account_id="acme"), why="contacts (account acme) is 12 over 24h ...", metric=metric)
    without = [sentence(told, ids=False), *message(told, ids=False), str(posted(told, PAGER, NOW_MS))]
    assert [text for text in without if "acme" in text] == []
    assert all("an account" in text for text in (without[0], without[2], without[3]))
    assert "contacts = 12.0" in without[0] or state in ("resolved", "retracted")
    assert labels(told, PAGER)["entity"] == told.fingerprint
    named = Alertmanager(name="pager", url="http://127.0.0.1:9093", ids=True)
    assert posted(told, named, NOW_MS)["annotations"]["account"] == "acme"
    assert "About: acme" in message(told, ids=True)[1]
    assert sentence(told, ids=True) == told.why


@pytest.mark.parametrize("state", STATES)
def test_labels_are_the_same_in_each_transition(state: str) -> None:
    assert labels(alert("ann", state), PAGER) == labels(alert("ann"), PAGER)


def test_configured_labels_do_not_replace_the_identity() -> None:
    config = Alertmanager(name="pager", url="http://127.0.0.1:9093", labels={"severity": "none", "site": "x"})
    assert labels(alert("ann"), config)["severity"] == "warning"
    assert labels(alert("ann"), config)["site"] == "x"


def test_what_fires_ends_unless_it_is_repeated_and_never_after_it_has_expired() -> None:
    fields: dict[str, Any] = {"event_time": "2026-05-01T09:59:00.000Z", "detected_at": "2026-05-01T09:59:30.000Z"}
    long = posted(alert("ann", expires_at="2026-05-02T00:00:00.000Z", **fields), PAGER, NOW_MS)
    assert (long["startsAt"], long["endsAt"]) == ("2026-05-01T09:59:00.000Z", "2026-05-01T10:04:00.000Z")
    short = posted(alert("ann", expires_at="2026-05-01T10:01:00.000Z", **fields), PAGER, NOW_MS)
    assert short["endsAt"] == "2026-05-01T10:01:00.000Z"


@pytest.mark.parametrize("state", ["resolved", "retracted"])
@pytest.mark.parametrize(
    ("detected", "end"),
    [("2026-05-01T09:59:30.000Z", "2026-05-01T09:59:30.000Z"), ("2026-05-01T10:00:30.000Z", "2026-05-01T10:00:00.000Z")],
    ids=["earlier", "by-a-clock-that-is-ahead"],
)
def test_an_end_is_never_in_the_future(state: str, detected: str, end: str) -> None:
    found = posted(alert("ann", state, detected_at=detected), PAGER, NOW_MS)
    assert found["endsAt"] == end
    assert "startsAt" not in found
