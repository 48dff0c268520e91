"""The definitions of a running process and the file they come from: an edited file comes into force without a restart.

The file is read every second, whichever way it was replaced: written in place, renamed, or a symbolic link set anew as Kubernetes
does. It is judged when it was the same at two looks, so that half of it is never taken for the whole. What cannot be used
changes nothing: the last good definitions stay in force, and metric, log and `streamer rules status` say so.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

from streamer.definitions import Definitions, parse
from streamer.errors import DefinitionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from streamer.metrics.pipeline import Pipeline
    from streamer.processor import InForce

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0


class DefinitionsFile:
    """current: what partitions are opened with from now on. path: None for the documented default, which nobody edits.

    problem: why the file as it is now is not in force, None if it is. `prove` makes what is made of definitions, and raises if that
    cannot be. last_good: where those that come into force are kept for a process that starts while the file cannot be used.
    """

    def __init__(
        self,
        definitions: Definitions,
        path: Path | None,
        pipeline: Pipeline,
        prove: Callable[[Definitions], object] = lambda _: None,
        last_good: Path | None = None,
    ) -> None:
        self.current = definitions
        self.path = path
        self.problem: str | None = None
        self._prove = prove
        self._last_good = last_good
        self._pipeline = pipeline
        self._judged: bytes | str = definitions.text.encode()
        pipeline.reloaded("accepted", revision=definitions.revision, digest=definitions.digest)

    async def follow(self, in_force: Callable[[], Iterable[InForce]], adopt: Callable[[], None]) -> None:
        """Look again and again, for ever. in_force: of the partitions this process owns. adopt: called when `current` has changed."""
        if self.path is None:
            return
        before: bytes | str = self._judged
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            found = await asyncio.to_thread(_content, self.path)
            if found == before and found != self._judged:
                self._judged = found
                if await self._judge(found, in_force):
                    adopt()
            before = found

    async def _judge(self, found: bytes | str, in_force: Callable[[], Iterable[InForce]]) -> bool:
        """Whether the file's content, or why it cannot be read, makes other definitions current."""
        try:
            definitions = await asyncio.to_thread(self._parsed, found)
            self._refuse_conflict(definitions, in_force())
        except DefinitionsError as exc:
            self.problem = str(exc)
            self._pipeline.reloaded("rejected", revision=self.current.revision, digest=self.current.digest)
            logger.warning("%s; revision %d stays in force", exc, self.current.revision, extra={"action": "definitions.rejected"})
            return False
        self.problem = None
        if definitions.digest == self.current.digest:
            self._pipeline.reload_settled()
            logger.info("the definitions file is again what is in force", extra={"action": "definitions.settled"})
            return False
        self.current = definitions
        if self._last_good is not None:
            await asyncio.to_thread(keep, definitions, self._last_good)
        self._pipeline.reloaded("accepted", revision=definitions.revision, digest=definitions.digest)
        told = "definitions of revision %d (%s) come into force"
        logger.info(told, definitions.revision, definitions.digest, extra={"action": "definitions.accepted"})
        return True

    def _parsed(self, found: bytes | str) -> Definitions:
        if isinstance(found, str):
            raise DefinitionsError(found)
        try:
            definitions = parse(found.decode(), str(self.path))
        except UnicodeDecodeError as exc:
            raise DefinitionsError(f"{self.path} is not UTF-8") from exc
        try:
            self._prove(definitions)
        except Exception as exc:
            raise DefinitionsError(f"{self.path} cannot be used: {type(exc).__name__}: {exc}") from exc
        return definitions

    def _refuse_conflict(self, definitions: Definitions, in_force: Iterable[InForce]) -> None:
        """Raise DefinitionsError if they could not follow: a partition would refuse to be opened with them, or ignore them."""
        newest, digests = self.current.revision, {self.current.digest}
        for one in in_force:
            if one.revision > newest:
                newest, digests = one.revision, set()
            if one.revision == newest:
                digests.add(one.digest)
        if definitions.digest in digests and digests == {definitions.digest}:
            return
        if definitions.revision <= newest:
            raise DefinitionsError(
                f"{self.path} was changed, but has revision {definitions.revision} and revision {newest} is in force:"
                f" raise `revision` above {newest}"
            )


def keep(definitions: Definitions, last_good: Path) -> None:
    """Write them where the next process of this worker finds them, whole or not at all."""
    try:
        written = last_good.with_name(f"{last_good.name}.{os.getpid()}")
        written.write_bytes(definitions.text.encode())
        written.replace(last_good)
    except OSError as exc:
        told = "the definitions could not be kept at %s for a restart while the file cannot be used: %s"
        logger.warning(told, last_good, exc.strerror, extra={"action": "definitions.not_kept"})


def _content(path: Path) -> bytes | str:
    """The file's bytes, or one sentence why they cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        return f"{path}: the definitions file cannot be read: {exc.strerror}"
