"""The file behind the definitions in force: what is taken over, what is refused, and what is said."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamer.definitions import Definitions, parse
from streamer.engine import definitions_file
from streamer.engine.definitions_file import DefinitionsFile
from streamer.engine.roles import described
from streamer.metrics.pipeline import Pipeline
from streamer.processor import InForce
from tests.engine_support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Followed:
    """A file that is followed; `adopted` are the revisions taken over, `partitions` what is in force."""

    def __init__(self, path: Path, text: str, prove: Callable[[Definitions], object], last_good: Path | None) -> None:
        self.path = path
        path.write_bytes(text.encode())
        self.pipeline = Pipeline("journeys")
        self.file = DefinitionsFile(parse(text), path, self.pipeline, prove, last_good)
        self.partitions = [InForce(self.file.current.revision, self.file.current.digest, None)]
        self.adopted: list[int] = []

    def adopt(self) -> None:
        self.adopted.append(self.file.current.revision)

    def write(self, text: str) -> None:
        self.path.write_bytes(text.encode())

    @property
    def failed(self) -> float | None:
        return self.pipeline.registry.get_sample_value("streamer_definitions_reload_failed", {"role": "journeys"})

    async def refused(self, sentence: str) -> None:
        await until(lambda: sentence in (self.file.problem or ""), f"{sentence!r}, not {self.file.problem!r}", 5)
        assert self.failed == 1


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions_file, "LOOK_SECONDS", 0.01)


@asynccontextmanager
async def following(
    path: Path,
    text: str = "revision = 2\n",
    prove: Callable[[Definitions], object] = lambda _: None,
    last_good: Path | None = None,
) -> AsyncIterator[Followed]:
    followed = Followed(path / "definitions.toml", text, prove, last_good)
    task = asyncio.create_task(followed.file.follow(lambda: followed.partitions, followed.adopt))
    try:
        yield followed
        assert not task.done(), "it follows for ever"
    finally:
        task.cancel()


async def test_a_higher_revision_comes_into_force(tmp_path: Path) -> None:
    async with following(tmp_path) as followed:
        followed.write("revision = 3\n")
        await until(lambda: followed.adopted == [3], "it is adopted", 5)
        assert followed.file.current == parse("revision = 3\n")
        assert (followed.failed, followed.file.problem) == (0, None)
        labels = {"role": "journeys", "revision": "3", "digest": followed.file.current.digest}
        assert followed.pipeline.registry.get_sample_value("streamer_definitions_info", labels) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("revision = 3\nx = 1\n", 'definitions.toml:2: unknown key "x"'),
        ("revision = 2\nwindows = ['1h']\n", "revision 2 is in force: raise `revision` above 2"),
        ("revision = 1\n", "has revision 1 and revision 2 is in force"),
        ("revision = 3\n# \udcff\n", "is not UTF-8"),
        ("", "`revision` is missing"),
    ],
)
async def test_what_cannot_be_used_keeps_the_last_good_until_the_file_is_right_again(text: str, sentence: str, tmp_path: Path) -> None:
    async with following(tmp_path) as followed:
        followed.path.write_bytes(text.encode(errors="surrogateescape"))
        await followed.refused(sentence)
        assert (followed.adopted, followed.file.current.revision) == ([], 2)
        followed.write("revision = 2\n")
        await until(lambda: followed.failed == 0, "the file is again what is in force", 5)
        assert (followed.adopted, followed.file.problem) == ([], None)
        followed.write("revision = 4\n")
        await until(lambda: followed.adopted == [4], "it is adopted", 5)


async def test_a_file_that_is_gone_is_told_and_taken_up_again(tmp_path: Path) -> None:
    async with following(tmp_path) as followed:
        followed.path.unlink()
        await followed.refused("the definitions file cannot be read: No such file or directory")
        followed.write("revision = 3\n")
        await until(lambda: followed.adopted == [3], "it is adopted", 5)


async def test_a_file_that_still_changes_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(
        [b"revision = 3\nwind", b"revision = 3\nwindows =", b"revision = 3\nwindows = ['5m']\n", b"revision = 3\nwindows = ['5m']\n"]
    )
    last = b"revision = 3\nwindows = ['5m']\n"
    async with following(tmp_path) as followed:
        monkeypatch.setattr(definitions_file, "_content", lambda _: next(looks, last))
        await until(lambda: followed.adopted == [3], "it is adopted", 5)
        rejected = {"role": "journeys", "outcome": "rejected"}
        assert followed.pipeline.registry.get_sample_value("streamer_config_reloads_total", rejected) == 0


async def test_what_nothing_can_be_made_of_is_refused(tmp_path: Path) -> None:
    def prove(definitions: Definitions) -> None:
        if definitions.revision == 3:
            raise ValueError("too large")

    async with following(tmp_path, prove=prove) as followed:
        followed.write("revision = 3\n")
        await followed.refused("cannot be used: ValueError: too large")
        assert followed.adopted == []


async def test_what_another_worker_has_brought_into_force_counts(tmp_path: Path) -> None:
    """In a rolling deployment: the file comes to one machine first, and the partitions move."""
    async with following(tmp_path) as followed:
        other = parse("revision = 4\n")
        followed.partitions = [InForce(4, other.digest, 17)]
        followed.write("revision = 4\nwindows = ['1h']\n")
        await followed.refused("revision 4 is in force: raise `revision` above 4")
        followed.write("revision = 3\n")
        await followed.refused("has revision 3 and revision 4 is in force")
        followed.write("revision = 4\n")
        await until(lambda: followed.adopted == [4], "the same file is no conflict", 5)


async def test_the_same_content_with_other_line_ends_is_another_file_but_not_an_edited_one(tmp_path: Path) -> None:
    async with following(tmp_path, "revision = 2\r\nwindows = ['1h']\r\n") as followed:
        await asyncio.sleep(0.1)  # ten looks
        assert (followed.adopted, followed.file.problem) == ([], None)


async def test_what_comes_into_force_is_kept_for_a_process_that_starts_while_the_file_cannot_be_used(tmp_path: Path) -> None:
    kept = tmp_path / "last-good.toml"
    async with following(tmp_path, last_good=kept) as followed:
        followed.write("revision = 3\n")
        await until(lambda: followed.adopted == [3], "it is adopted", 5)
        followed.write("revision = 4\nx = 1\n")
        await followed.refused("unknown key")
    assert kept.read_bytes() == b"revision = 3\n"
    assert names(tmp_path) == {"definitions.toml", "last-good.toml"}, "nothing half written is left"


async def test_where_it_cannot_be_kept_it_comes_into_force_all_the_same(tmp_path: Path) -> None:
    async with following(tmp_path, last_good=tmp_path / "absent" / "last-good.toml") as followed:
        followed.write("revision = 3\n")
        await until(lambda: followed.adopted == [3], "it is adopted", 5)


async def test_the_documented_default_is_not_followed() -> None:
    file = DefinitionsFile(parse("revision = 1\n"), None, Pipeline("rollup"))
    await file.follow(list, lambda: None)
    assert described(file, {3: InForce(1, "ab", 41)}) == {
        "file": None,
        "revision": 1,
        "digest": file.current.digest,
        "problem": None,
        "partitions": {"3": {"revision": 1, "digest": "ab", "after": 41}},
    }
