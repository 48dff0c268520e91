"""The faults: each does its harm, heals it, and notes what it should have led to. Recovery is measured from the return on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final

import psutil
import redis.asyncio

from streamer.engine.exits import Exit
from streamer.metrics.families import ROLES, SUPERVISOR
from tests.chaos.cluster import REBALANCE_SECONDS, SESSION_SECONDS, Slot, TooLongError, until
from tests.chaos.moves import fenced
from tests.chaos.points import MACHINE_POINTS, PUBLISHER_POINTS
from tests.chaos.stage import Stage

Fault = Callable[[Stage, Random, float], Awaitable[None]]

# On top of the bound itself.
CLOSE_SLACK_SECONDS: Final = 10.0
MACHINES: Final = ("journeys", "rollup")
# Starting a process takes long on a machine that others use too.
HIT_SECONDS_MAX: Final = 90.0
# Readers of deltas and alerts are held back by a dead owner's open transaction for no longer than this.
STALL_SECONDS_MAX: Final = 8.0
# A process that was frozen and woke up: until it knows.
ZOMBIE_SECONDS_MAX: Final = 45.0


async def hit(slot: Slot, point: str, seconds: float = HIT_SECONDS_MAX) -> None:
    """Wait until an armed process has reached its point."""
    try:
        await until(lambda: slot.hit is not None, f"{slot.name} reaches {point}", seconds)
    finally:
        slot.disarm()


async def kill_at_random(stage: Stage, random: Random, _: float) -> None:
    """kill -9 of any process, at any moment."""
    await asyncio.sleep(random.random())
    random.choice(stage.cluster.of(*MACHINES, "publisher")).signal(signal.SIGKILL)


def kill_at(point: str) -> Fault:
    """kill -9 at a named point, of whichever process of the role reaches it first."""

    async def fault(stage: Stage, random: Random, _: float) -> None:
        role = "publisher" if point in PUBLISHER_POINTS else random.choice(("journeys", "journeys", "rollup"))
        slots = stage.cluster.of(role)
        if role == "journeys":  # each has partitions with traffic; of the others one may be a standby
            slots = [random.choice(slots)]
        stage.stalls.reset()
        for slot in slots:
            slot.arm(point, "kill", alerts=point == "in-transaction" and role == "journeys")
        try:
            await until(lambda: any(slot.hit for slot in slots), f"a process of {role} reaches {point}", HIT_SECONDS_MAX)
        finally:
            for slot in slots:
                slot.disarm()
        if point == "in-transaction":
            await asyncio.sleep(SESSION_SECONDS + 1)
            stage.expect(stage.stalls.longest <= STALL_SECONDS_MAX, f"{point}: readers were held back for {stage.stalls.longest:.1f} s")

    return fault


async def kill_supervised(stage: Stage, random: Random, _: float) -> None:
    """kill -9 of a role under the worker's own supervisor, which starts it again, and ends in order when it is told to."""
    slot = stage.cluster.spare(SUPERVISOR)
    await stage.ready(slot)
    await stage.scraper.look()  # what its numbers rise from
    role = random.choice(ROLES)
    child = child_of(slot, role)
    assert child is not None
    child.kill()

    def runs_again() -> bool:
        found = child_of(slot, role)
        return found is not None and found.pid != child.pid

    await until(runs_again, f"{slot.name} starts {role} again", HIT_SECONDS_MAX)
    await stage.scraper.look()
    code = await stage.cluster.stop(slot)
    stage.expect(code == Exit.OK, f"{slot.name} ended with {code} after SIGTERM: {slot.last_words()[-500:]}")


def child_of(slot: Slot, role: str) -> psutil.Process | None:
    """The process of a role that a supervisor runs."""
    for child in psutil.Process(slot.pid).children():
        with suppress(psutil.Error):
            if role in child.cmdline():
                return child
    return None


def freeze_at(point: str) -> Fault:
    """SIGSTOP for longer than the session timeout, with work that is not committed; the zombie must be fenced and end."""

    async def fault(stage: Stage, random: Random, _: float) -> None:
        slot = random.choice(stage.cluster.of("journeys"))
        pid = slot.pid
        stage.stalls.reset()
        slot.arm(point, "stop")
        await hit(slot, point)
        await asyncio.sleep(SESSION_SECONDS + 4)
        slot.signal(signal.SIGCONT)
        process = slot.process
        assert process is not None
        try:
            await until(lambda: process.poll() is not None, "", ZOMBIE_SECONDS_MAX)
            ends = {Exit.FENCED}
            stage.expect(process.returncode in ends, f"a zombie of {slot.name} (pid {pid}) ended with {process.returncode}")
        except TooLongError:
            stage.expect(False, f"a zombie of {slot.name} (pid {pid}) lives on")
        stage.expect(stage.stalls.longest <= STALL_SECONDS_MAX, f"frozen {point}: readers were held back for {stage.stalls.longest:.1f} s")

    return fault


async def end_in_order(stage: Stage, random: Random, _: float) -> None:
    """SIGTERM with work in flight: everything is committed, exit code 0."""
    slot = random.choice(stage.cluster.of(*MACHINES, "publisher"))
    await stage.all_ready()
    code = await stage.cluster.stop(slot)
    stage.expect(code == Exit.OK, f"{slot.name} ended with {code} after SIGTERM")
    slot.start()


async def come_and_go(stage: Stage, random: Random, _: float) -> None:
    """Members join and leave faster than a rebalance takes; the first to leave is one that has partitions."""
    members = stage.cluster.of("journeys")
    extra = stage.cluster.spare("journeys")
    slots = stage.cluster.of("journeys")
    for number in range(4):
        slot = random.choice(slots if number else members)
        slot.held = True
        slot.signal(random.choice([signal.SIGTERM, signal.SIGKILL]))
        await asyncio.sleep(random.uniform(0.2, 1.5))
        await stage.cluster.gone(slot)
        slot.start()
        await asyncio.sleep(random.uniform(0.0, 1.5))
    extra.held = True
    extra.signal(signal.SIGKILL)
    await stage.cluster.gone(extra)


async def rebalance_while_restoring(stage: Stage, random: Random, _: float) -> None:
    """A member leaves and comes while another one restores."""
    slots = stage.cluster.of("journeys")
    slow, other = random.sample(slots, 2)
    slow.arm("in-restore", "wait", seconds=3.0)
    slow.signal(signal.SIGKILL)
    await hit(slow, "in-restore")
    other.held = True
    other.signal(signal.SIGKILL)
    await stage.cluster.gone(other)
    other.start()


async def restore_slowly(stage: Stage, random: Random, _: float) -> None:
    """A restore longer than the session timeout: heartbeats go on, nobody is ejected."""
    slots = stage.cluster.of("journeys")
    slot = random.choice(slots)
    slot.arm("in-restore", "wait", seconds=SESSION_SECONDS + 3)
    slot.signal(signal.SIGKILL)
    await hit(slot, "in-restore")
    pid, joined = slot.pid, len(slot.entries("assigned"))
    await until(
        lambda: len(slot.entries("assigned")) > joined or slot.pid != pid, f"{slot.name} has restored", SESSION_SECONDS + HIT_SECONDS_MAX
    )
    stage.expect(slot.pid == pid and slot.runs, f"{slot.name} was ejected while it restored")


async def fence_a_healthy_owner(stage: Stage, random: Random, _: float) -> None:
    """Frozen before it fences, ejected, and then it fences the one who took over: that one opens again and lives."""
    slow = random.choice(stage.cluster.of("journeys"))
    slow.arm("before-fence", "stop")
    slow.signal(signal.SIGKILL)
    await hit(slow, "before-fence")
    others = {slot: slot.pid for slot in stage.cluster.of("journeys") if slot is not slow}
    await asyncio.sleep(SESSION_SECONDS + 4)
    failed = {slot: len(slot.entries("checkpoint_failed")) for slot in others}
    slow.signal(signal.SIGCONT)
    await asyncio.sleep(3)
    for slot, pid in others.items():
        times = len(slot.entries("checkpoint_failed")) - failed[slot]
        if times == 0:
            continue  # it had nothing to commit, and learnt of the new owner in the rebalance
        if slot.pid == pid and slot.runs:
            stage.due.append(fenced(times))
        quarrels = "twice within" in "".join(entry["message"] for entry in slot.entries("end")[-1:])  # an earlier fault was just before
        stage.expect(quarrels or (slot.pid == pid and slot.runs), f"{slot.name} was fenced by a slow opener and did not survive")


async def close_forever(stage: Stage, random: Random, _: float) -> None:
    """A close that cannot finish is given up within its bound."""
    slot = random.choice(stage.cluster.of("journeys"))
    slot.arm("in-close", "wait", seconds=120)
    slot.held = True
    began = time.monotonic()
    slot.signal(signal.SIGTERM)
    code = await stage.cluster.gone(slot)
    slot.disarm()
    took = time.monotonic() - began
    if slot.hit is not None:
        stage.expect(code == Exit.SLOW_CLOSE, f"{slot.name} could not close and ended with {code}")
        stage.expect(took < REBALANCE_SECONDS / 3 + CLOSE_SLACK_SECONDS, f"{slot.name} took {took:.1f} s to give up closing")
    slot.start()


async def freeze_broker(stage: Stage, random: Random, _: float) -> None:
    """The broker does not answer for a while."""
    stage.cluster.kafka.pause()
    try:
        await asyncio.sleep(random.uniform(2, 6))
        await stage.scraper.look()
    finally:
        stage.cluster.kafka.resume()
        stage.stalls.forget()


async def kill_broker(stage: Stage, random: Random, _: float) -> None:
    """kill -9 of the broker, and back with its data."""
    await asyncio.to_thread(stage.cluster.kafka.kill)
    await asyncio.sleep(random.random())
    await asyncio.to_thread(stage.cluster.kafka.start)
    stage.stalls.forget()


async def restart_broker(stage: Stage, _random: Random, _: float) -> None:
    """The broker is stopped in order and started again."""
    await asyncio.to_thread(stage.cluster.kafka.stop)
    await asyncio.to_thread(stage.cluster.kafka.start)
    stage.stalls.forget()


async def stop_redis(stage: Stage, _random: Random, outage_seconds: float) -> None:
    """Redis is away and comes back with its data."""
    await asyncio.to_thread(stage.cluster.redis.stop)
    await asyncio.sleep(outage_seconds)
    await asyncio.to_thread(stage.cluster.redis.start)


async def wipe_redis(stage: Stage, _random: Random, _: float) -> None:
    """Redis comes back empty: the active set is rebuilt, and nothing is delivered a second time."""
    async with redis.asyncio.Redis.from_url(stage.settings.redis_url) as client:
        await client.client_pause(30_000, all=False)
    await stage.tail.read()  # what is delivered is known, and nothing more can be until it is gone
    await asyncio.to_thread(stage.cluster.redis.kill)
    await asyncio.to_thread(stage.cluster.redis.wipe)
    stage.tail.begin_again()
    await asyncio.to_thread(stage.cluster.redis.start)


async def fill_redis(stage: Stage, _random: Random, outage_seconds: float) -> None:
    """Redis is out of memory."""
    async with redis.asyncio.Redis.from_url(stage.settings.redis_url) as client:
        await client.config_set("maxmemory", "1")
        try:
            await nothing_delivered(stage, outage_seconds, "was full")
        finally:
            await client.config_set("maxmemory", "0")


async def nothing_delivered(stage: Stage, outage_seconds: float, why: str) -> None:
    """Let an outage last, and see that there is one."""
    await stage.tail.read()
    before = len(stage.tail.alerts)
    await asyncio.sleep(outage_seconds)
    await stage.tail.read()
    stage.expect(len(stage.tail.alerts) == before, f"{len(stage.tail.alerts) - before} alerts were delivered while Redis {why}")


async def make_redis_read_only(stage: Stage, _random: Random, outage_seconds: float) -> None:
    """Redis is a replica for a while, as after a failover in the wrong direction."""
    async with redis.asyncio.Redis.from_url(stage.settings.redis_url) as client:
        await client.replicaof("127.0.0.1", "1")
        try:
            await nothing_delivered(stage, outage_seconds, "was read-only")
        finally:
            await client.replicaof("NO", "ONE")


FAULTS: Final[dict[str, Fault]] = {
    "kill-at-random": kill_at_random,
    **{f"kill-{point}": kill_at(point) for point in (*MACHINE_POINTS, *PUBLISHER_POINTS)},
    "kill-supervised": kill_supervised,
    "freeze-after-apply": freeze_at("after-apply"),
    "freeze-in-transaction": freeze_at("in-transaction"),
    "sigterm": end_in_order,
    "storm": come_and_go,
    "rebalance-while-restoring": rebalance_while_restoring,
    "slow-restore": restore_slowly,
    "slow-opener": fence_a_healthy_owner,
    "endless-close": close_forever,
    "broker-frozen": freeze_broker,
    "broker-killed": kill_broker,
    "broker-restarted": restart_broker,
    "redis-stopped": stop_redis,
    "redis-wiped": wipe_redis,
    "redis-full": fill_redis,
    "redis-read-only": make_redis_read_only,
}
