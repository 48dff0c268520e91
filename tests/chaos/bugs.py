"""Known bugs to plant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.chaos.points import Points


class Bug(NamedTuple):
    """plant: puts it into the product's classes."""

    plant: Callable[[Points], None]


BUGS: Final[dict[str, Bug]] = {}
