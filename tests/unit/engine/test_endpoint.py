from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streamer.engine.endpoint import Endpoint, tls_context
from streamer.errors import SettingsError
from streamer.metrics.pipeline import Pipeline
from streamer.network import is_loopback
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class One(Collector):
    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("cx_one", "One.", value=1)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[str]:
    settings = options.pop("settings", Settings(metrics_port=0))
    endpoint = Endpoint(settings, Pipeline("journeys"), **{"ready": lambda: None, **options})
    port = await endpoint.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await endpoint.stop()


async def get(url: str, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, response.headers["Content-Type"], await response.text()


async def test_metrics_carry_the_heartbeat_of_this_moment_and_the_extra_collectors() -> None:
    async with serving(collectors=[One()]) as url:
        status, content_type, text = await get(f"{url}/metrics")
    heartbeat = next(line for line in text.splitlines() if line.startswith("streamer_heartbeat_timestamp_seconds{"))
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert time.time() - float(heartbeat.split()[-1]) < 2
    assert "cx_one 1.0" in text


async def test_an_answer_that_took_long_serves_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one who scrapes as often as it takes would leave the loop no time for anything else."""
    collected: list[float] = []

    class Slow(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            collected.append(time.monotonic())
            time.sleep(0.2)  # what it takes to collect: there is nothing to wait for
            yield GaugeMetricFamily("cx_one", "One.", value=len(collected))

    monkeypatch.setattr("streamer.engine.endpoint.REST", 20)
    async with serving(collectors=[Slow()]) as url:
        registered = len(collected)  # to know the names
        first, second = [(await get(f"{url}/metrics"))[2] for _ in range(2)]
        assert len(collected) == registered + 1
        assert first == second
        monkeypatch.setattr("streamer.engine.endpoint.REST", 0)
        _, content_type, other = await get(f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert f"cx_one {registered + 2}.0" in other
        _, _, again = await get(f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert f"cx_one {registered + 3}.0" in again


async def test_the_accept_header_chooses_openmetrics() -> None:
    async with serving() as url:
        _, content_type, text = await get(f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


async def test_ready_says_why_not() -> None:
    reason: list[str | None] = ["2 of 4 partitions restored"]
    async with serving(ready=lambda: reason[0]) as url:
        assert (await get(f"{url}/readyz"))[::2] == (503, "2 of 4 partitions restored\n")
        assert (await get(f"{url}/healthz"))[0] == 200
        reason[0] = None
        assert (await get(f"{url}/readyz"))[::2] == (200, "ok\n")


async def test_not_alive_when_the_role_says_it_is_stuck() -> None:
    async with serving(alive=lambda: "commit of partition 3 is stuck") as url:
        assert (await get(f"{url}/healthz"))[::2] == (503, "commit of partition 3 is stuck\n")


async def test_not_alive_when_the_loop_has_not_turned_lately() -> None:
    async with serving(stale_after_seconds=0.05) as url:
        request = asyncio.create_task(get(f"{url}/healthz"))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251  the fault under test: a blocked loop
        status, _, text = await request
    assert status == 503
    assert text.startswith("the event loop last turned")


async def test_nothing_else_is_served() -> None:
    async with serving() as url:
        assert (await get(f"{url}/"))[0] == 404
        async with aiohttp.ClientSession() as session, session.post(f"{url}/metrics", data=b"x") as response:
            assert response.status == 405
            assert response.headers["Server"] == "streamer"


async def test_a_taken_port_is_one_sentence() -> None:
    async with serving() as url:
        port = int(url.rpartition(":")[2])
        settings = Settings(metrics_port=port - 1)  # journeys has the next one
        endpoint = Endpoint(settings, Pipeline("journeys"), ready=lambda: None)
        with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 for the metrics is taken"):
            await endpoint.start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "metrics.example.org"])  # noqa: S104
async def test_an_address_others_can_reach_is_refused_without_client_certificates(host: str) -> None:
    endpoint = Endpoint(Settings(metrics_host=host, metrics_port=0), Pipeline("journeys"), ready=lambda: None)
    with pytest.raises(SettingsError, match="can be reached from other machines"):
        await endpoint.start()


async def test_an_open_address_is_accepted_when_told() -> None:
    async with serving(settings=Settings(metrics_host="0.0.0.0", metrics_port=0, allow_insecure=True)) as url:  # noqa: S104
        assert (await get(f"{url}/healthz"))[0] == 200


async def test_half_a_certificate_is_refused_and_never_plain(tmp_path: Path) -> None:
    settings = Settings(metrics_port=0, metrics_cert_file=tmp_path / "cert.pem")
    with pytest.raises(SettingsError, match="go together"):
        await Endpoint(settings, Pipeline("journeys"), ready=lambda: None).start()


@pytest.mark.parametrize(
    ("wrong", "content", "sentence"),
    [
        ("ca", None, "^metrics_ca_file names .*/ca.pem, which is not there$"),
        ("ca", "nonsense", "^metrics_ca_file names .*/ca.pem, which holds no certificate in PEM$"),
        ("cert", None, "^metrics_cert_file names .*/cert.pem, which is not there$"),
        ("key", None, "^metrics_key_file names .*/key.pem, which is not there$"),
        ("key", "nonsense", "^metrics_cert_file .*/cert.pem and metrics_key_file .*/key.pem are no certificate in PEM and its key$"),
    ],
)
def test_an_unusable_certificate_file_is_one_sentence_with_its_name(wrong: str, content: str | None, sentence: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {f"metrics_{name}_file": tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    assert tls_context(Settings.model_validate(files)) is not None
    (tmp_path / f"{wrong}.pem").unlink()
    if content is not None:
        (tmp_path / f"{wrong}.pem").write_text(content)
    with pytest.raises(SettingsError, match=sentence):
        tls_context(Settings.model_validate(files))


async def test_with_mtls_only_a_known_client_is_answered(tmp_path: Path) -> None:
    authority, server, client = trustme.CA(), tmp_path / "server.pem", tmp_path / "client.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server)
    authority.issue_cert("prometheus").private_key_and_cert_chain_pem.write_to_path(client)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = Settings(metrics_port=0, metrics_cert_file=server, metrics_key_file=server, metrics_ca_file=tmp_path / "ca.pem")
    async with serving(settings=settings) as url:
        stranger = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        known = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        known.load_cert_chain(client)
        address = url.replace("http:", "https:") + "/healthz"
        async with aiohttp.ClientSession() as session:
            async with session.get(address, ssl=known) as response:
                assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await session.get(address, ssl=stranger)


def test_ports_of_the_roles_follow_the_supervisors() -> None:
    settings = Settings(metrics_port=9000)
    assert [settings.metrics_port_of(role) for role in ("supervisor", "journeys", "rollup", "publisher")] == [9000, 9001, 9002, 9003]
    assert Settings(metrics_port=0).metrics_port_of("rollup") == 0


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.9.9.9", True), ("0.0.0.0", False)],  # noqa: S104
)
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
