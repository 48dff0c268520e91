"""Writes how large Faust's books of unfinished messages are: for the soak, in the processes of a worker, outside the product.

Python imports this at its start when the folder is on PYTHONPATH. `BENCH_PROBE_DIRECTORY` is where each process writes.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

LOOK_SECONDS = 2.0


def _consumers() -> list[Any]:
    module = sys.modules.get("faust.transport.consumer")
    kind = getattr(module, "Consumer", None)
    if kind is None:
        return []
    return [one for one in gc.get_objects() if isinstance(one, kind)]


def sizes(consumers: list[Any]) -> dict[str, int]:
    """Entries of the gap trees, unacknowledged messages, offsets acknowledged and not committed."""
    return {
        "consumers": len(consumers),
        "gaps": sum(len(tree) for one in consumers for tree in one._gap.values()),
        "unacked": sum(len(one._unacked_messages) for one in consumers),
        "acked": sum(len(offsets) for one in consumers for offsets in one._acked.values()),
    }


def _watch(directory: Path) -> None:
    consumers: list[Any] = []
    target = directory / f"{os.getpid()}.json"
    while True:
        time.sleep(LOOK_SECONDS)
        consumers = consumers or _consumers()
        if consumers:
            part = target.with_suffix(".part")
            part.write_text(json.dumps(sizes(consumers)))
            part.replace(target)


if given := os.environ.get("BENCH_PROBE_DIRECTORY"):
    threading.Thread(target=_watch, args=(Path(given),), daemon=True).start()
