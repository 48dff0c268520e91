"""The commands `streamer healthcheck` and `streamer doctor`."""

from __future__ import annotations

import http.client
import json
import ssl
from enum import StrEnum
from typing import Annotated

import typer

from streamer import settings
from streamer.errors import UnreachableError
from streamer.network import endpoint_context

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
# Shorter than what container engines give a health check.
ANSWER_SECONDS = 3.0
# Far more than a process with a thousand partitions has to say.
ANSWER_SIZE_MAX_BYTES = 1 << 20


class Process(StrEnum):
    """Whose endpoint is asked."""

    SUPERVISOR = "supervisor"
    JOURNEYS = "journeys"
    ROLLUP = "rollup"
    PUBLISHER = "publisher"
    FORWARDER = "forwarder"


# The forwarder runs beside a worker or elsewhere, so it is asked only by name.
WORKER = tuple(process for process in Process if process is not Process.FORWARDER)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(healthcheck)
    app.command()(doctor)


def healthcheck(
    *,
    role: Annotated[list[Process] | None, typer.Option(envvar=settings.ROLE, help="Only this process; may be given several times.")] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether partitions are assigned and restored, too.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the endpoints of the worker on this machine. Exit code 0: all answer that they are well. 1: one does not."""
    config = settings.load()
    answers = {process.value: _ask(config, process.value, "/readyz" if ready else "/healthz") for process in role or WORKER}
    well = all(answer == "ok" for answer in answers.values())
    if as_json:
        typer.echo(json.dumps({"ok": well, "processes": answers}))
    else:
        for name, answer in answers.items():
            typer.echo(f"{name}: {answer}")
    if not well:
        raise typer.Exit(1)


def _ask(config: settings.Settings, role: str, path: str) -> str:
    """`ok`, or why not."""
    try:
        status, text = answer_of(config, role, path)
    except UnreachableError as exc:
        return str(exc)
    return text[:1000].strip() if status == 200 else text[:1000].strip() or f"status {status}"


def answer_of(config: settings.Settings, role: str, path: str) -> tuple[int, str]:
    """Status and text of an endpoint of the worker on this machine. Raises UnreachableError."""
    port = config.metrics_port_of(role)
    if port == 0:
        raise UnreachableError("metrics_port is 0, so its port is not known")
    # What listens on all addresses is asked on the loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.metrics_host, config.metrics_host)  # noqa: S104
    connection = (
        http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=_client_tls(config))
        if config.metrics_cert_file
        else http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_SIZE_MAX_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        raise UnreachableError(f"does not answer on {host}:{port} ({exc})") from exc
    finally:
        connection.close()


def _client_tls(config: settings.Settings) -> ssl.SSLContext:
    """We pose as ourselves: the endpoint's own certificate, which its CA must have signed for clients as well.

    Raises:
        SettingsError: one of the files cannot be used.
    """
    context = endpoint_context(config, ssl.Purpose.SERVER_AUTH)
    context.check_hostname = False  # it is this machine
    return context


def doctor(*, as_json: Json = False) -> None:
    """Look at everything a worker needs and say what to do. Exit code 0: nothing is missing. 1: something is. 2: the settings."""
    import asyncio

    from streamer.commands.replay import load_definitions
    from streamer.engine import doctor as checks
    from streamer.errors import DefinitionsError

    config = settings.load()
    findings = checks.together(config)
    try:
        parsed = load_definitions(config.definitions)
        findings.append(checks.Finding("definitions", "ok", f"revision {parsed.revision}, {len(parsed.rule)} rules"))
    except DefinitionsError as exc:
        findings.append(checks.Finding("definitions", "failed", str(exc), "correct the file"))
    findings += checks.ports(config)

    async def ask() -> None:
        findings.extend(await checks.kafka(config))
        findings.append(await checks.redis(config))

    asyncio.run(ask())
    failed = any(finding.status == "failed" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "checks": [finding._asdict() for finding in findings]}))
    else:
        for finding in findings:
            fix = f": {finding.fix}" if finding.fix else ""
            typer.echo(f"{finding.status:<8}{finding.name}: {finding.detail}{fix}")
    if failed:
        raise typer.Exit(1)
