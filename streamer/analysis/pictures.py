"""How pictures look: one palette, quiet axes, the finding as the title, how to read it at the foot."""

from __future__ import annotations

import io
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INK: Final = "#1f2933"
MUTED: Final = "#7b8794"
BLUE: Final = "#2f6fb2"
RED: Final = "#c8553d"
GREY: Final = "#c3cbd4"
# From bad to good, told apart by the colour-blind too.
SCALE: Final = ("#c8553d", "#c3cbd4", "#2f6fb2", "#1b4b7f", "#0c2c4e")
# Behind a text that lines may cross.
PAPER: Final = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
_SIZE_INCHES: Final = (10.0, 5.6)
# Characters that fit beside each other, and lines of a title; its rest is told in the table.
_TITLE_WIDTH: Final = 80
_SMALL_TITLE_WIDTH: Final = 95
_TITLE_LINES: Final = 3
_FOOT_WIDTH: Final = 150
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlepad": 12, "xtick.color": INK, "ytick.color": MUTED, "xtick.bottom": False, "ytick.left": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.grid": True, "axes.grid.axis": "y",
    "axes.axisbelow": True, "grid.color": "#e4e7eb", "figure.facecolor": "white", "savefig.dpi": 150, "legend.frameon": False,
}  # fmt: skip


def frame(figure: Figure, title: str, foot: str) -> None:
    """The title above everything and the line below it."""
    height = figure.get_figheight()
    small = len(title) >= _TITLE_WIDTH
    lines = textwrap.wrap(title, _SMALL_TITLE_WIDTH, max_lines=_TITLE_LINES, placeholder=" …") if small else [title]
    feet = textwrap.wrap(foot, _FOOT_WIDTH)
    figure.suptitle(
        "\n".join(lines), x=0.02, y=1 - 0.12 / height, ha="left", va="top", fontsize=11 if small else 13, fontweight="bold", color=INK
    )
    figure.text(0.02, 0.09 / height, "\n".join(feet), ha="left", va="bottom", fontsize=8.5, color=MUTED)
    engine = figure.get_layout_engine()
    if engine is not None:
        above, below = 0.56 + 0.19 * (len(lines) - 1), 0.34 + 0.15 * (len(feet) - 1)
        engine.set(rect=(0.01, below / height, 0.98, 1 - (above + below) / height))  # type: ignore[call-arg]


def rows(figure: Figure, count: int) -> None:
    """As high as so many rows need."""
    figure.set_figheight(max(3.6, 2.1 + 0.55 * count))


def save(draw: Callable[[Figure], None], path: Path) -> None:
    """Draw into a file; its ending says which kind: .png, .svg, .pdf. Raises InputError if it cannot be written."""
    with _drawn(draw) as figure:
        try:
            figure.savefig(path)
        except OSError as exc:
            raise InputError(f"--plot {path}: cannot be written: {exc.strerror}") from exc


def png(draw: Callable[[Figure], None]) -> bytes:
    """Draw as the bytes of a PNG; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    with _drawn(draw) as figure:
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


@contextmanager
def _drawn(draw: Callable[[Figure], None]) -> Iterator[Figure]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        draw(figure)
        yield figure
