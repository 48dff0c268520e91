"""What would have fired, drawn over the metric's band: a panel per series of an aggregate rule, and a bar chart per entity rule."""

from __future__ import annotations

import base64
import html
import math
from collections import Counter as Tally
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator

from streamer.analysis import pictures
from streamer.analysis.pictures import BLUE, GREY, INK, MUTED, RED
from streamer.backtest.report import about_text
from streamer.errors import InputError
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.rules.explain import Explainer
from streamer.rules.language import AGGREGATE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from streamer.backtest.firings import Firing
    from streamer.backtest.labels import Incident, Labels
    from streamer.backtest.runs import Version
    from streamer.backtest.samples import Sample
    from streamer.definitions import Rule

# More would be too small to read; those with the most firings are drawn.
SERIES_MAX: Final = 8
ENTITY_RULES_MAX: Final = 12
_PANEL_INCHES: Final = 2.2
_BARS_INCHES: Final = 1.3
_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_NUMBERS: Final = ("value", "lower", "upper")
_CSS: Final = (
    "body{font:14px/1.5 sans-serif;color:#1f2933;margin:2rem auto;max-width:75rem;padding:0 1rem}table{border-collapse:collapse}"
    "td,th{text-align:left;vertical-align:top;padding:.25rem .75rem;border-bottom:1px solid #e4e7eb}img{max-width:100%}"
)


class _Panel(NamedTuple):
    rule: Rule
    about: str
    samples: Sequence[Sample]
    firings: Sequence[Firing]


def save(path: Path, version: Version, labels: Labels | None, told: dict[str, Any]) -> None:
    """Draw into a .png or an .html file, which has the tables besides. Raises InputError if it cannot be written."""
    panels, bars = _panels(version), _bars(version)
    incidents = labels.incidents if labels is not None else ()
    image = pictures.png(lambda figure: _draw(figure, panels, bars, incidents, told))
    content = image if path.suffix.lower() == ".png" else _page(image, told)
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise InputError(f"--picture {path}: cannot be written: {exc.strerror}") from exc


def _panels(version: Version) -> list[_Panel]:
    samples = {} if version.samples is None else version.samples.of
    found = []
    for rule in version.definitions.rule:
        mine = [firing for firing in version.firings if firing.rule == rule.id and rule.metric]
        for fingerprint in dict.fromkeys(firing.fingerprint for firing in mine):
            firings = [firing for firing in mine if firing.fingerprint == fingerprint]
            for about in _series(version, rule, firings):
                values = tuple([about[name] for name in rule.series_by])
                taken = [sample for sample in samples.get((rule.id, values), ()) if version.span.has(sample.time_ms)]
                found.append(_Panel(rule, about_text(about), taken, firings))
    return sorted(found, key=lambda panel: -len(panel.firings))[:SERIES_MAX]


def _series(version: Version, rule: Rule, firings: Sequence[Firing]) -> Iterable[Mapping[str, str]]:
    """The series that firings of one fingerprint are of: of a group's, those that it names."""
    if rule.group_by is None:
        return [firings[0].about]
    transitions = {alert_id for firing in firings for alert_id in firing.transitions}
    named = [child.slice for alert in version.alerts if alert.alert_id in transitions for child in alert.children]
    return {about_text(about): about for about in named}.values()


def _bars(version: Version) -> list[tuple[str, Sequence[Firing]]]:
    fired: list[tuple[str, Sequence[Firing]]] = []
    for rule in version.definitions.rule:
        firings = [firing for firing in version.firings if firing.rule == rule.id and rule.entity]
        if firings:
            fired.append((rule.id, firings))
    return sorted(fired, key=lambda entry: -len(entry[1]))[:ENTITY_RULES_MAX]


def _draw(
    figure: Figure, panels: list[_Panel], bars: list[tuple[str, Sequence[Firing]]], incidents: Sequence[Incident], told: dict[str, Any]
) -> None:
    heights = [_PANEL_INCHES] * len(panels) + [_BARS_INCHES] * len(bars)
    figure.set_figheight(1.4 + sum(heights or [_PANEL_INCHES]))
    rows: Any = figure.subplots(len(heights) or 1, 1, squeeze=False, height_ratios=heights or [1])
    axes: list[Axes] = [row[0] for row in rows]
    for panel, axis in zip(panels, axes, strict=False):
        _draw_panel(axis, panel, incidents)
    firings = [firing.start_ms for _, fired in bars for firing in fired]
    width_ms = _HOUR_MS if firings and max(firings) - min(firings) < 3 * _DAY_MS else _DAY_MS
    for (rule, fired), axis in zip(bars, axes[len(panels) :], strict=False):
        _draw_bars(axis, rule, fired, width_ms, incidents)
    _set_times(axes[: len(panels)], [s.time_ms for panel in panels for s in panel.samples if s.n])
    _set_times(axes[len(panels) :], [time_ms // width_ms * width_ms + extra for time_ms in firings for extra in (0, width_ms)])
    if not heights:
        axes[0].text(0.5, 0.5, "nothing fired", ha="center", va="center", transform=axes[0].transAxes, color=MUTED)
    kinds = "Blue: the metric and its 95 % interval in the rule's longest window; dashed: the rule's numbers. " if panels else ""
    counted = f"Bars: firings per {'hour' if width_ms == _HOUR_MS else 'day'}. " if bars else ""
    marks = "Grey: incidents. " if incidents else ""
    foot = f"{kinds}Red: firing. {counted}{marks}Times in UTC."
    title = f"{len(told['firings'])} firings in {told['log']['source']} under revision {told['definitions']['revision']}"
    pictures.frame(figure, title, foot)


def _draw_panel(axis: Axes, panel: _Panel, incidents: Sequence[Incident]) -> None:
    percent = panel.rule.metric is not None and METRIC_BY_ID[panel.rule.metric].kind == "ratio"
    scale = 100 if percent else 1
    times: list[Any] = [_at(sample.time_ms) for sample in panel.samples]
    if times:
        low = [scale * (math.nan if s.lower is None else s.lower) for s in panel.samples]
        high = [scale * (math.nan if s.upper is None else s.upper) for s in panel.samples]
        axis.fill_between(times, low, high, step="post", color=BLUE, alpha=0.18, linewidth=0)
        axis.step(times, [scale * s.value for s in panel.samples], where="post", color=BLUE, linewidth=1.3)
    for threshold in thresholds(panel.rule):
        axis.axhline(scale * threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    last_ms = panel.samples[-1].time_ms if panel.samples else 0
    _mark(
        axis,
        panel.firings,
        [i for i in incidents if any(m.metric in (None, panel.rule.metric) for m in i.moves)],
        named=True,
        last_ms=last_ms,
    )
    unit = " (%)" if percent else ""
    axis.set_title(f"{panel.rule.id}: {panel.rule.metric}{unit}, {panel.about}", loc="left")


def _draw_bars(axis: Axes, rule: str, firings: Sequence[Firing], width_ms: int, incidents: Sequence[Incident]) -> None:
    counts = Tally(firing.start_ms // width_ms for firing in firings)
    starts: list[Any] = [_at(bin_ * width_ms) for bin_ in sorted(counts)]
    axis.bar(starts, [counts[bin_] for bin_ in sorted(counts)], width=width_ms / _DAY_MS * 0.9, align="edge", color=RED)
    _mark(axis, (), incidents, named=False)
    axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.set_title(f"{rule}: {len(firings)} firings", loc="left")


def _mark(axis: Axes, firings: Sequence[Firing], incidents: Sequence[Incident], *, named: bool, last_ms: int = 0) -> None:
    for incident in incidents:
        start, end = _at(incident.start_ms), _at(incident.end_ms)
        axis.axvspan(start, end, facecolor=GREY, alpha=0.45, linewidth=0, zorder=0)  # type: ignore[arg-type]
        place: Any = start
        if named:
            axis.annotate(incident.name, (place, 1), xycoords=("data", "axes fraction"), xytext=(3, -10), textcoords="offset points",
                      fontsize=8, color=MUTED)  # fmt: skip
    for firing in firings:
        end_ms = max(last_ms, firing.start_ms) if firing.end_ms is None else firing.end_ms
        axis.axvspan(_at(firing.start_ms), _at(end_ms), facecolor=RED, alpha=0.2, linewidth=0, zorder=0)  # type: ignore[arg-type]
        axis.axvline(_at(firing.start_ms), color=RED, linewidth=1)  # type: ignore[arg-type]


def thresholds(rule: Rule) -> list[float]:
    """The numbers that a rule compares its metric with, where they do not depend on anything."""
    anything = dict.fromkeys(AGGREGATE_NAMES, "") | dict.fromkeys((*_NUMBERS, "n", "k"), 0.5)
    other = anything | dict.fromkeys((*_NUMBERS, "n", "k"), 0.25)
    explainer = Explainer(rule.when, AGGREGATE_NAMES)
    pairs = zip(explainer.conditions(anything), explainer.conditions(other), strict=True)
    fixed = [one.threshold for one, two in pairs if one.text.split()[0] in _NUMBERS and one.threshold == two.threshold]
    return [threshold for threshold in fixed if isinstance(threshold, (int, float))]


def _set_times(axes: Sequence[Axes], times_ms: Sequence[int]) -> None:
    """Let the axes show the same times, from the first to the last of these."""
    begin_ms = min(times_ms, default=0)
    end_ms = max(max(times_ms, default=_DAY_MS), begin_ms + 600_000)
    for axis in axes:
        axis.set_xlim(_at(begin_ms), _at(end_ms))  # type: ignore[arg-type]
        locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _page(image: bytes, told: dict[str, Any]) -> bytes:
    """A page that needs nothing besides itself."""
    rules = [
        [row["rule"], row["firing"], row["resolved"], row["retracted"], row["subjects"], row["busiest_day"] or ""] for row in told["rules"]
    ]
    firings = [[row["time"], row["end"] or "", row["rule"], about_text(row["about"]), row["why"]] for row in told["firings"]]
    title = f"Backtest of {told['log']['source']} under revision {told['definitions']['revision']}"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{html.escape(title)}</title>",
        f"<style>{_CSS}</style>",
        f"<h1>{html.escape(title)}</h1>",
        f"<img alt='What would have fired' src='data:image/png;base64,{base64.b64encode(image).decode()}'>",
        _html_table("Rules", ("rule", "firing", "resolved", "retracted", "subjects", "busiest day"), rules),
        _html_table("Would have fired", ("time", "until", "rule", "about", "why"), firings),
        "</html>\n",
    ]
    return "\n".join(parts).encode()


def _html_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"
