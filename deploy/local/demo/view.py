"""How a reading looks: a screen for a terminal, one line otherwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.local.demo.readings import PLATFORMS, RATES, Rate, Reading
from streamer.commands.alerts import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from streamer.alerts.alert import Alert

_BAR = 24
# A platform is shown in red when even the lower bound is above this share.
ALARMING = 0.35
_COLOURS = {"firing": "bold red", "amended": "yellow", "resolved": "green", "retracted": "dim"}


def screen(reading: Reading, where: dict[str, str], incident: str, width: int, height: int) -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [_status(reading), _rates(reading, width)]
    room = height - 5 - len(RATES) - 3
    if room >= 16:
        parts.append(_platforms(reading))
        room -= len(PLATFORMS) + 3
    parts.append(_alerts(reading, max(2, min(8, room - 4 - len(where)))))
    parts.append(Text.from_markup(f"[yellow]incident[/] {incident}"))
    if height >= 36:
        parts += [Text.from_markup(f"[dim]{name:<12}[/] {target}") for name, target in where.items()]
    else:
        parts.append(Text(f"Prometheus {where['Prometheus']}   Ctrl-C ends everything", style="dim", overflow="ellipsis", no_wrap=True))
    return Group(*parts)


def line(reading: Reading, seconds: float) -> str:
    """One line for a log."""
    last = reading.alerts[-1].alert if reading.alerts else None
    effort = ", ".join(
        f"{name.removesuffix(', 1 h')} {_percent(reading.rates[name].value) or '-'}" for name, _, _ in RATES[3:] if name in reading.rates
    )
    return (
        f"{seconds:6.1f} s  {reading.events_per_second:7.0f} events/s  lag {reading.lag}  "
        f"checkout abandoned (1 h) {_interval(reading.abandon)}  alerts in Redis {reading.alerts_in_redis}"
        f"  {effort}" + (f"\n          {last.state} {last.rule.id}: {printable(last.why)}" if last else "")
    )


def _status(reading: Reading) -> RenderableType:
    behind = "" if math.isnan(reading.behind_seconds) else f"{reading.behind_seconds:.1f} s behind"
    text = Text.assemble(
        (f"{reading.events_per_second:,.0f}", "bold cyan"), " events/s   ",
        (f"{reading.applied:,}", "bold"), f" applied, {reading.duplicate:,} duplicate, {reading.late:,} late, ",
        f"{reading.dead_lettered:,} dead   ",
        (f"lag {reading.lag:,}", "bold" if reading.lag < 1000 else "bold yellow"), f"   {behind}",
    )  # fmt: skip
    text.no_wrap, text.overflow = True, "ellipsis"
    return Panel(text, title="Customer journeys, live", title_align="left", padding=(0, 1))


def _rates(reading: Reading, width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 1), expand=False, show_header=True, header_style="dim")
    for column, justify in (("rate", "left"), ("value", "right"), ("95 % interval", "left"), ("n", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    if width >= 100:
        table.add_column("0 %" + " " * (_BAR - 6) + "100 %", no_wrap=True)
    for name, _, _ in RATES:
        rate = reading.rates.get(name, Rate())
        cells = [
            name,
            _percent(rate.value),
            f"{_percent(rate.lower)} - {_percent(rate.upper)}" if rate.n else "no sample yet",
            f"{rate.n:,}",
        ]
        table.add_row(*cells, *([_bar(rate)] if width >= 100 else []))
    return table


def _platforms(reading: Reading) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for column in ("checkout by platform", "abandoned, 5 min", "n", "with friction, 5 min", "n"):
        table.add_column(column, justify="left" if column.startswith("checkout") else "right", no_wrap=True)
    for platform in PLATFORMS:
        abandoned, friction = reading.platforms.get(platform, Rate()), reading.platform_friction.get(platform, Rate())
        style = "bold red" if abandoned.lower > ALARMING or friction.lower > ALARMING else ""
        table.add_row(platform, _interval(abandoned), str(abandoned.n), _interval(friction), str(friction.n), style=style)
    return table


def _alerts(reading: Reading, rows: int) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("time", no_wrap=True)
    table.add_column("alert", no_wrap=True)
    table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    for entry in reversed(reading.alerts[-rows:]):
        alert = entry.alert
        table.add_row(alert.event_time[11:19], Text(f"{alert.state} {alert.rule.id}", style=_COLOURS[alert.state]), _why(alert))
    in_force = (
        f"{reading.alerts_in_redis:,} transitions in Redis, {reading.active:,} alerts in force, {reading.firing_aggregates} aggregate"
    )
    return Panel(table, title=in_force, title_align="left", padding=(0, 0))


def _why(alert: Alert) -> Text:
    return Text(printable(alert.why), no_wrap=True, overflow="ellipsis")


def _bar(rate: Rate) -> Text:
    if not rate.n or math.isnan(rate.value):
        return Text("·" * _BAR, style="dim")
    low, mid, high = (min(_BAR - 1, int(x * _BAR)) for x in (rate.lower, rate.value, rate.upper))
    marks = ["━" if low <= at <= high else "·" for at in range(_BAR)]
    marks[mid] = "●"
    return Text("".join(marks), style="cyan" if rate.n >= 30 else "dim")


def _interval(rate: Rate) -> str:
    return f"{_percent(rate.value)} ({_percent(rate.lower)} - {_percent(rate.upper)})" if rate.n else "no sample yet"


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f} %"
