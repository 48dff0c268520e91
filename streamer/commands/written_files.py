"""Files that commands write, looked at before anything is computed: an answer of hours must not end in a place that is not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[Path | None], Path | None]


def writable(option: str) -> Callback:
    """A callback of an option, which refuses directories, and files in directories that are not there or may not be written to.

    `-` is standard output.
    """

    def checked(path: Path | None) -> Path | None:
        if path is not None and str(path) != "-":
            _check(option, path)
        return path

    return checked


def drawable(option: str, *kinds: str) -> Callback:
    """Like `writable`, and refuses names that say no kind of picture. kinds: endings such as `.png`."""
    *most, last = kinds

    def checked(path: Path | None) -> Path | None:
        if path is not None:
            _check(option, path)
            if path.suffix.lower() not in kinds:
                raise InputError(f"{option} {path}: give it a name that ends in {', '.join(most)} or {last}")
        return path

    return checked


def replaceable(option: str) -> Callback:
    """Like `writable` for a file that another takes the place of: gives what a link leads to, and refuses devices and pipes."""

    def checked(path: Path | None) -> Path | None:
        if path is None:
            return None
        _check(option, path)
        if path.exists() and not path.is_file():
            raise InputError(f"{option} {path} is no regular file, which a new one could replace: name another")
        return real(path)

    return checked


def real(path: Path) -> Path:
    """What the path leads to, whether or not it is there; loops of links stay as they are."""
    return Path(os.path.realpath(path))


def _check(option: str, path: Path) -> None:
    try:
        if path.is_dir():
            raise InputError(f"{option} {path} is a directory: name a file")
        place = path if path.exists() else real(path).parent
    except OSError as exc:  # a name that is too long
        raise InputError(f"{option} {path}: cannot be written: {exc.strerror}") from exc
    if not place.exists():
        raise InputError(f"{option} {path}: there is no directory {place}: make it, or name another")
    if place != path and not place.is_dir():
        raise InputError(f"{option} {path}: {place} is no directory: name another place")
    if not os.access(place, os.W_OK):
        raise InputError(f"{option} {path}: {place} may not be written to: change its permissions, or name another")
