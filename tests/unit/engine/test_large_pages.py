"""The heap is laid out in large pages where the kernel has them."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from streamer.engine import large_pages
from streamer.engine.large_pages import LEAST_BYTES, PAGE_BYTES, regions

if TYPE_CHECKING:
    from pathlib import Path

COLLAPSES_SINCE = (6, 1)
# Two million lists of one number are 200 MB: the first hundred fit between libraries, in small regions. Prints the kilobytes that are in
# large pages, and all.
GROWN = """
import sys
from streamer.engine import large_pages
held = [[number] for number in range(2_000_000)]
if sys.argv[1] == "ask":
    large_pages.ask_for(within_seconds=60)
sizes = dict(line.split()[:2] for line in open("/proc/self/smaps_rollup").readlines()[1:])
print(sizes["AnonHugePages:"], sizes["Rss:"])
"""


def sizes_of_grown(how: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", GROWN, how], capture_output=True, text=True, check=True)
    large, all_ = done.stdout.split()
    return int(large) << 10, int(all_) << 10


def test_a_heap_that_has_grown_is_in_large_pages_and_not_larger() -> None:
    if not large_pages.are_to_be_had():
        pytest.skip("this kernel gives nobody large pages")
    if tuple(map(int, platform.release().split("-")[0].split(".")[:2])) < COLLAPSES_SINCE:
        pytest.skip("this kernel lays memory out when it gets to it, not when it is asked to")
    large_before, before = sizes_of_grown("let it be")
    large, after = sizes_of_grown("ask")
    assert large > large_before + LEAST_BYTES
    assert after < before * 1.2


def test_the_name_of_a_file_in_memory_may_be_of_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = tmp_path / "maps"
    maps.write_bytes(b"7f0000000000-7f0000001000 r--p 00000000 fe:00 316526                     /usr/lib/J\xf6rg.so\n")
    monkeypatch.setattr(large_pages, "_MAPS", maps)
    assert large_pages.ask_for(within_seconds=1)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("7f0000000000-7f0004000000 rw-p 00000000 00:00 0 ", [(0x7F0000000000, 0x7F0004000000)]),
        ("55d400100000-55d402f00000 rw-p 00000000 00:00 0                          [heap]", [(0x55D400200000, 0x55D402E00000)]),
        ("7f0000000000-7f0004000000 rw-p 00000000 00:00 0                          [stack]", []),
        ("7f0000000000-7f0004000000 rw-s 00000000 00:01 1024                       /dev/zero (deleted)", []),
        ("7f0000000000-7f0004000000 rw-p 00100000 fe:00 316526                     /usr/lib/libpython3.11.so.1.0", []),
        ("7f0000000000-7f0004000000 r--p 00000000 00:00 0 ", []),
        ("7f0000001000-7f0000801000 rw-p 00000000 00:00 0 ", []),  # the stack of a thread
    ],
    ids=["anonymous", "heap", "stack", "shared", "file", "read-only", "thread"],
)
def test_only_what_is_written_alone_and_large_is_laid_out(line: str, found: list[tuple[int, int]]) -> None:
    assert list(regions([line])) == found
    assert all(address % PAGE_BYTES == 0 for region in found for address in region)
