"""A broker and a Redis of a command's own."""

from __future__ import annotations

import logging
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.kafka import Kafka
from deploy.local.process import Guard
from deploy.local.redis import Redis
from deploy.local.stack import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def servers(keep: Path | None = None) -> Iterator[tuple[Kafka, Redis, Path]]:
    """Started on free ports, and a directory; all gone afterwards, but the directory if it is to be kept."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # outages are what is done here
    with ExitStack() as exits:
        directory = keep or Path(tempfile.mkdtemp(prefix="chaos-"))
        directory.mkdir(parents=True, exist_ok=True)
        if keep is None:
            exits.callback(shutil.rmtree, directory, ignore_errors=True)
        guard = Guard(directory)
        exits.callback(guard.close)
        kafka, redis = Kafka(directory / "kafka", cache=STATE), Redis(directory / "redis", cache=STATE)
        for server in (kafka, redis):
            exits.callback(server.kill)
            server.start()
        yield kafka, redis, directory
