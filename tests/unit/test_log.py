from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from streamer import log
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger(log.ROOT)
    before = root.handlers[:], root.level, own.level
    yield
    root.handlers[:], root.level, own.level = before[0], before[1], before[2]


def lines(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    log.setup(Settings.model_validate({"log_format": form, "log_level": level}), "journeys", stream)
    return stream


def test_json_entries_carry_role_level_action_and_fields() -> None:
    stream = lines("json")
    logging.getLogger("streamer.engine").info("opened", extra={"action": "partition.opened", "partition": 3})
    entry = json.loads(stream.getvalue())
    assert {key: entry[key] for key in ("level", "role", "action", "message", "partition")} == {
        "level": "info",
        "role": "journeys",
        "action": "partition.opened",
        "message": "opened",
        "partition": 3,
    }
    assert entry["time"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_message_can_pose_as_another_entry_or_steer_a_terminal(form: str) -> None:
    stream = lines(form)
    logging.getLogger("streamer").warning("evil\n2026 INFO fake\x1b[31m\u2028")
    assert stream.getvalue().count("\n") == 1
    assert not {"\x1b", "\u2028"} & set(stream.getvalue())


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_stays_in_its_entry(form: str) -> None:
    stream = lines(form)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("streamer").exception("failed", extra={"action": "worker.failed"})
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: broken" in stream.getvalue()


def test_libraries_are_quiet_below_warning() -> None:
    stream = lines("json", level="debug")
    logging.getLogger("aiokafka").info("chatter")
    logging.getLogger("streamer").debug("own")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["own"]


def test_auto_is_json_where_nobody_reads_along() -> None:
    stream = lines("auto")
    logging.getLogger("streamer").info("x")
    assert stream.getvalue().startswith("{")
