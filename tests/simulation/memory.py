"""Pure functions remember what they made of a text, while histories run: every owner reads the same definitions."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from streamer import definitions
from streamer.journeys import marker, plan
from streamer.rollup import state
from streamer.rules import language

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def remembered() -> Iterator[None]:
    """Three quarters of a history's time would go into TOML and expressions."""
    parse: Any = cache(definitions.parse)
    compile_expression: Any = cache(language.compile_expression)
    names_in: Any = cache(language.names_in)
    matches: Any = cache(plan.matches)
    with (
        patch.object(marker, "parse", parse),
        patch.object(state, "parse", parse),
        patch.object(language, "compile_expression", compile_expression),
        patch.object(language, "names_in", names_in),
        patch.object(plan, "matches", matches),
    ):
        yield
