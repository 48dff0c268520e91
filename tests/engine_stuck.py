"""A worker of the toy machine in which something hangs from the moment a file exists.

What hangs is put into aiokafka; the product's own code is as it is shipped. As a program:
`python -m tests.engine_stuck FAULT FILE`, with the settings of `engine_toy`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError

from tests import engine_toy

Sound = Callable[[], Awaitable[Any]]


async def never(_sound: Sound) -> Any:
    """No answer comes."""
    await asyncio.Event().wait()


async def nothing(_sound: Sound) -> Any:
    """Answers come, and bring nothing."""
    await asyncio.sleep(0.2)
    return {}


async def blocked(_sound: Sound) -> Any:
    """The event loop is blocked."""
    time.sleep(3600)  # noqa: ASYNC251  the fault


async def refused(_sound: Sound) -> Any:
    """An error that aiokafka waits for ever for somebody to take."""
    raise GroupAuthorizationFailedError("the group is closed")


async def stopped(sound: Sound) -> Any:
    """The whole process freezes, and goes on from there when it is told to."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return await sound()


FAULTS: dict[str, tuple[type, str, Callable[[Sound], Awaitable[Any]]]] = {
    "coordinator parked": (GroupCoordinator, "ensure_active_group", refused),
    "heartbeats stuck": (GroupCoordinator, "_do_heartbeat", never),
    "restore stuck": (AIOKafkaConsumer, "getmany", nothing),
    "consumer blocked": (Fetcher, "fetched_records", blocked),
    "lag without progress": (Fetcher, "fetched_records", nothing),
    "commit stuck": (AIOKafkaProducer, "commit_transaction", never),
    "stopped before a commit": (AIOKafkaProducer, "commit_transaction", stopped),
}


def inject(fault: str, file: Path) -> None:
    """Let a method of aiokafka behave as the fault says while the file exists."""
    owner, name, behaviour = FAULTS[fault]
    sound = getattr(owner, name)
    has_happened = file.exists

    @wraps(sound)
    async def faulty(*args: Any, **kwargs: Any) -> Any:
        call = partial(sound, *args, **kwargs)
        return await (behaviour(call) if has_happened() else call())

    setattr(owner, name, faulty)


def main() -> int:
    """The worker."""
    inject(sys.argv[1], Path(sys.argv[2]))
    return engine_toy.main()


if __name__ == "__main__":
    sys.exit(main())
