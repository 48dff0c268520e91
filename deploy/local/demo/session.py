"""The demonstration from start to end: servers, topics, simulator, worker, view, verdict."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from deploy.local import ports
from deploy.local.demo import story, view
from deploy.local.demo.children import Child
from deploy.local.demo.readings import Reader, Reading
from deploy.local.prometheus import Target
from deploy.local.stack import STATE, Stack, clean
from streamer.alerts.connection import connect
from streamer.alerts.publisher import AlertStore
from streamer.errors import StackError
from streamer.topics import TOUCHPOINTS, kafka_name

PARTITIONS: Final = 4
HISTORY_HOURS: Final = 6
# Beyond the outage of the past.
HISTORY_HOURS_LEAST: Final = 1
HISTORY_RATE: Final = 8
LIVE_RATE: Final = 40
METRICS_PORT: Final = 9463
ROLES: Final = ("supervisor", "journeys", "rollup", "publisher")
# One outage half an hour ago, so that its abandonments fall due before the eyes of whoever watches, and one to come.
OUTAGE_PAST: Final = "payment-outage:platform=ios@-31m,8m"
OUTAGE_LIVE: Final = "payment-outage:platform=android@+{past_seconds}s,10m"
INCIDENT: Final = "payments on iOS failed half an hour ago (abandonment rises now); on Android they fail from the start of the live view"
CATCH_UP_SECONDS_MAX: Final = 240.0
LAG_MAX: Final = 500
SETTLE_SECONDS_MAX: Final = 10.0
PLAIN_EVERY_SECONDS: Final = 5.0


class Options(NamedTuple):
    """seconds: how long the live view lasts; None until Ctrl-C. state: where everything is written. free_ports: not the usual ones.

    hours: of past that are replayed first.
    """

    seconds: float | None = None
    state: Path = STATE
    free_ports: bool = False
    hours: float = HISTORY_HOURS


class Session:
    """One run. Everything started is stopped when `exit` closes, in reverse order."""

    def __init__(self, exit_: ExitStack, console: Console, options: Options) -> None:
        self._exit = exit_
        self._state = options.state
        self._free_ports = options.free_ports
        self._hours = options.hours
        self._console = console
        self._began = time.monotonic()
        self._children: list[Child] = []
        self.live_after_seconds = 0.0

    def say(self, text: str) -> None:
        """One line of progress."""
        self._console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/]  {escape(text)}", soft_wrap=True)

    async def start(self) -> Reader:
        """Start everything up to the worker; returns what reads the results."""
        metrics_port = _four_free_ports() if self._free_ports else METRICS_PORT
        for offset, role in enumerate(ROLES):
            ports.require_free(metrics_port + offset, f"the worker's {role} endpoint")
        self.say(f"Kafka, Redis and Prometheus start here (data in {self._state.name}/; what is missing is installed)")
        targets = [Target("streamer", f"{ports.HOST}:{metrics_port + offset}") for offset in range(len(ROLES))]
        stack = self._exit.enter_context(self._stack(targets))
        self._environment = {
            "STREAMER_KAFKA_BOOTSTRAP": stack.kafka.bootstrap,
            "STREAMER_REDIS_URL": stack.redis.url,
            "STREAMER_PARTITIONS": str(PARTITIONS),
            "STREAMER_METRICS_PORT": str(metrics_port),
        }
        self.where = {
            "Prometheus": f"{stack.prometheus.url}/graph?g0.expr=cx_abandon_ratio&g0.tab=0",
            "metrics": f"http://{ports.HOST}:{metrics_port + 2}/metrics",
            "alerts": ".venv/bin/streamer alerts tail --follow",
            "dashboards": "grafana/dashboards/*.json (docker compose up shows them in Grafana)",
        }
        self.say(f"topics with {PARTITIONS} partitions")
        self._run("topics", ["topics", "create"])
        self.say(f"the simulator replays {self._hours:g} past hours, then goes on live with {LIVE_RATE} events/s")
        self._spawn("simulator", self._simulation())
        await self._history_begins(stack.kafka.bootstrap)
        self.say("one worker: journeys, rollup and publisher")
        self._spawn("worker", ["worker"])
        store = AlertStore(connect(stack.redis.url))
        return Reader(stack.prometheus, store)

    def _stack(self, targets: list[Target]) -> Stack:
        if not self._free_ports:
            return Stack(self._state, targets=targets, fresh=True)
        kafka, redis, prometheus = (ports.pick() for _ in range(3))
        return Stack(self._state, kafka_port=kafka, redis_port=redis, prometheus_port=prometheus, targets=targets, fresh=True)

    async def _history_begins(self, bootstrap: str) -> None:
        """Wait until every partition has a record: an empty one would begin its time now, and the past would be late."""
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
        await consumer.start()
        try:
            partitions = [TopicPartition(kafka_name(TOUCHPOINTS), p) for p in range(PARTITIONS)]
            while not all((await consumer.end_offsets(partitions)).values()):
                self.check()
                await asyncio.sleep(0.1)
        finally:
            await consumer.stop()

    def _simulation(self) -> list[str]:
        history = ["--hours", str(self._hours), "--history-rate", str(HISTORY_RATE), "--customers", "20000"]
        now = OUTAGE_LIVE.format(past_seconds=round(self._hours * 3600))
        return ["simulate", *history, "--live", "--rate", str(LIVE_RATE), "--incident", OUTAGE_PAST, "--incident", now]

    def _spawn(self, name: str, arguments: list[str]) -> Child:
        child = Child(name, arguments, self._environment, self._state)
        self._exit.callback(child.stop)
        self._children.append(child)
        return child

    def _run(self, name: str, arguments: list[str]) -> None:
        child = Child(name, arguments, self._environment, self._state)
        self._exit.callback(child.stop)
        if code := child.wait():
            raise StackError(f"`streamer {' '.join(arguments)}` ended with code {code}: {child.last_words()}")

    def check(self) -> None:
        """Raises StackError if the worker or the simulator has ended, CancelledError if the demonstration is to end.

        A client library may have taken the cancellation for its own: what waits with `asyncio.wait_for` loses it where both come at once.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        for child in self._children:
            child.check()

    async def catch_up(self, reader: Reader) -> None:
        """Wait until the past hours are in the gauges."""
        until = time.monotonic() + CATCH_UP_SECONDS_MAX
        said = 0.0
        while True:
            self.check()
            reading = await reader.read()
            if reading.abandon.n and reading.lag < LAG_MAX and reading.behind_seconds < 60:
                break
            if time.monotonic() - said > PLAIN_EVERY_SECONDS and reading.consumed:
                said = time.monotonic()
                to_go = "" if math.isnan(reading.behind_seconds) else f", {reading.behind_seconds / 3600:.1f} hours to go"
                self.say(f"catching up: {reading.consumed:,} events read{to_go}")
            if time.monotonic() > until:
                raise StackError(f"the worker has not caught up within {CATCH_UP_SECONDS_MAX:.0f} s (logs in {self._state.name}/)")
            await asyncio.sleep(1)
        self.live_after_seconds = time.monotonic() - self._began
        self.say(f"caught up: {reading.consumed:,} events; live from here")
        self.say(f"incident: {INCIDENT}")
        for name, target in self.where.items():
            self.say(f"{name}: {target}")

    async def watch(self, reader: Reader, seconds: float | None) -> Reading:
        """Show the live view for so long; returns the last reading."""
        began = time.monotonic()
        plain = not self._console.is_terminal
        said = -PLAIN_EVERY_SECONDS
        reading = await reader.read()
        with Live(console=self._console, auto_refresh=False, screen=not plain, transient=plain) as live:
            while True:
                self.check()
                reading = await reader.read()
                elapsed = time.monotonic() - began
                if plain:
                    if elapsed - said >= PLAIN_EVERY_SECONDS:
                        said = elapsed
                        sys.stdout.write(view.line(reading, elapsed) + "\n")
                        sys.stdout.flush()
                else:
                    live.update(view.screen(reading, self.where, INCIDENT, *self._console.size), refresh=True)
                # A scrape may see one partition before and another after the same checkpoint, or come too late: the next one is whole.
                is_whole = reading.adds_up and reading.abandon.n > 0
                if seconds is not None and elapsed >= seconds and (is_whole or elapsed >= seconds + SETTLE_SECONDS_MAX):
                    return reading
                await asyncio.sleep(1)


def _four_free_ports() -> int:
    """The first of four consecutive free ports, which nobody else in this process will be given: the worker's endpoints."""
    found = [ports.pick()]
    while len(found) < len(ROLES):
        port = ports.pick()
        found = [*found, port] if port == found[-1] + 1 else [port]
    return found[0]


def summary(reading: Reading, first_figures_seconds: float, told: story.Story | None) -> dict[str, Any]:
    """The verdict: every hop with its number."""
    hops = {
        "kafka_events_consumed": reading.consumed,
        "worker_events_applied": reading.applied,
        "redis_alerts": reading.alerts_in_redis,
        "prometheus_abandon_sample_size": reading.abandon.n,
    }
    return {
        "ok": all(hops.values()) and reading.adds_up and told is not None,
        "hops": hops,
        "accounting_adds_up": reading.adds_up,
        "abandon_rate": {"value": reading.abandon.value, "lower": reading.abandon.lower, "upper": reading.abandon.upper},
        "events_per_second": round(reading.events_per_second, 1),
        "alerts_in_force": reading.active,
        "first_figures_seconds": round(first_figures_seconds, 1),
        "from_cause_to_end": story.summary(told),
    }


async def run(options: Options) -> int:
    """The demonstration; the exit code.

    Raises:
        StackError: something could not be started, or ended by itself.
    """
    console = Console(stderr=not sys.stdout.isatty(), highlight=False)
    clean(options.state)
    options.state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as exit_:
        session = Session(exit_, console, options)
        reader = await session.start()
        await session.catch_up(reader)
        reading = await session.watch(reader, options.seconds)
        told = await reader.story()
        for line in [] if told is None else story.lines(told, PARTITIONS):
            session.say(line)
    found = summary(reading, session.live_after_seconds, told)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["ok"] else 1
