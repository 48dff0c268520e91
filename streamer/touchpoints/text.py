"""Strings from outside, cut to length; dimension values also cleaned, because they become labels, log fields and table cells."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

ID_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 128
DIMENSION_LENGTH_MAX: Final = 64

# C0, DEL, C1, line and paragraph separators, and the overrides that make text read in another order than it is stored.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
REPLACEMENT: Final = "\ufffd"
_KEPT: Final = 4096

Result = TypeVar("Result")


def clip(text: str) -> str:
    """At most 128 characters of an id."""
    return text if len(text) <= ID_LENGTH_MAX else text[:ID_LENGTH_MAX]


def clean(text: str, length: int = DIMENSION_LENGTH_MAX) -> str:
    """At most `length` characters, each control character replaced by U+FFFD."""
    return _CONTROLS.sub(REPLACEMENT, text[:length])


class Memo(dict[str, Result], Generic[Result]):
    """`memo[text]` is `function(text)`, remembered for the few thousand short texts that come again and again."""

    def __init__(self, function: Callable[[str], Result]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> Result:
        result = self._function(text)
        if len(text) <= TEXT_LENGTH_MAX:  # what is remembered is bounded in number and in size
            if len(self) >= _KEPT:
                self.clear()
            self[text] = result
        return result
