"""The nearest known name, for messages about one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

# More known names than this are not listed in a message.
LISTED_MAX: Final = 40


def quoted(word: str) -> str:
    """A word of the user's, as messages show it."""
    return '"' + (word if len(word) <= 60 else word[:57] + "...") + '"'


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 1)
    if not close:  # `Checkout` is not near `checkout` by letters
        folded = {name.casefold(): name for name in names}
        close = [folded[near] for near in difflib.get_close_matches(word.casefold(), sorted(folded), 1)]
    return close[0] if close else None


def hint(word: str, known: Iterable[str], listed: str = "") -> str:
    """`did you mean ...?`, or what is known. `listed`: where many names are listed."""
    names = sorted(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean {quoted(near)}?"
    if listed and len(names) > LISTED_MAX:
        return f"{listed} lists those known"
    return f"known are {', '.join(names)}" if names else "none is known"
