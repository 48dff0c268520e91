"""What holds of every chapter of the catalogue."""

from __future__ import annotations

from streamer.definitions import parse
from streamer.journeys.fold import Fold
from streamer.metrics.catalogue import CHAPTERS, CORE
from tests.chapters.support import SLICES


def test_every_chapter_that_is_on_is_in_the_fold() -> None:
    # Compiled, too: tests/simulation/test_compiled.py folds with the chapters of the default.
    on = [chapter for chapter in CHAPTERS if chapter not in CORE]
    fold = Fold(parse(SLICES + "".join(f"[{chapter}]\n" for chapter in on)))
    assert list(fold.chapters) == [chapter.id for chapter in fold.chapters.values()]
    assert set(fold.chapters) == set(on)
