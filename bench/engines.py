"""The rivals and how they are run. What each promises, and which job it does, is part of the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bench import environments

Topics = Literal["main", "slow"]


class Run(NamedTuple):
    """One run of an engine. run: prefix of its topics and name of its group; directory: empty, for its state."""

    bootstrap: str
    topic: str
    run: str
    events: int
    directory: Path

    @property
    def common(self) -> list[str]:
        """The first arguments of every job."""
        return [self.bootstrap, self.topic, self.run]


class Engine(NamedTuple):
    """A rival. topics: the slow ones read smaller topics. panes: whether it does job B."""

    id: str
    title: str
    guarantee: str
    topics: Topics
    panes: bool
    command: Callable[[Run], list[str]]


def _kafka_streams(guarantee: str, commit_ms: int, *, threads: int, collector: str) -> Callable[[Run], list[str]]:
    def command(run: Run) -> list[str]:
        java = ["java", "-Xmx2g", f"-XX:+Use{collector}", "-cp", environments.classpath("kstreams"), "KafkaStreamsJob"]
        settings = [guarantee, "memory", str(threads), str(commit_ms), str(run.events), str(run.directory / "state"), "64"]
        return [*java, *run.common, *settings]

    return command


def _flink(parallelism: int, *, collector: str) -> Callable[[Run], list[str]]:
    def command(run: Run) -> list[str]:
        opens = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("util", "lang")]
        java = ["java", "-Xmx3g", f"-XX:+Use{collector}", *opens, "-cp", environments.classpath("flink"), "FlinkJob"]
        return [*java, *run.common, "exactly_once", str(parallelism), "2000", str(run.directory / "checkpoints")]

    return command


def _plain(run: Run) -> list[str]:
    return [*environments.python("plain"), "-m", "bench.rivals.plain_job", *run.common, str(run.events)]


def _quix(jobs: str, guarantee: str, *, commit_seconds: float, grace_seconds: float) -> Callable[[Run], list[str]]:
    def command(run: Run) -> list[str]:
        settings = [str(run.events), guarantee, jobs, str(run.directory / "state"), str(commit_seconds), str(grace_seconds)]
        return [*environments.python("quix"), "-m", "bench.rivals.quix_job", *run.common, *settings]

    return command


def _bytewax(run: Run) -> list[str]:
    return [*environments.python("bytewax"), "-m", "bench.rivals.bytewax_job", *run.common, str(run.directory / "recovery"), "5"]


def _faust(run: Run) -> list[str]:
    directory = run.directory / "data"
    job = ["-m", "bench.rivals.faust_job", *run.common, str(run.events), str(directory)]
    return [*environments.python("faust"), *job, "worker", "-l", "warn"]


EXACTLY, AT_LEAST, NOTHING = "exactly once", "at least once", "none"

RIVALS: Final = (
    Engine(
        "kstreams", "Kafka Streams, commit 100 ms, 2 threads, G1", EXACTLY, "main", True,
        _kafka_streams("exactly_once_v2", 100, threads=2, collector="G1GC"),
    ),
    Engine(
        "kstreams-lean", "Kafka Streams, commit 100 ms, 1 thread, ParallelGC", EXACTLY, "main", True,
        _kafka_streams("exactly_once_v2", 100, threads=1, collector="ParallelGC"),
    ),
    Engine(
        "kstreams-alo", "Kafka Streams, commit 30 s, 2 threads, G1", AT_LEAST, "main", True,
        _kafka_streams("at_least_once", 0, threads=2, collector="G1GC"),
    ),
    Engine("flink", "Flink, checkpoints 2 s, parallelism 2, G1", EXACTLY, "main", True, _flink(2, collector="G1GC")),
    Engine("flink-lean", "Flink, checkpoints 2 s, parallelism 1, ParallelGC", EXACTLY, "main", True, _flink(1, collector="ParallelGC")),
    Engine("plain", "plain Python loop", NOTHING, "main", True, _plain),
    Engine(
        "quix-a", "Quix Streams, commit 5 s, job A alone", EXACTLY, "main", False,
        _quix("A", "exactly-once", commit_seconds=5, grace_seconds=5),
    ),
    Engine(
        "quix", "Quix Streams, commit 5 s, grace 120 s", EXACTLY, "slow", True,
        _quix("AB", "exactly-once", commit_seconds=5, grace_seconds=120),
    ),
    Engine("bytewax", "Bytewax, epochs of 5 s", AT_LEAST, "main", True, _bytewax),
    Engine("faust", "stock Faust", AT_LEAST, "slow", True, _faust),
)  # fmt: skip
