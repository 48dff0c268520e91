"""The heap in large pages (Linux: transparent huge pages), which the kernel of most distributions gives to those who ask.

A fold waits for memory rather than computes: an event reads and writes some hundred places of its customer's state, scattered over
hundreds of megabytes. In pages of 4 KB nearly each of them also misses the processor's table of addresses. With the whole catalogue and
12,500 customers of a partition an event takes a sixth less in large ones, and the memory is the same.

Python takes its heap from the kernel in pieces smaller than a large page, so nobody can ask before; what is there is laid out anew.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE_BYTES: Final = 2 << 20
# A smaller region is not worth it, or the stack of a thread (8 MB), most of which is never touched and would be taken.
LEAST_BYTES: Final = 16 << 20
# Laid out with one call: 2 ms, or 30 on a virtual machine that has to be given the memory first.
_AT_ONCE_BYTES: Final = 4 * PAGE_BYTES
_ENABLED: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPS: Final = Path("/proc/self/maps")
# Of linux/mman.h, since 6.1. An older kernel refuses, and lays out what it was advised of when it gets to it.
_MADV_COLLAPSE: Final = 25
# A private region that can be written, of no file or the heap of the C library: addresses, permissions, offset, device, inode, name.
_REGION: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?$")


def are_to_be_had() -> bool:
    """Whether the kernel gives large pages to who asks."""
    try:
        return "[never]" not in _ENABLED.read_text()
    except OSError:
        return False


def ask_for(within_seconds: float) -> bool:
    """Have the heap laid out in large pages, as far as there is time; what is already costs next to none. Whether it was all of it."""
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    until = time.monotonic() + within_seconds
    for begin, end in regions(_MAPS.read_text(encoding="utf-8", errors="replace").splitlines()):
        advise(begin, end - begin, mmap.MADV_HUGEPAGE)
        for at in range(begin, end, _AT_ONCE_BYTES):
            if time.monotonic() > until:
                return False
            advise(at, min(_AT_ONCE_BYTES, end - at), _MADV_COLLAPSE)
    return True


def regions(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """The large parts of the heap, by the lines of /proc/PID/maps: (begin, end), at addresses of large pages."""
    for line in maps:
        if found := _REGION.match(line):
            begin, end = -(-int(found[1], 16) // PAGE_BYTES) * PAGE_BYTES, int(found[2], 16) // PAGE_BYTES * PAGE_BYTES
            if end - begin >= LEAST_BYTES:
                yield begin, end
