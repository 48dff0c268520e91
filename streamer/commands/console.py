"""Standard output for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from streamer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

# Wider than any table: one row a line for whatever reads it.
_UNCUT: Final = 1 << 16


def console(width_in_a_file: int = _UNCUT, **options: Any) -> Console:
    """Standard output as wide as the terminal; where it is none, as wide as is said, by default so that nothing is cut or wrapped.

    Texts are taken as they are: steps, slices and ids come from outside, and `[/address]` is a step.
    """
    found = Console(markup=False, emoji=False, **options)
    if not found.is_terminal:
        found.width = width_in_a_file
    return found


def as_name(path: Path | str) -> str:
    """A file's name, or what is said of the file, where only text may stand: bytes of it that are not UTF-8 as escapes."""
    return str(path).encode(errors="backslashreplace").decode()


def as_text(value: str) -> str:
    """Callback of an argument that is compared with what Kafka or Redis has. Raises InputError if the shell gave other bytes than UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InputError(f"{value!r} is no text in UTF-8, so that nothing has it as its id: look how the shell encodes it") from exc
    return value
