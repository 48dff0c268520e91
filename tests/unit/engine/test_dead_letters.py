from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from streamer.engine import topic_admin
from streamer.engine.dead_letters import letter

LARGEST = topic_admin.SOURCE_BYTES_MAX


@pytest.mark.parametrize(
    ("value", "headers", "whole"),
    [
        (b"x" * 1_000, [], True),
        (b"x" * 1_000, [("o-original-size", b"9000000")], True),
        (b"x" * (LARGEST - 1_000), [], True),
        (b"x" * LARGEST, [], False),
        (b"x" * (LARGEST - 1_000), [("o-h", b"h" * 1_000)], False),
        (b"x" * 1_000, [("original-size", b"9000000")], False),
        (None, [], True),
    ],
    ids=["small", "a producer's own header", "nearly the largest", "too large", "too large with its headers", "cut", "without a value"],
)
def test_a_letter_goes_back_if_it_is_the_whole_record_and_the_source_takes_it(
    value: bytes | None, headers: list[tuple[str, bytes | None]], whole: bool
) -> None:
    found = letter(cast("Any", SimpleNamespace(partition=0, offset=0, timestamp=0, key=b"k", value=value, headers=headers)))
    assert found.fits(found.headers) is whole
