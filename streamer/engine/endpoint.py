"""The health and metrics endpoint of one process, in its own event loop: what answers is what works.

GET /metrics   the registry, as Prometheus text or OpenMetrics by the Accept header
GET /healthz   liveness: the event loop turned lately and nothing reported itself stuck (never "Kafka is reachable")
GET /readyz    readiness: partitions assigned and restored
GET /definitions   which definitions are in force, as JSON; only where there are any

It has no user data and no password of its own, so it listens on the loopback only, unless it is told to check client
certificates (mTLS) or that insecure is accepted. prometheus_client's own server would listen on every interface, and
would serve plain HTTP when half of a certificate is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamer.errors import SettingsError
from streamer.network import endpoint_context, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric
    from prometheus_client.registry import Collector

    from streamer.metrics.pipeline import Pipeline
    from streamer.settings import Settings

# Often enough for a heartbeat alert within seconds, rare enough to cost nothing.
TICK_SECONDS: Final = 0.5
# What a scrape took, its answer serves so many times as long: thousands of series take a slow machine seconds, in which nothing is folded
# and no commit goes on, and whoever scrapes every second would leave no others.
REST: Final = 2
# Scrapes have no body; nothing longer than a request line and headers is read.
REQUEST_SIZE_MAX_BYTES: Final = 1024


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The server's TLS with client certificates required, or None for plain HTTP.

    Raises:
        SettingsError: half a configuration, unreadable files, or an address others can reach without mTLS.
    """
    files = (settings.metrics_cert_file, settings.metrics_key_file, settings.metrics_ca_file)
    if not any(files):
        if not is_loopback(settings.metrics_host) and not settings.allow_insecure:
            raise SettingsError(
                f"metrics_host {settings.metrics_host} can be reached from other machines and the endpoint has no password:"
                " set metrics_cert_file, metrics_key_file and metrics_ca_file (mTLS), or allow_insecure"
            )
        return None
    if not all(files):
        raise SettingsError("metrics_cert_file, metrics_key_file and metrics_ca_file go together: set all three or none")
    context = endpoint_context(settings, ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class Endpoint:
    """Serves one process's metrics and health from the running event loop.

    `ready` and `alive` return None or the reason why not. `collectors` (e.g. the business gauges) join the registry.
    `before_scrape` sets gauges that are read rather than counted; `definitions` tells which are in force.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        *,
        ready: Callable[[], str | None],
        alive: Callable[[], str | None] = lambda: None,
        collectors: Iterable[Collector] = (),
        before_scrape: Callable[[], None] = lambda: None,
        definitions: Callable[[], dict[str, Any]] | None = None,
        stale_after_seconds: float | None = None,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._checks = {"/healthz": self._stale, "/readyz": ready}
        self._alive = alive
        self._before_scrape = before_scrape
        self._definitions = definitions
        self._stale_after_seconds = stale_after_seconds or settings.watchdog_seconds
        for collector in collectors:
            pipeline.registry.register(collector)
        self._runner: web.AppRunner | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._last_tick = 0.0
        self._scraping = asyncio.Lock()
        self._answers: dict[str, tuple[float, bytes]] = {}  # by content type: until when it serves, and what it is
        self.port = 0

    async def start(self) -> int:
        """Listen; returns the port.

        Raises:
            SettingsError: the port is taken, or the address is open to others without mTLS.
        """
        tls = tls_context(self._settings)
        host, port = self._settings.metrics_host, self._settings.metrics_port_of(self._pipeline.role)
        app = web.Application(client_max_size=REQUEST_SIZE_MAX_BYTES)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._check)
        app.router.add_get("/readyz", self._check)
        if self._definitions is not None:
            app.router.add_get("/definitions", self._in_force)
        app.on_response_prepare.append(_hide_versions)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        except OSError as exc:
            await self.stop()
            if exc.errno == errno.EADDRINUSE:
                raise SettingsError(f"port {port} of {host} for the metrics is taken: end its owner or set metrics_port") from exc
            raise SettingsError(f"the metrics endpoint cannot listen on {host}:{port}: {exc.strerror}") from exc
        self.port = self._runner.addresses[0][1]
        self._last_tick = asyncio.get_running_loop().time()
        self._ticking = asyncio.create_task(self._tick(), name="endpoint heartbeat")
        return self.port

    async def stop(self) -> None:
        """Stop listening; open requests get a second."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._pipeline.heartbeat()
        while True:
            due = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._last_tick = loop.time()
            self._pipeline.heartbeat(lag_seconds=max(0.0, self._last_tick - due))

    def _stale(self) -> str | None:
        age = asyncio.get_running_loop().time() - self._last_tick
        if age > self._stale_after_seconds:
            return f"the event loop last turned {age:.1f} s ago"
        return self._alive()

    async def _check(self, request: web.Request) -> web.Response:
        reason = self._checks[request.path]()
        return web.Response(text="ok\n" if reason is None else f"{reason}\n", status=200 if reason is None else 503)

    async def _in_force(self, _request: web.Request) -> web.Response:
        assert self._definitions is not None  # noqa: S101  there is no route otherwise
        return web.json_response(self._definitions())

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        async with self._scraping:
            good_until, body = self._answers.get(content_type, (0.0, b""))
            began = asyncio.get_running_loop().time()
            if began >= good_until:
                self._before_scrape()
                # The numbers are of one moment of the fold; writing them down is not, and takes most of the time.
                body = await asyncio.to_thread(encode, _Collected(list(self._pipeline.registry.collect())))
                now = asyncio.get_running_loop().time()
                self._answers[content_type] = (now + REST * (now - began), body)
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Collected(CollectorRegistry):
    """What a registry has given."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Give it again."""
        return self._families


async def _hide_versions(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "streamer"
