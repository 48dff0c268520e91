"""`streamer analyze`: questions about a whole history, answered with a table, JSON or a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import orjson
import typer
from rich import box
from rich.table import Table

from streamer.commands.console import as_text, console
from streamer.commands.replay import DefinitionsFile, chosen_definitions
from streamer.commands.written_files import drawable
from streamer.errors import InputError
from streamer.replay import mapping as mapping_file
from streamer.replay.history import History, read_history

if TYPE_CHECKING:
    from streamer.analysis.history import Log, Measure
    from streamer.analysis.report import Report

_WIDTH_IN_A_FILE = 120
_MODULES = frozenset({"numpy", "matplotlib", "scipy"})


class Score(StrEnum):
    """An instrument that the analyses know the bands of."""

    NPS = "nps"
    CSAT = "csat"
    CES = "ces"


class Outcome(StrEnum):
    """What alerts may foretell."""

    DETRACTOR = "detractor"
    ABANDONED = "abandoned"
    LAPSED = "lapsed"


class MomentOutcome(StrEnum):
    """What friction may go with."""

    COMPLETION = "completion"
    REPEAT = "repeat"
    PROMOTER = "promoter"


File = Annotated[Path, typer.Argument(help="XES, CSV or JSON lines, each also with .gz; - is standard input.")]
Mapping = Annotated[
    Path | None, typer.Option(help="From the file's columns to touchpoints; not needed for JSON lines of canonical events.")
]
Plot = Annotated[
    Path | None,
    typer.Option(callback=drawable("--plot", ".png", ".svg", ".pdf"), help="Draw a picture into this file: .png, .svg or .pdf."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the bootstrap: the same seed gives the same intervals.")]
ScoreOption = Annotated[Score, typer.Option(help="The survey's instrument.")]
Scope = Annotated[str, typer.Option(help="The survey's scope: experience, relationship or benchmark. Scopes are never pooled.")]
Currency = Annotated[str | None, typer.Option(help="Of the orders to count; by default the most frequent.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    asked = "what goes with spend and scores, which alerts were right, what customers are worth, how long steps take"
    analyze = typer.Typer(no_args_is_help=True, help=f"Ask a whole history: {asked}.")
    for command in (spend, trajectory, initiative, drivers, alerts, moments, value, steps):
        analyze.command()(command)
    app.add_typer(analyze, name="analyze")


def spend(
    file: File, mapping: Mapping = None, score: ScoreOption = Score.NPS, scope: Scope = "experience", currency: Currency = None,
    days: Annotated[list[int] | None, typer.Option(min=1, max=3650, help="Span after the answer; by default 90 and 365.")] = None,
    seed: Seed = 1, plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What customers spend after a good and after a bad score.

    For each band of the score the mean spend in the days after it, the ratio of best to worst, and Spearman's rho.
    Each customer counts once, with the first answer that has the whole span after it.

    Exit code 0: done. 2: the file or an option cannot be used, or the file has too little to say anything.
    """
    _, log = _opened(file, mapping, None, "touchpoints")
    from streamer.analysis import spend as question

    _tell(question.analyse(log, _measure(score, scope), currency=currency, days=tuple(days or (90, 365)), seed=seed), plot, as_json=as_json)


def trajectory(
    file: File, mapping: Mapping = None, definitions: DefinitionsFile = None, score: ScoreOption = Score.NPS, scope: Scope = "experience",
    currency: Currency = None,
    employees: Annotated[Path | None, typer.Option(help="Engagement of teams: CSV or JSON lines of team, month (2026-01), score.")] = None,
    plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Where spend is heading, beside where scores are; and who declines silently.

    A line through each customer's spend of the last complete months, and one through the scores. Silent decliners spend much less and
    have reason to: a bad latest score, or an issue of high effort. With --employees also how engaged teams are, beside what the
    customers say and spend whom they served.

    Exit code 0: done. 2: the file or an option cannot be used, or the file has too little to say anything.
    """
    _, log = _opened(file, mapping, definitions, "journeys")
    from streamer.analysis import engagement
    from streamer.analysis import trajectory as question

    teams = None if employees is None else engagement.read(employees)
    _tell(question.analyse(log, _measure(score, scope), currency=currency, employees=teams), plot, as_json=as_json)


def initiative(
    file: File,
    name: Annotated[str, typer.Option("--id", callback=as_text, help="Its initiative_id in the events of type initiative.started.")],
    margin: Annotated[float, typer.Option(min=0.0001, max=1, help="What of spend is margin: 0.4 is 40 %.")],
    mapping: Mapping = None, currency: Currency = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Span before and after the start.")] = 90,
    cost: Annotated[float | None, typer.Option(min=0.01, help="Of all treated; by default the sum of initiative.cost.")] = None,
    plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What an initiative has returned, against its control group; without one the result is labelled not_causal.

    Exit code 0: done. 2: the file or an option cannot be used, or the file has too little to say anything.
    """
    _, log = _opened(file, mapping, None, "touchpoints")
    from streamer.analysis import initiative as question

    _tell(question.analyse(log, name, currency=currency, days=days, margin=margin, cost=cost), plot, as_json=as_json)


def drivers(
    file: File, mapping: Mapping = None, definitions: DefinitionsFile = None, score: ScoreOption = Score.NPS, scope: Scope = "experience",
    days: Annotated[int, typer.Option(min=1, max=3650, help="What happened so long before an answer.")] = 30,
    measure: Annotated[list[str] | None, typer.Option(help="Only this measure; may be repeated. A wrong name lists them.")] = None,
    seed: Seed = 1, plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What goes with a score: contacts, transfers, switches, friction and the like before the answer, by Johnson's relative weights.

    Exit code 0: done. 2: the file or an option cannot be used, or the file has too little to say anything.
    """
    _, log = _opened(file, mapping, definitions, "journeys")
    from streamer.analysis import drivers as question

    _tell(question.analyse(log, _measure(score, scope), days=days, only=measure or (), seed=seed), plot, as_json=as_json)


def alerts(
    file: File, mapping: Mapping = None, definitions: DefinitionsFile = None,
    outcome: Annotated[Outcome, typer.Option(help="What the alerts are to foretell.")] = Outcome.DETRACTOR, scope: Scope = "experience",
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long after an alert its outcome may come.")] = 30,
    lapse_days: Annotated[int, typer.Option(min=1, max=3650, help="Of lapsed: no order for so long after one.")] = 90,
    plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Which alerts were right, and how early: precision, recall and lead time of each rule against what came later.

    The definitions' rules are run over the history as a worker would; try changed ones with --definitions.

    Exit code 0: done. 2: the file, the definitions or an option cannot be used, or the outcome never comes.
    """
    history, log = _opened(file, mapping, definitions, "journeys")
    from streamer.analysis import indicators as question

    _tell(question.analyse(log, history, outcome.value, scope=scope, days=days, lapse_days=lapse_days), plot, as_json=as_json)


def moments(
    file: File, mapping: Mapping = None, definitions: DefinitionsFile = None,
    outcome: Annotated[MomentOutcome, typer.Option(help="What friction may go with.")] = MomentOutcome.COMPLETION,
    scope: Scope = "experience",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Of repeat and promoter: how long after the journey's end.")] = 90,
    least: Annotated[int, typer.Option(min=1, help="Customers with friction, and without, that a touchpoint needs to be judged.")] = 100,
    plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Pivotal moments: touchpoints where friction goes with another outcome.

    Exit code 0: done. 2: the file, the definitions or an option cannot be used, or no touchpoint can be compared.
    """
    _, log = _opened(file, mapping, definitions, "journeys")
    from streamer.analysis import moments as question

    _tell(question.analyse(log, outcome.value, scope=scope, days=days, least=least), plot, as_json=as_json)


def value(
    file: File, mapping: Mapping = None, definitions: DefinitionsFile = None, currency: Currency = None,
    margin: Annotated[float | None, typer.Option(min=0.0001, max=1, help="What of revenue is margin; by default the definitions'.")] = None,
    discount: Annotated[float, typer.Option(min=0.001, max=1, help="What a year takes off money to come: 0.1 is 10 %.")] = 0.10,
    horizon: Annotated[int, typer.Option(min=1, max=3650, help="How many days ahead orders are predicted.")] = 90,
    plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What customers are worth: margin to date by decile, what is to be expected of them, and from where the top tenth begins.

    The proposed threshold is what a rule takes with `lifetime_value >= N`. BG/NBD and Gamma-Gamma models say who orders again within
    the horizon, and what that brings. With --json each customer has x, t_x, T, mean spend, expected orders and margin.

    Exit code 0: done. 2: the file, the definitions or an option cannot be used, or fewer than ten customers have ordered.
    """
    _, log = _opened(file, mapping, definitions, "touchpoints")
    from streamer.analysis import value as question

    _tell(question.analyse(log, currency=currency, margin=margin, discount=discount, horizon_days=horizon), plot, as_json=as_json)


def steps(
    file: File, mapping: Mapping = None, definitions: DefinitionsFile = None, plot: Plot = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """How long journeys stay on their steps, and what to set stall_after to.

    Median, P90 and P95 of the stays that have ended. Proposed for each journey: the greater of the stall_after there is and the P95 of
    its slowest step.

    Exit code 0: done. 2: the file, the definitions or an option cannot be used, or no journey has left a step.
    """
    _, log = _opened(file, mapping, definitions, "journeys")
    from streamer.analysis import stays as question

    _tell(question.analyse(log), plot, as_json=as_json)


def _opened(file: Path, mapping: Path | None, definitions: Path | None, until: Literal["touchpoints", "journeys"]) -> tuple[History, Log]:
    try:
        from streamer.analysis import history, pictures  # noqa: F401  both are needed in the end
    except ModuleNotFoundError as exc:
        if exc.name not in _MODULES:
            raise
        raise InputError(f"analyze needs {exc.name}, which is not installed here: pip install 'journey-streamer[analysis]'") from exc
    wanted = chosen_definitions(definitions)
    read = read_history(file, None if mapping is None else mapping_file.load(mapping))
    return read, history.opened(read, wanted, until)


def _measure(score: Score, scope: str) -> Measure:
    from streamer.analysis.history import Measure

    return Measure(score.value, scope)


def _tell(report: Report, plot: Path | None, *, as_json: bool) -> None:
    if plot is not None:
        from streamer.analysis import pictures

        pictures.save(report.draw, plot)
    if as_json:
        typer.echo(orjson.dumps({"headline": report.headline, **report.result}))
        return
    output = console(_WIDTH_IN_A_FILE)
    output.print(report.headline, style="bold", highlight=False, end="\n\n")
    for part in report.tables:
        table = Table(title=part.title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
        for number, column in enumerate(part.columns):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
        for row in part.rows:
            table.add_row(*row)
        output.print(table, highlight=False)
    for note in report.notes:
        output.print(f"- {note}", highlight=False)
    if plot is not None:
        output.print(f"\nPicture: {plot}", highlight=False)
