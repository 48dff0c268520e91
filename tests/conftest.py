"""Fixtures every test may use; the real servers are in tests/servers.py."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from streamer.cli import GC_ALLOCATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["tests.servers"]

# Tests ask whether the compiled copy does the same, not how fast. Compiling costs 75 CPU-seconds at level 0, 90 at 1 and 150 at 3; the
# histories that run it afterwards, about 300, 200 and 130.
os.environ.setdefault("COMPILE_LEVEL", "1")
# As the program does: many tests fold in this process.
gc.set_threshold(GC_ALLOCATIONS, 20, 100)
# Brokers of tests live for seconds: without the optimising compiler one takes half the CPU (6.3 s in place of 11.2 s from its start through
# 400 transactions).
os.environ.setdefault("KAFKA_JVM_PERFORMANCE_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

# Of the tests without servers the files that take longest; in the order of their names they would come at the very end.
_LONG = ("tests/unit/simulate/", "tests/unit/verify/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put short files last, or one process would be left with a long one when the others have nothing more to do."""
    items.sort(key=lambda item: item.nodeid.startswith("tests/unit/") and not item.nodeid.startswith(_LONG))


@pytest.fixture(scope="module", autouse=True)
def _what_a_module_kept_is_forgotten(request: pytest.FixtureRequest) -> Iterator[None]:
    """What tests of a module share by a cache no other asks for; kept to the end it is gigabytes, and half a minute to take down."""
    yield
    for shared in vars(request.module).values():
        if hasattr(shared, "cache_clear") and shared.__module__ == request.module.__name__:
            shared.cache_clear()
