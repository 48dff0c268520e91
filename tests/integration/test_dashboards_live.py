"""Every expression of every dashboard returns data from the real chain: simulator, Kafka, worker, Redis, Prometheus (layer 4)."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pytest
import redis
from prometheus_client import CollectorRegistry, start_http_server

from deploy.local import ports
from deploy.local.prometheus import Prometheus, Target
from streamer.alerts import PlainOutcomes
from streamer.alerts.alert import decode
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.metrics.exporter import BusinessCollector
from streamer.metrics.readings import SHOW_MINIMUM, AccountsReading, Gauge, RuleReading, SourceReading
from tests.chain_support import PROCESSES, port_block
from tests.unit.grafana import dashboards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deploy.local.kafka import Kafka
    from deploy.local.redis import Redis
    from tests.servers import PrometheusFactory

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

T = TypeVar("T")

# Two hours, so that half an hour of silence has passed for many checkouts; sent before the worker starts, or it would be late.
PAST: Final = ("simulate", "--hours", "2", "--rate", "8", "--customers", "2000", "--seed", "7")
PRESENT: Final = ("simulate", "--hours", "0", "--live", "--rate", "80", "--customers", "2000", "--seed", "8", "--poison")
WAIT_SECONDS: Final = 150
CATALOGUE: Final = "Catalogue"
CHOSEN: Final = {
    "job": ".+",
    "instance": ".+",
    "journey": "checkout",
    "window": "24h",
    "platform": "^$",
    "metric": "cx_abandon_ratio",
    "by": "journey,channel",
}
# Empty as long as all is well, each with the panel's other expression that has data.
QUIET: Final = {
    "Pipeline / Cut by a limit / B": "no label value was too many; `none` draws the zero",
}


@dataclass
class Chain:
    """The running product and the Prometheus that watches it."""

    prometheus: Prometheus
    worker: subprocess.Popen[bytes]
    log: Path
    redis_url: str
    redis_prefix: str

    def values(self, expr: str, chosen: dict[str, str] = CHOSEN) -> list[float]:
        """The finite values of an expression now."""
        found = self.prometheus.query(dashboards.substitute(expr, chosen))
        return [value for value in (float(series["value"][1]) for series in found) if math.isfinite(value)]

    def only(self, expr: str) -> float:
        """The value of an expression that has one. After a scrape that took longer than the interval, on a busy machine, there is nothing
        until the next one.
        """
        values = _asked_again(lambda: self.values(expr))
        assert values, f"no value of {expr}; log: {self.log.read_text()[-3000:]}"
        (value,) = values
        return value

    def labels(self, target: dashboards.Target) -> set[str]:
        """What a variable finds, once it finds anything."""
        expr = dashboards.substitute(target.expr, CHOSEN)
        return set(_asked_again(lambda: [one["metric"][target.ref] for one in self.prometheus.query(expr) if target.ref in one["metric"]]))

    def broken_down(self, expr: str) -> set[str]:
        """The values of the slice that the table *Where?* has, once it has any."""
        found = _asked_again(lambda: [one["metric"].get("of", "") for one in self.prometheus.query(expr)])
        return {" ".join(of.split()) for of in found}

    def wait_for(self, targets: list[dashboards.Target], chosen: dict[str, str] = CHOSEN) -> list[dashboards.Target]:
        """Ask until each has data or the time is over; returns those without."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (targets := [target for target in targets if not self.values(target.expr, chosen)]) and time.monotonic() < deadline:
            assert self.worker.poll() is None, self.log.read_text()[-3000:]
            time.sleep(1)  # the scrape interval: asking more often cannot show more
        return targets


def _asked_again(ask: Callable[[], list[T]]) -> list[T]:
    """The first answer that has anything in it, or the last one of the time there is."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := ask()) and time.monotonic() < deadline:
        time.sleep(1)  # the scrape interval: asking more often cannot show more
    return found


@contextmanager
def _running(log: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("ab") as file,
        subprocess.Popen(
            [sys.executable, "-m", "streamer", *arguments], env=environment, cwd=dashboards.ROOT, stdout=file, stderr=file
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


class _Taker(BaseHTTPRequestHandler):
    """A receiver of webhooks that takes everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Say nothing."""


@contextmanager
def _receiver(directory: Path) -> Iterator[Path]:
    """A receiver of webhooks, and the file that names it as a sink."""
    with ThreadingHTTPServer((ports.HOST, ports.pick()), _Taker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (directory / "secret").write_text("0123456789abcdef")
        sinks = directory / "sinks.toml"
        url = f"http://{ports.HOST}:{server.server_port}/"
        sinks.write_text(f'[[sink]]\nname = "crm"\nkind = "webhook"\nurl = "{url}"\nsecret_file = "secret"\nstart = "all"\n')
        try:
            yield sinks
        finally:
            server.shutdown()


@pytest.fixture
def chain(kafka: Kafka, redis_server: Redis, prometheus: PrometheusFactory, unique: str, tmp_path: Path) -> Iterator[Chain]:
    port = port_block()
    environment = {
        **os.environ,
        "STREAMER_APP": unique,
        "STREAMER_TOPIC_PREFIX": f"{unique}.",
        "STREAMER_REDIS_PREFIX": f"{unique}:",
        "STREAMER_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "STREAMER_REDIS_URL": redis_server.url,
        "STREAMER_PARTITIONS": "2",
        "STREAMER_METRICS_PORT": str(port),
    }
    log = tmp_path / "chain.log"
    for arguments in (("topics", "create"), PAST):
        subprocess.run(
            [sys.executable, "-m", "streamer", *arguments], env=environment, cwd=dashboards.ROOT, check=True, capture_output=True
        )
    watching = prometheus([Target("streamer", f"127.0.0.1:{port + number}") for number in range(PROCESSES)])
    with (
        _receiver(tmp_path) as sinks,
        _running(log, ("worker",), environment) as worker,
        _running(log, PRESENT, environment),
        _running(log, ("alerts", "forward", "--config", str(sinks)), environment),
    ):
        yield Chain(watching, worker, log, redis_server.url, f"{unique}:")


def test_every_expression_returns_data_from_the_running_product(chain: Chain) -> None:
    targets = [target for target in dashboards.targets(annotations=False) if str(target) not in QUIET and target.dashboard != CATALOGUE]
    _judge_an_alert(chain)
    estimates = [target for target in targets if target.ref != "I"]  # "I" is the estimate as long as it is insufficient
    missing = chain.wait_for(estimates)
    assert not missing, f"no data for {[str(target) for target in missing]}; log: {chain.log.read_text()[-3000:]}"
    _check_variables(chain)
    _check_ranges(chain)
    _check_platforms(chain)
    _check_quiet(chain)
    _check_catalogue(chain)
    for note in dashboards.targets():
        if note.panel == "annotations":
            chain.values(note.expr)  # Prometheus understands it; whether something happened just now is another matter


def _judge_an_alert(chain: Chain) -> None:
    """Somebody helps the customer of the first alert."""
    deadline = time.monotonic() + WAIT_SECONDS
    with redis.Redis.from_url(chain.redis_url) as client, PlainOutcomes(chain.redis_url, prefix=chain.redis_prefix) as outcomes:
        while not (entries := cast("list[Any]", client.xrange(f"{chain.redis_prefix}alerts", count=1))):
            assert time.monotonic() < deadline, chain.log.read_text()[-3000:]
            time.sleep(0.2)  # until the worker has folded so far
        outcomes.acknowledge(decode(entries[0][1][b"alert"]), by="a test", outcome="saved")


def _check_variables(chain: Chain) -> None:
    """What the variables open with is among the values they find."""
    for target in dashboards.variable_queries():
        found = chain.labels(target)
        assert found, str(target)
        if target.ref in ("journey", "window"):
            opened = {"journey": "checkout", "window": "1h"}[target.ref]
            assert opened in found, f"{target} opens with {opened}, there are {found}"


def _check_ranges(chain: Chain) -> None:
    """Ratios are ratios (-1: insufficient), ages are not negative, and what must be zero is."""
    for name in dashboards.FILES:
        for panel in dashboards.panels(dashboards.load(name)):
            unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
            for target in panel.get("targets", []):
                values = chain.values(target["expr"])
                if unit == "percentunit":
                    assert all(0 <= value <= 1 or value == -1 for value in values), (panel["title"], values)
                elif unit in ("s", "bytes", "eps", "ops"):
                    assert all(value >= -1 for value in values), (panel["title"], values)  # -1 s: clocks of one machine, two scrapes
    assert _only(chain, "Unaccounted events") == 0
    assert _only(chain, "Processes down") == 0
    assert 0 < _only(chain, "Abandon rate") < 1  # sufficient, and not everybody gives up
    assert _only(chain, "At least (95 %)") < _only(chain, "Abandon rate")


def _check_platforms(chain: Chain) -> None:
    """Choosing a platform narrows what is counted: the parts are each smaller than the whole and add up to it."""
    (started,) = [target for target in dashboards.targets() if (target.panel, target.ref) == ("Funnel in the window", "A")]
    (listing,) = [target for target in dashboards.variable_queries() if target.ref == "platform"]
    platforms = chain.labels(listing)
    assert len(platforms) > 1
    # One expression, so that all numbers are of the same scrape.
    parts = " + ".join(f"scalar({dashboards.substitute(started.expr, {**CHOSEN, 'platform': platform})})" for platform in platforms)
    whole = f"scalar({dashboards.substitute(started.expr, CHOSEN)})"
    assert chain.only(f"vector({whole} - ({parts}))") == 0


def _check_quiet(chain: Chain) -> None:
    """What is excused for being empty shares its panel with something that is not."""
    for target in dashboards.targets(annotations=False):
        if str(target) in QUIET:
            siblings = [each for each in dashboards.targets(annotations=False) if each[:2] == target[:2] and str(each) not in QUIET]
            assert any(chain.values(each.expr) for each in siblings), str(target)


def _check_catalogue(chain: Chain) -> None:
    """Prometheus understands every panel, and most have data; what takes weeks or is rare has not happened in two hours."""
    shown = [target for target in dashboards.targets(annotations=False) if target.dashboard == CATALOGUE]
    filled = {target.panel for target in shown if chain.values(target.expr)}
    every = {target.panel for target in shown}
    assert len(filled) > len(every) / 2, sorted(every - filled)
    _check_breakdown(chain, [target for target in shown if target.panel in ("Now", "Over time")])


def _check_breakdown(chain: Chain, targets: list[dashboards.Target]) -> None:
    """A rate, a count, a stock, each by a slice that it has; the values are those of the gauges."""
    (table, *_) = targets
    for metric, by, name in (
        ("cx_abandon_ratio", "journey", "checkout"),
        ("cx_touchpoints", "journey,channel", "checkout web"),
        ("cx_journeys_open", "journey", "checkout"),
    ):
        chosen = {**CHOSEN, "metric": metric, "by": by}
        found = chain.broken_down(dashboards.substitute(table.expr, chosen))
        assert found >= {name}, (metric, found)
        assert chain.wait_for([target for target in targets if target.ref == "A"], chosen) == []


def _only(chain: Chain, panel: str) -> float:
    (target,) = [target for target in dashboards.targets() if target.panel == panel]
    return chain.only(target.expr)


class Reader:
    """A rollup partition with one metric of two journeys: many cases of one, hardly any of the other, none of a third."""

    partition = 0
    clock_ms = 1
    held_entries = 0
    partial = False
    label_overflow: Final[dict[str, int]] = {}

    def gauges(self) -> Iterator[Gauge]:
        metric = METRIC_BY_ID["abandon_rate"]
        for journey, k, n in (("plenty", 40, 100), ("few", 1, SHOW_MINIMUM - 1), ("none", 0, 0)):
            value, lower, upper = (k / n, 0.1, 0.9) if n else (None, None, None)
            yield Gauge(metric, ("journey",), (journey,), "1h", value, lower, upper, k, n, n >= SHOW_MINIMUM, partial=False)

    def sources(self) -> Iterator[SourceReading]:
        yield from ()

    def rule_states(self) -> Iterator[RuleReading]:
        yield from ()

    def account_states(self) -> Iterator[AccountsReading]:
        yield from ()


def test_too_small_a_sample_reads_insufficient_instead_of_a_number_or_nothing(prometheus: PrometheusFactory) -> None:
    registry = CollectorRegistry()
    registry.register(BusinessCollector(lambda: [Reader()]))
    server, thread = start_http_server(ports.pick(), ports.HOST, registry)
    try:
        watching = prometheus([Target("streamer", f"{ports.HOST}:{server.server_port}")])
        deadline = time.monotonic() + 30
        while not watching.query("cx_abandon_ratio") and time.monotonic() < deadline:
            time.sleep(0.2)  # until the first scrape

        def shown(panel: str, ref: str, journey: str) -> list[float]:
            (expr,) = [target.expr for target in dashboards.targets() if (target.panel, target.ref) == (panel, ref)]
            chosen = {**CHOSEN, "window": "1h", "journey": journey}
            return [float(series["value"][1]) for series in watching.query(dashboards.substitute(expr, chosen))]

        assert shown("Abandon rate", "A", "plenty") == [0.4]
        assert shown("Abandon rate", "A", "few") == [-1]
        assert shown("Abandon rate", "A", "none") == [-1]
        assert shown("Abandon rate with 95 % interval", "A", "plenty") == [0.4]
        assert shown("Abandon rate with 95 % interval", "I", "plenty") == []
        assert shown("Abandon rate with 95 % interval", "A", "few") == []
        assert shown("Abandon rate with 95 % interval", "I", "few") == [1 / 9]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
