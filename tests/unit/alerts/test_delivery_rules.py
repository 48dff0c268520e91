"""Delivery without servers: what a refusal means, what a record gains on its way, where a wiped Redis goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import redis.exceptions
from hypothesis import given
from hypothesis import strategies as st
from redis._parsers.base import BaseParser

from streamer.alerts.alert import Entity, decode, encode
from streamer.alerts.connection import RedisUnavailableError, address_of, connect, explain
from streamer.alerts.publisher import stamp
from streamer.alerts.times import milliseconds
from streamer.commands.alerts import about, printable
from streamer.engine.alert_log import Committed, boundary
from streamer.errors import DeliveryError
from tests.alert_support import alert

if TYPE_CHECKING:
    from collections.abc import Callable

parse_error: Callable[[str], redis.exceptions.RedisError] = BaseParser.parse_error
PUBLISHED = "2026-11-21T10:15:04.000Z"


@pytest.mark.parametrize(
    "reply",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "NOREPLICAS Not enough good replicas to write.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN The cluster is down",
        "ERR max number of clients reached",
    ],
)
def test_refusals_that_pass_let_alerts_wait(reply: str) -> None:
    assert isinstance(explain(parse_error(reply), "host:6379"), RedisUnavailableError)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("NOAUTH Authentication required.", "set redis_password"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "check redis_url and redis_password"),
        ("NOPERM this user has no permissions to run the 'fcall' command", "compare its ACL"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "change redis_prefix"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "{cx}:"),
        ("ERR unknown command 'FCALL'", "refused a command"),
    ],
)
def test_refusals_that_last_say_what_to_change(reply: str, words: str) -> None:
    problem = explain(parse_error(reply), "host:6379")
    assert not isinstance(problem, RedisUnavailableError)
    assert words in str(problem)
    assert "host:6379" in str(problem)


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), redis.exceptions.TimeoutError("timed out"), TimeoutError()])
def test_a_server_that_cannot_be_reached_lets_alerts_wait(error: OSError) -> None:
    assert isinstance(explain(error, "host:6379"), RedisUnavailableError)


async def test_no_message_holds_the_password() -> None:
    client = connect("redis://user:secret-1@127.0.0.1:1/0", "secret-2")
    with pytest.raises(redis.exceptions.ConnectionError) as caught:
        await client.execute_command("PING")  # type: ignore[no-untyped-call]
    await client.aclose()
    assert "secret" not in str(explain(caught.value, address_of(client)))


def test_a_malformed_url_is_one_sentence() -> None:
    with pytest.raises(DeliveryError, match="redis://host:6379/0"):
        _ = connect("127.0.0.1:6379")


def test_the_stamp_keeps_what_a_newer_writer_added() -> None:
    data = encode(alert("ann"))[:-1] + b',"new_in_version_2":{"a":[1]}}'
    stamped = json.loads(stamp(data, decode(data), PUBLISHED))
    assert stamped == {**json.loads(data), "published_at": PUBLISHED}


@pytest.mark.parametrize("data", [encode(alert("ann")) + b" \n", encode(alert("ann", published_at="2020-01-01T00:00:00.000Z"))])
def test_the_stamp_is_there_once(data: bytes) -> None:
    stamped = stamp(data, decode(data), PUBLISHED)
    assert stamped.count(b"published_at") == 1
    assert decode(stamped).published_at == PUBLISHED


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        (None, 10),
        (Committed(30, "this"), 30),
        (Committed(30, ""), 30),
        (Committed(30, "another"), 10),
        (Committed(5, "this"), 10),
        (Committed(60, "this"), 50),
        (Committed(60, ""), 10),
        (Committed(50, "this"), 50),
    ],
    ids=[
        "nothing committed", "committed", "reset by an operator", "of an earlier topic", "before the log", "beyond the end",
        "beyond the end, of an earlier topic", "at the end",
    ],
)  # fmt: skip
def test_a_redis_that_knows_nothing_goes_on_where_the_group_was(committed: Committed | None, expected: int) -> None:
    assert boundary(committed, "this", start=10, end=50) == expected


@pytest.mark.parametrize(("text", "expected"), [("1970-01-01T00:00:01.500Z", 1500), ("1970-01-01T01:00:00+01:00", 0)])
def test_times_are_read_with_their_offset(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "2026-11-21T10:15:04.000", "2026-13-01T00:00:00Z"])
def test_times_without_an_offset_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        milliseconds(text)


def test_a_row_says_whom_it_is_about_and_nothing_else_of_the_customer() -> None:
    assert about(alert("ann")) == "ann checkout c-1"
    assert about(alert("ann", entity=None, slice={"platform": "ios", "journey": "checkout"})) == "journey=checkout platform=ios"
    assert about(alert("ann", entity=None, slice={})) == "everything"
    assert about(alert("ann", entity=Entity(account_id="acme"))) == "acme"


@given(st.text())
def test_nothing_a_terminal_would_obey_is_printed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)


def test_processors_that_write_alerts_load_neither_redis_nor_an_event_loop() -> None:
    code = "import sys, streamer.alerts, streamer.alerts.alert; sys.exit(bool({'redis', 'asyncio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
