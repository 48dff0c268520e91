"""Files that pictures are drawn into, looked at before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable


def drawable(option: str, *kinds: str) -> Callable[[Path | None], Path | None]:
    """A callback of an option, which refuses names that say no kind of picture and directories. kinds: endings such as `.png`."""
    *most, last = kinds

    def checked(path: Path | None) -> Path | None:
        if path is not None and path.is_dir():
            raise InputError(f"{option} {path} is a directory: name a file")
        if path is not None and path.suffix.lower() not in kinds:
            raise InputError(f"{option} {path}: give it a name that ends in {', '.join(most)} or {last}")
        return path

    return checked
