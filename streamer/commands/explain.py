"""`streamer explain`: why an alert fired, or why none did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import orjson
import typer
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from streamer.alerts.times import milliseconds as alert_time
from streamer.backtest.firings import Span
from streamer.backtest.runs import Backtest
from streamer.commands.alerts import STYLES, printable
from streamer.commands.console import as_name, as_text
from streamer.commands.progress import progress_bar
from streamer.commands.replay import DefinitionsFile, chosen_definitions, load_definitions
from streamer.commands.times import time_option
from streamer.deltas import TICK_MS
from streamer.errors import InputError
from streamer.explain import find, report
from streamer.explain.customer import CustomerStory
from streamer.explain.series import RuleStory
from streamer.metrics.counters import ACCOUNT
from streamer.replay import mapping as mapping_file
from streamer.replay.history import read_history
from streamer.replay.partitions import partition_of
from streamer.replay.pipeline import Shape
from streamer.rules.explain import show
from streamer.suggestions import nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from streamer.alerts.alert import Alert
    from streamer.definitions import Definitions, Rule
    from streamer.replay.history import History
    from streamer.replay.pipeline import Piece

# Events behind an alert that an explanation has: the record has `limits.evidence_per_alert`.
_EVIDENCE_MAX = 1_000
# Of these, lines of the text.
_EVIDENCE_SHOWN = 20
_STATUS_STYLES = {"firing": "bold red", "cooling down": "yellow", "pending": "yellow", "holds": "yellow"}


class _Log(NamedTuple):
    """Where to look. pieces: of the log up to a moment, of one partition or all; alert: by one of its ids; end_ms: as a default moment."""

    name: str
    shape: Shape
    pieces: Callable[[int | None, int | None], Iterable[Piece]]
    alert: Callable[[str], Alert | None]
    closes: bool
    notes: Sequence[str] = ()


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(explain)


def explain(
    what: Annotated[
        str,
        typer.Argument(
            callback=as_text, help="A customer, a journey's or issue's id, an alert_id, episode_id or fingerprint, a rule, or account:ID."
        ),
    ],
    file: Annotated[
        Path | None, typer.Argument(help="XES, CSV or JSON lines, each also with .gz; - is standard input; none with --topic.")
    ] = None,
    topic: Annotated[bool, typer.Option("--topic", help="Not a file: what is in Kafka, with the journal of the workers.")] = False,
    mapping: Annotated[Path | None, typer.Option(help="From the file's columns to touchpoints; not for canonical events.")] = None,
    definitions: DefinitionsFile = None,
    at: Annotated[str | None, typer.Option(help="As of this moment, RFC 3339; by default the end, of an alert its time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Explain why an alert fired, or why none did: the timeline, how near each rule is, and what would have turned it over.

    A word that may mean several things is said as customer:ID, journey:ID, alert:ID or rule:ID. account:ID is every rule on that account.

    Exit code 0: done. 2: there is no such thing in the log, or a file or an option cannot be used. With --topic also 3: a topic is
    missing; 4: records were deleted while they were read; 8: Kafka does not answer.
    """
    if topic == (file is not None):
        raise InputError("name a history file after what is to be explained, or say --topic; and not both")
    if topic and mapping is not None:
        raise InputError("--mapping is for files: with --topic the events are canonical")
    at_ms = time_option("--at", at)
    if file is None:
        told = _of_topic(what, definitions, at_ms)
    else:
        wanted = chosen_definitions(definitions)
        history = read_history(file, None if mapping is None else mapping_file.load(mapping))
        told = _explained(what, wanted, _file_log(as_name(file.name), history, wanted), at_ms)
    if as_json:
        typer.echo(orjson.dumps(told))
    else:
        _show(told)


def _file_log(name: str, history: History, wanted: Definitions) -> _Log:
    shape = Shape()

    def pieces(until_ms: int | None, _partition: int | None) -> Iterable[Piece]:
        return find.pieces_of(history, shape.partitions, until_ms)

    def alert(id_: str) -> Alert | None:
        run = Backtest([wanted], shape)
        with progress_bar("looking for the alert", len(history.events)) as progress:
            run.fold_history(history, None, progress, close=True)
        return find.told(run.versions(Span())[0].alerts, id_)

    return _Log(name, shape, pieces, alert, closes=True)


def _of_topic(what: str, definitions: Path | None, at_ms: int | None) -> dict[str, Any]:
    from streamer import settings, topics
    from streamer.engine import touchpoint_log

    config = settings.load()
    wanted = load_definitions(definitions or config.definitions)
    with touchpoint_log.opened(config) as log:
        extent = log.extent

        def pieces(_until_ms: int | None, partition: int | None) -> Iterable[Piece]:
            return log.pieces(extent if partition is None else extent.only(partition))

        def alert(id_: str) -> Alert | None:
            return find.told(log.alerts(id_), id_)

        shape = Shape(config.partitions, config.rollup_partitions, config.topic(topics.TOUCHPOINTS))
        return _explained(what, wanted, _Log(shape.topic, shape, pieces, alert, closes=False, notes=extent.notes), at_ms)


def _explained(what: str, wanted: Definitions, log: _Log, at_ms: int | None) -> dict[str, Any]:
    asked = find.wanted(what, [rule.id for rule in wanted.rule])
    head = {"what": what, "log": {"source": log.name, "notes": list(log.notes)}}
    if "alert" in asked.kinds and (alert := log.alert(asked.name)) is not None:
        rule = _rule(wanted, alert.rule.id)
        moment = alert_time(alert.event_time) if at_ms is None else at_ms
        if alert.entity is None or alert.entity.account_id:
            return head | {"kind": "alert"} | _rule_story(wanted, log, rule, moment, alert)
        key = alert.entity.canonical_id.encode()
        return head | {"kind": "alert"} | _customer_story(wanted, log, key, moment, about=alert)
    if "rule" in asked.kinds:
        return head | {"kind": "rule"} | _rule_story(wanted, log, _rule(wanted, asked.name), at_ms)
    if asked.kinds == ("account",):
        return head | {"kind": "account"} | _account_story(wanted, log, asked.name, at_ms)
    key, kind = _customer(log, asked)
    return head | {"kind": kind} | _customer_story(wanted, log, key, at_ms, id_=asked.name if kind == "journey" else "")


def _customer(log: _Log, asked: find.Wanted) -> tuple[bytes, find.Kind]:
    """Looks into the partition that the word would have as a customer first."""
    if not {"customer", "journey"} & set(asked.kinds):
        raise find.nothing(asked)
    for partition in (partition_of(asked.name.encode(), log.shape.partitions), None):
        finder = find.Finder(asked.name)
        for piece in log.pieces(None, partition):
            for records, _ in piece.values():
                finder.take(records)
        if finder.has_key or partition is None:
            return finder.customer(asked)
    raise AssertionError  # the second round has returned or raised


def _customer_story(
    wanted: Definitions, log: _Log, key: bytes, at_ms: int | None, *, id_: str = "", about: Alert | None = None
) -> dict[str, Any]:
    partition = partition_of(key, log.shape.partitions)
    story = CustomerStory(wanted if about is None else _with_all_evidence(wanted), log.shape, partition, key, at_ms)
    for piece in log.pieces(at_ms, partition):
        if partition in piece:
            story.take(*piece[partition])
    story.finish(at_ms if log.closes else None)
    told = [one.told for one in story.happened if one.told is not None]
    return report.of_customer(story, wanted, id_=id_, about=_in_full(about, told))


def _rule_story(wanted: Definitions, log: _Log, rule: Rule, at_ms: int | None, about: Alert | None = None) -> dict[str, Any]:
    if rule.metric is None:
        raise InputError(f"rule {rule.id!r} is about single customers: name one of them, a journey or an alert")
    if about is None and rule.mode == "off":
        raise InputError(f'rule {rule.id!r} is off: nothing looks at it; mode = "draft" has it looked at, and nobody told')
    labels, of = (None, wanted) if about is None else (about.series, _with_all_evidence(wanted))
    story = RuleStory(of, log.shape, rule, labels, at_ms)
    _tell_all([story], log, at_ms)
    return report.of_rule(story, wanted, at_ms, _in_full(about, story.told))


def _with_all_evidence(wanted: Definitions) -> Definitions:
    """The same definitions, whose alerts name more of the events."""
    return replace(wanted, limits=replace(wanted.limits, evidence_per_alert=_EVIDENCE_MAX))


def _in_full(about: Alert | None, told: Iterable[Alert]) -> Alert | None:
    """The alert as it is told with all evidence, if these definitions tell it."""
    return next((one for one in told if about is not None and one.alert_id == about.alert_id), about)


def _account_story(wanted: Definitions, log: _Log, account: str, at_ms: int | None) -> dict[str, Any]:
    rules = [rule for rule in wanted.rule if rule.on == ACCOUNT and rule.mode != "off"]
    if not rules:
        raise InputError("the definitions have no rule on accounts")
    stories = [RuleStory(wanted, log.shape, rule, {ACCOUNT: account}, at_ms) for rule in rules]
    _tell_all(stories, log, at_ms)
    told = report.of_rules(stories, wanted, at_ms)
    if not told["series"]:
        raise find.nothing(find.Wanted(account, ("account",)))
    return told


def _tell_all(stories: Sequence[RuleStory], log: _Log, at_ms: int | None) -> None:
    # Rules are decided for whole ticks: what happens later in the tick of that moment belongs to it.
    for piece in log.pieces(None if at_ms is None else at_ms + TICK_MS - 1, None):
        for story in stories:
            story.take(piece)
    for story in stories:
        story.finish(None if at_ms is None or not log.closes else at_ms + TICK_MS)


def _rule(wanted: Definitions, rule_id: str) -> Rule:
    rule = next((rule for rule in wanted.rule if rule.id == rule_id), None)
    if rule is None:
        near = nearest(rule_id, [rule.id for rule in wanted.rule])
        other = f"did you mean {quoted(near)}, or " if near else ""
        raise InputError(f"the definitions have no rule {rule_id!r}: {other}name those that it was told under, with --definitions")
    return rule


def _show(told: dict[str, Any]) -> None:
    console = Console()

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    _show_head(say, told)
    if "timeline" in told:
        _show_customer(say, told)
    else:
        _show_series(say, told)


def _show_head(say: Callable[..., None], told: dict[str, Any]) -> None:
    revision = told["definitions"]["revision"]
    whom = f"customer {told['customer']}, partition {told['partition']}" if "customer" in told else f"{len(told['series'])} series"
    say(f"{told['kind']} {told['what']}: {whom}, in {told['log']['source']}, as of {told['at']}, revision {revision}", "bold")
    for note in told["log"]["notes"]:
        say(f"Note: {note}")
    alert = told["alert"]
    if alert is None:
        return
    say(f"{alert['state']} {alert['rule']['id']} at {alert['event_time']}, told {alert['detected_at']}: {alert['why']}")
    evidence = alert.get("evidence", ())
    for event in evidence[-_EVIDENCE_SHOWN:]:
        place = f"{event['topic']} partition {event['partition']} offset {event['offset']}"
        say(f"  evidence {event['time']} {event['type']} {event['event_id']}  {place}")
    count = alert.get("evidence_count", 0)
    shown = min(len(evidence), _EVIDENCE_SHOWN)
    if count > shown:
        say(f"  {shown} of {count} events; --json has {len(evidence)}")


def _show_customer(say: Callable[..., None], told: dict[str, Any]) -> None:
    for account in told["accounts"]:
        say(f"Of the account {account}, whose rules `streamer explain account:{account}` explains.")
    if told["refused"]:
        say("The customer has refused analytics: no rule about single customers fires.", "yellow")
    say("")
    say("Timeline", "bold")
    for one in told["timeline"]:
        if one["kind"] == "alert":
            say(f"  {one['time']} {one['state']} {one['rule']} ({one['entity']}) {one['alert_id']}", STYLES[one["state"]])
            continue
        outcome = "" if one.get("outcome", "applied") == "applied" else f" [{one['outcome']}]"
        what = f"{one.get('type', 'record')} ({one.get('channel', '')})" if one["kind"] == "event" else "deadline"
        offset = f"  offset {one['offset']}" if "offset" in one else ""
        say(f"  {one['time']} {what}{outcome}{offset}", "" if not outcome else "dim")
        for change in one["changes"]:
            signals = ", ".join(_signal(change["what"], name, old, new) for name, (old, new) in change["signals"].items())
            say(f"      {change['entity']} {change['what']}{': ' if signals else ''}{signals}", "dim")
    if not told["timeline"]:
        say("  nothing")
    say("")
    say("Rules, the nearest first", "bold")
    for rule in told["rules"]:
        _show_verdict(say, rule)
    if told["ended_left_out"]:
        say(f"  ... and {told['ended_left_out']} more on what has ended")


def _signal(what: str, name: str, old: Any, new: Any) -> str:
    return f"{name} {_value(new)}" if what == "begins" else f"{name} {_value(old)} -> {_value(new)}"


def _show_verdict(say: Callable[..., None], rule: dict[str, Any]) -> None:
    status = rule["status"]
    since = f" since {rule['since']}" if rule["since"] else f" until {rule['cooldown_until']}" if rule["cooldown_until"] else ""
    since = f", seen last at {rule['as_of']}" if status == "ended" else since
    say(f"  {rule['rule']} on {rule['entity']}: {status}{since}", _STATUS_STYLES.get(status, ""))
    _show_conditions(say, rule["conditions"])
    say(f"      {rule['counterfactual']}")


def _show_conditions(say: Callable[..., None], conditions: list[dict[str, Any]]) -> None:
    for condition in conditions:
        mark = "holds" if condition["holds"] else "fails"
        distance = "" if condition["distance"] is None else f", {_value(condition['distance'])} from {_value(condition['threshold'])}"
        say(f"      {mark}: {condition['text']} (is {_value(condition['value'])}{distance})", "dim")


def _show_series(say: Callable[..., None], told: dict[str, Any]) -> None:
    for one in told["series"]:
        where = ", ".join(f"{name} {value}" for name, value in one["series"].items()) or "everything"
        since = f" since {one['since']}" if one["since"] else ""
        say("")
        say(f"{one['rule']} on {where}: {one['status']}{since}, numbers of {one['as_of']}", _STATUS_STYLES.get(one["status"], ""))
        for window in one["windows"]:
            say(f"  over {window['window']}: {_estimate(window)}: {window['outcome']}")
            _show_conditions(say, window["conditions"])
        say(f"  {one['counterfactual']}")
        if len(told["series"]) == 1:
            say("  How it came there", "bold")
            for moment in one["moments"]:
                numbers = "; ".join(f"{w['window']} {_estimate(w)} {w['outcome']}" for w in moment["windows"])
                say(f"    {moment['time']} {moment['status']}: {numbers}")
    say("")
    if told["series_left_out"]:
        say(f"... and {told['series_left_out']} more series")
    if told["series_excluded"]:
        say(f"{told['series_excluded']} more series are excluded by the names in the condition")
    if told["told"]:
        say("Told", "bold")
    for alert in told["told"]:
        say(f"  {alert['time']} {alert['state']} {alert['alert_id']}: {alert['why']}", STYLES[alert["state"]])


def _estimate(window: dict[str, Any]) -> str:
    bounds = "" if window["lower"] is None else f" ({_value(window['lower'])} to {_value(window['upper'])})"
    return f"{_value(window['value'])}{bounds}, n = {window['n']}"


def _value(value: Any) -> str:
    return "unknown" if value is None else show(value) or "empty"
