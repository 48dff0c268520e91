"""The command `streamer worker`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer import log, settings
from streamer.commands.replay import DefinitionsFile, load_definitions
from streamer.engine import roles, topic_admin
from streamer.engine.definitions_file import keep
from streamer.engine.endpoint import Endpoint
from streamer.engine.supervisor import Supervisor, follow_supervisor
from streamer.errors import DefinitionsError, StreamerError
from streamer.metrics.families import ROLES, SUPERVISOR
from streamer.metrics.pipeline import Pipeline

if TYPE_CHECKING:
    from streamer.definitions import Definitions

logger = logging.getLogger(__name__)

# A role hands over within a third of the rebalance timeout and then ends its connections; this is on top.
HAND_OVER_SLACK_SECONDS = 10.0


class Role(StrEnum):
    """What a worker process does."""

    JOURNEYS = "journeys"
    ROLLUP = "rollup"
    PUBLISHER = "publisher"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(worker)


def stop_seconds(config: settings.Settings) -> float:
    """How long a role may take to stop before it is killed."""
    return config.rebalance_timeout_seconds / 3 + HAND_OVER_SLACK_SECONDS


def worker(
    *,
    role: Annotated[
        Role | None, typer.Option(envvar=settings.ROLE, help="Run this role alone; without it all three, as child processes.")
    ] = None,
    definitions: DefinitionsFile = None,
    supervised: Annotated[bool, typer.Option(hidden=True, help="End when standard input closes.")] = False,
    last_good: Annotated[Path | None, typer.Option(hidden=True, help="Definitions to start with if the file cannot be used.")] = None,
) -> None:
    """Turn touchpoints into gauges and alerts until SIGTERM or SIGINT.

    Exit code 0: stopped in order. 2: a setting or the definitions are wrong. 3: the topics do not fit. 4: retention deleted what is
    needed. 5: an offset was moved without its state. 7: Redis refused. 8: a server does not answer. 9: Kafka refused. 10: a newer
    version wrote the state. 70 to 73: a fault; a fresh
    process carries on from the last checkpoint.
    """
    config = settings.load(**({"definitions": definitions} if definitions else {}))
    log.setup(config, role or SUPERVISOR)
    try:
        parsed = _usable(config.definitions, last_good)
        if supervised:
            follow_supervisor(stop_seconds(config))
        code = _supervise_all(config, parsed) if role is None else roles.run(role, config, parsed, last_good)
    except StreamerError as exc:  # in the log's form: whoever collects the log reads lines of one kind
        logger.error("%s", exc, extra={"action": "worker.refused", "exit_code": exc.exit_code})
        code = exc.exit_code
    raise typer.Exit(code)


def _usable(definitions: Path | None, last_good: Path | None) -> Definitions:
    """The definitions of the file; of a role that is started again while the file cannot be used, the last good ones."""
    try:
        return load_definitions(definitions)
    except DefinitionsError as exc:
        if last_good is None or not last_good.exists():
            raise
        logger.warning("%s; starting with the last good definitions", exc, extra={"action": "definitions.rejected"})
        return load_definitions(last_good)


def _supervise_all(config: settings.Settings, definitions: Definitions) -> int:
    """Run all roles under a supervisor; returns the exit code."""
    if config.definitions is None:
        return asyncio.run(_supervise(config, []))
    told = ["--definitions", str(config.definitions)]
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-"))
        except OSError as exc:  # a container whose file system may only be read
            without = "no directory for temporary files (%s): a role that is restarted while the definitions file is wrong does not start"
            logger.warning(without, exc.strerror, extra={"action": "definitions.not_kept"})
        else:
            last_good = Path(directory) / "last-good.toml"
            keep(definitions, last_good)
            told += ["--last-good", str(last_good)]
        return asyncio.run(_supervise(config, told))


async def _supervise(config: settings.Settings, definitions: list[str]) -> int:
    """The supervisor with an endpoint of its own. definitions: what the roles are told of them."""
    pipeline = Pipeline(SUPERVISOR)
    commands = {role: [sys.executable, "-m", "streamer", "worker", "--role", role, "--supervised", *definitions] for role in ROLES}
    supervisor = Supervisor(commands, pipeline, stop_seconds=stop_seconds(config))
    endpoint = Endpoint(config, pipeline, ready=supervisor.ready)
    await endpoint.start()
    try:
        return await supervisor.run(lambda: topic_admin.require(config))
    finally:
        await endpoint.stop()
