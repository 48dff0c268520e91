"""The signals of chapters that rules on customers name: every alert of colliding histories, with its numbers, recounted in SQL."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from streamer.definitions import Definitions, parse
from streamer.journeys.fold import Fold
from streamer.metrics.catalogue import SIGNALS
from streamer.verify import compare
from streamer.verify.ranges import Range
from streamer.verify.raw_log import Clocks
from streamer.verify.recount import Recount, recount, statements
from tests.chapters.support import SLICES, history, side_by_side, told
from tests.chapters.test_every_chapter import HISTORIES
from tests.journeys_support import BASE_MS, HOUR, MINUTE
from tests.verify_support import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from streamer.processor import LogRecord
    from streamer.verify.counted import Counted
    from tests.chapters.support import Maker

SEEDS: Final = range(4)
# Where a signal has something to tell, if that is not any number but 0.
HOLDS: Final[Mapping[str, str]] = {
    "nps_lowest": "nps_lowest < 10", "csat_lowest": "csat_lowest < 5", "ces_lowest": "ces_lowest < 7", "ces1_highest": "ces1_highest > 1",
    "share_of_wallet": "share_of_wallet < 1", "contact_overdue": "contact_overdue", "slipping": "slipping",
}  # fmt: skip
REFUSES: Final = {"consent": {"categories": {"analytics": False}}}
CONSENTS: Final = {"consent": {"categories": {"analytics": True}}}
STATED: Final = {"preference": {"distance": 1}}
WATCH: Final = '\n[[rule]]\nid = "watch-{name}"\non = "customer"\nwhen = "{when}"\nshow = [{show}]\n'


def watching(names: Sequence[str], besides: str = "") -> str:
    """A rule for each of the signals, which fires when there is something to tell and shows all of them."""
    show = ", ".join(f'"{name}"' for name in names)
    return "".join(WATCH.format(name=name, when=HOLDS.get(name, f"{name} != 0") + besides, show=show) for name in names)


def with_consents(make: Maker) -> Maker:
    """The same events, some of which tell a refusal or a consent."""

    def made(random: Random, customer: str, time_ms: int) -> dict[str, Any]:
        event = make(random, customer, time_ms)
        if customer == "c-2" and random.random() < 0.15:
            event |= random.choice([CONSENTS, REFUSES])
        return event

    return made


class Case(NamedTuple):
    """Histories side by side: what the processors make of them, and what the SQL does."""

    definitions: Definitions
    counts: Counted
    recounted: Recount

    def differing(self, counts: Counted | None = None, recounted: Recount | None = None) -> dict[str, compare.Verdict]:
        """The rules that differ."""
        both = counts or self.counts, recounted or self.recounted
        verdicts = compare.rules(*both, self.definitions, Range(), 5, in_order=True)
        return {verdict.name: verdict for verdict in verdicts if verdict.status != "equal"}


def case_of(text: str, logs: Sequence[Sequence[LogRecord]], other: Sequence[tuple[str, str]] = (), after_ms: int = 2 * HOUR) -> Case:
    """other: clauses of the SQL, and what stands there instead."""
    wanted, log, sql = parse(text), side_by_side(logs), None
    for clause, instead in other:
        before = sql or statements(wanted)
        sql = [part.replace(clause, instead) for part in before]
        assert sql != before, f"the SQL has no {clause!r} any more"
    end_ms = log[-1].arrival + after_ms
    return Case(wanted, counted(log, wanted, end_ms), recount(log, wanted, Clocks({0: end_ms}), sql, signals=True))


@cache
def of_chapter(chapter: str) -> Case:
    """Histories of a chapter with a rule for each of its signals; of two kinds of histories the one that meets deadlines."""
    histories = HISTORIES[chapter][-1]
    logs = [history(seed, with_consents(histories.make), span_ms=histories.span_ms) for seed in SEEDS]
    return case_of(histories.definitions + watching([*SIGNALS[chapter]]), logs)


@pytest.mark.parametrize("chapter", HISTORIES)
def test_every_signal_of_every_alert_is_recounted_equal(chapter: str) -> None:
    case = of_chapter(chapter)
    assert case.differing() == {}
    fired = {one.rule for one in case.counts.told}
    assert {f"watch-{name}" for name in SIGNALS[chapter]} <= fired, "a rule that never fires shows nothing"


def in_seconds() -> str:
    """The default definitions and their entity rules, with a second for every minute, hour and day, so that deadlines of chapters meet."""
    text = resources.files("streamer").joinpath("default.toml").read_text(encoding="utf-8")
    head, *rules = text[text.index("[[journey]]") :].split("[[rule]]")
    kept = "[[rule]]".join([head[: head.index("[[slice]]")], *(rule for rule in rules if "\non = " in rule and "\nmetric = " not in rule)])
    short = '[operations]\nper_customer = "30s"\nopened_within = "30s"'
    return SLICES + re.sub(r'(\d)[mhd]"', r'\1s"', kept).replace("[operations]", short)


def anything(random: Random, customer: str, time_ms: int) -> dict[str, Any]:
    """An event of any chapter."""
    return random.choice([several[0].make for several in HISTORIES.values()])(random, customer, time_ms)


def of_all(after_ms: int, other: Sequence[tuple[str, str]] = ()) -> Case:
    """Histories of events of every chapter, with a rule for each signal that looks at the core besides."""
    names = [name for chapter in SIGNALS for name in SIGNALS[chapter]]
    logs = [history(seed, with_consents(anything), span_ms=3 * MINUTE, events=250) for seed in SEEDS[:4]]
    return case_of(in_seconds() + watching(names, " and contacts + ping_pongs >= 0"), logs, other, after_ms)


def at_rest(rule: str, names: Sequence[str]) -> str:
    """A rule that holds while there is nothing to tell in one of the signals, also of somebody of whom nothing is known."""
    tells = " and ".join(f"({HOLDS.get(name, f'{name} != 0')})" for name in names)
    return f'\n[[rule]]\nid = "rest-{rule}"\non = "customer"\nwhen = "not ({tells})"\n'


@cache
def resting(other: tuple[tuple[str, str], ...] = ()) -> Case:
    """Histories of events of every chapter with such rules, also on the core and on a pattern, and on several at a time."""
    logs = [history(seed, with_consents(anything), span_ms=3 * MINUTE, events=25) for seed in range(20)]
    names = [name for chapter in SIGNALS for name in SIGNALS[chapter]]
    pattern = '[[pattern]]\nid = "twice"\nevents = ["page.viewed", "order.refunded"]\nwithin = "1m"\n'
    singly = [*names, "contacts", "handoffs", "pattern_twice"]
    several = [("orders", "nps_lowest"), ("stalled", "digital_signals"), ("contacts", "orders"), ("pattern_twice", "orders")]
    rules = [*(at_rest(name, [name]) for name in singly), *(at_rest("-".join(some), some) for some in several)]
    text = in_seconds() + pattern + "".join(rules)
    return case_of(text, logs, other)


def test_a_rule_that_holds_of_whom_nothing_is_known_is_looked_at_with_what_it_names() -> None:
    assert resting().differing() == {}
    watched = {rule.id for rule in resting().definitions.rule if rule.id.startswith("rest-")}
    # The first event that the chapter looks at is a cause already.
    assert watched - {one.rule for one in resting().counts.told} == {"rest-repeated_cause"}
    everybody = resting((("ELSE type = pattern END;", "ELSE true END;"),)).differing()
    assert {"rest-orders", "rest-nps_lowest", "rest-contracts_undecided", "rest-share_of_wallet"} <= everybody.keys()


@pytest.mark.parametrize("after_ms", [1, 2 * HOUR])
def test_so_are_rules_that_look_at_several_chapters_and_the_core_where_their_deadlines_collide(after_ms: int) -> None:
    case = of_all(after_ms)
    assert case.differing() == {}
    assert len({one.rule for one in case.counts.told}) > 35
    assert sum(one.state == "amended" for one in case.counts.told) > 300


def test_an_answer_is_stretched_to_five_in_hundredths_that_are_rounded_down() -> None:
    survey = {"instrument": "csat", "score": 2, "scale_min": 1, "scale_max": 12}
    log = told(
        (0, "survey.responded", {"survey": survey}), (1, "survey.responded", {"survey": {**survey, "scope": "benchmark", "score": 3}})
    )
    case = case_of(f"{SLICES}[surveys]\n{watching(['csat_lowest'])}", [log])
    assert [one.holding.signals for one in case.counts.told] == [{"csat_lowest": 1.36}]
    assert case.differing() == {}


# Clauses of the SQL that have nothing to do with each other, what each is replaced by, and a signal that must differ then.
CLAUSES: Final = [
    ("least(at_event(next_t, next_place), at_deadline(due + grace))", "at_deadline(due + grace)", "contracts_undecided"),
    ("WINDOW later AS (PARTITION BY key, fact, scope", "WINDOW later AS (PARTITION BY key, fact", "csat_lowest"),
    ("min(amount) FILTER (fact = 'nps')", "max(amount) FILTER (fact = 'nps')", "nps_lowest"),
    ("(fact = 'ces 2.0')", "(fact IN ('ces 2.0', 'ces 1.0'))", "ces_lowest"),
    ("nth_capture AS amount FROM", "contact_no AS amount FROM", "captures_of_field"),
    ("'asked again', 1 FROM asked_again", "'asked again', 1 FROM asked_again WHERE NOT cold", "info_repeats"),
    ("'bot fallbacks', fallbacks FROM", "'bot fallbacks', 1 FROM", "bot_fallbacks"),
    ("max(t + session_gap) AS ended", "max(t) AS ended", "digital_signals"),
    ("(fact = 'confusion')", "(fact IN ('page_loop', 'step_ping_pong'))", "confusions"),
    ("ELSE at_event(next_t, next_place) END\nFROM stalls", "END\nFROM stalls", "stalled"),
    ("at_deadline(deadline + setting('handoffs', 'forget_after')::BIGINT)", "NULL", "handoffs_failed"),
    ("least(at_event(next_t, next_place), at_deadline(deadline)) FROM", "at_deadline(deadline) FROM", "handoffs_waiting"),
    ("at_event(h.t, h.place) > s.since", "false", "silent_cases"),
    ("least(ends, owned) FROM case_ends", "ends FROM case_ends", "unowned_cases"),
    ("a.span = d.span AND a.place > d.place))\nFROM", "false))\nFROM", "overdue_cases"),
    ("SELECT key, 'cause met', row_number() OVER", "SELECT key, 'cause met', 2 * row_number() OVER", "repeated_cause"),
    ("least(at_event(cancelled, cancelled_place),\n", "(\n", "orders"),
    ("'revenue', -refunds.amount", "'revenue', 0", "lifetime_value"),
    ("FILTER (fact = 'slipping') > 0", "FILTER (fact = 'slipping') > 1", "slipping"),
    ("WHERE NOT taken", "WHERE true", "product_views"),
    ("FILTER (fact = 'share declared'),", "FILTER (false),", "share_of_wallet"),
    ("at_deadline(due + 1), at_event(passed", "at_deadline(due), at_event(passed", "overdue_shipments"),
    ("'cadence')::BIGINT * 3 // 2", "'cadence')::BIGINT", "contact_overdue"),
    ("'preference weighted') / sum(amount)", "'preference weighted') / count(amount)", "sacrifice_index"),
]


def test_a_signal_that_means_something_else_is_a_difference() -> None:
    case = of_all(2 * HOUR, [(clause, other) for clause, other, _ in CLAUSES])
    different = {name for name, verdict in case.differing().items() if verdict.status == "different"}
    assert {f"watch-{signal}" for _, _, signal in CLAUSES} - different == set()


def test_a_forged_number_and_a_firing_that_is_missing_or_too_many_are_differences() -> None:
    case = of_chapter("commerce")
    at = next(i for i, one in enumerate(case.counts.told) if one.rule == "watch-orders" and one.state == "amended")
    told_of = case.counts.told[at]

    def found(holding: Any) -> tuple[int, Any]:
        others = [one._replace(holding=holding) if one is told_of else one for one in case.counts.told]
        [verdict] = case.differing(case.counts._replace(told=others)).values()
        assert (verdict.name, verdict.status) == ("watch-orders", "different")
        return verdict.mismatches, verdict.differences[0]

    forged = {**told_of.holding.signals, "lifetime_value": told_of.holding.signals["lifetime_value"] + 0.01}
    mismatches, difference = found(told_of.holding._replace(signals=forged))
    assert (mismatches, difference["counted"]) == (1, forged)
    assert difference["recounted"] == told_of.holding.signals
    assert found(told_of.holding._replace(time_ms=told_of.holding.time_ms + 1))[0] == 1, "at a moment at which nothing happened"
    first = next(one for one in case.counts.told if one.rule == "watch-orders")
    others = [one for one in case.counts.spells[first.rule] if one[:4] != first.holding[:4]]
    [missing] = case.differing(case.counts._replace(spells={**case.counts.spells, first.rule: others})).values()
    assert missing.mismatches == 1
    assert missing.differences[0]["counted"] is None


def test_who_consents_again_is_told_of_at_any_moment_but_only_of_what_holds_then() -> None:
    """A goal that is forgotten is a moment at which nothing changes that rules can name."""
    log = told(
        (0, "preference.stated", {**STATED, **REFUSES}),
        (1, "goal.set", {"goal": {"goal_id": "g"}}),
        (2, "page.viewed", CONSENTS),
    )
    text = f'{SLICES}[value]\nsacrifice_within = "1h"\ngoal_within = "10m"\n{watching(["preferences_stated"])}'
    case = case_of(text, [log])
    [firing] = [one for one in case.counts.told if one.state == "firing"]
    assert firing.holding.time_ms == log[1].timestamp + 10 * MINUTE
    assert case.differing() == {}
    forged = firing._replace(holding=firing.holding._replace(signals={"preferences_stated": 2}))
    assert case.differing(case.counts._replace(told=[forged]))["watch-preferences_stated"].mismatches == 1
    too_late = firing._replace(holding=firing.holding._replace(time_ms=log[0].timestamp + HOUR + 1))
    assert case.differing(case.counts._replace(told=[too_late]))["watch-preferences_stated"].mismatches == 1


@pytest.mark.parametrize(
    ("said", "looked_at"),
    [
        ([], [0, 120, 180]),
        ([(1, 0.5, REFUSES)], [0, 180]),
        ([(1, 0.5, REFUSES), (2, 0.25, CONSENTS)], [0, 180]),
        ([(1, 0.5, REFUSES), (2, 0.75, CONSENTS)], [0, 120, 180]),
        ([(0.7, 0.7, CONSENTS), (1, 0.5, REFUSES)], [0, 120, 180]),
        ([(2, 0.5, REFUSES), (119, 119, CONSENTS)], [0, 120, 180]),
    ],
)
def test_a_refusal_told_late_counts_from_then_on_unless_what_was_said_after_it_is_known(
    said: list[tuple[float, float, dict[str, Any]]], looked_at: list[int]
) -> None:
    """said: (minute of the clock at which it is told, when it was so, what); at 61 minutes the watermark has passed both."""
    happened: list[tuple[float, float, str, dict[str, Any]]] = [
        (at, at, "preference.stated", {**STATED, **(CONSENTS if at == 180 else {})}) for at in (0, 120, 180)
    ]
    happened.append((60, 60, "page.viewed", {}))
    happened += [(told_at if told_at == so_at else 60 + told_at, so_at, "consent.changed", what) for told_at, so_at, what in said]
    happened.sort(key=lambda one: one[0])
    times = told(*((so_at, kind, fields) for _, so_at, kind, fields in happened))
    log = [one._replace(timestamp=BASE_MS + round(at * MINUTE)) for (at, *_), one in zip(happened, times, strict=True)]
    case = case_of(f'{SLICES}[value]\nsacrifice_within = "1d"\n{watching(["preferences_stated"])}', [log])
    known = case.recounted.holdings["watch-preferences_stated"]
    assert {0, 120, 180}.intersection((one.time_ms - BASE_MS) // MINUTE for one in known if one.looked_at) == {*looked_at}
    assert case.differing() == {}
    fired = [one.holding.time_ms for one in case.counts.told if one.state in ("firing", "amended")]
    assert [(time_ms - BASE_MS) // MINUTE for time_ms in fired] == looked_at


def test_who_is_told_of_though_he_refuses_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'{SLICES}[value]\nsacrifice_within = "1d"\n{watching(["preferences_stated"])}'
    log = told(
        (0, "preference.stated", STATED), (60, "page.viewed", {}), (0.5, "consent.changed", REFUSES), (120, "preference.stated", STATED)
    )
    log[2] = log[2]._replace(timestamp=log[1].timestamp)
    assert case_of(text, [log]).differing() == {}
    monkeypatch.setattr(Fold, "take_late", lambda *_: [])
    assert case_of(text, [log]).differing()["watch-preferences_stated"].mismatches == 1
    log = told((0, "preference.stated", STATED), (0.5, "consent.changed", REFUSES), (1, "preference.stated", STATED))
    monkeypatch.setattr(Fold, "_consent", lambda *_: None)
    assert case_of(text, [log]).differing()["watch-preferences_stated"].mismatches == 1


def test_a_refusal_told_late_counts_at_a_deadline_before_the_next_event() -> None:
    log = told(
        (0, "preference.stated", STATED), (30, "preference.stated", STATED), (45, "page.viewed", {}), (0.5, "consent.changed", REFUSES)
    )
    log[-1] = log[-1]._replace(timestamp=log[-2].timestamp)
    once = '\n[[rule]]\nid = "once"\non = "customer"\nwhen = "preferences_stated == 1"\n'
    case = case_of(f'{SLICES}[value]\nsacrifice_within = "1h"\n{once}', [log])
    known = {(one.time_ms - BASE_MS) // MINUTE: one.looked_at for one in case.recounted.holdings["once"]}
    assert known == {0: True, 60: False}, "at 60 minutes the first one is forgotten"
    assert [one.state for one in case.counts.told] == ["firing"], "and nothing since the refusal"
    assert case.differing() == {}


def test_a_client_may_call_its_signal_what_the_recount_calls_its_facts() -> None:
    names = ["confusion", "digital signal", "order", "rage_click"]
    log = told(*((minute, "friction.signal", {"friction": {"kind": name}}) for minute, name in enumerate(names)))
    case = case_of(f"{SLICES}[digital]\n{watching([*SIGNALS['digital']])}", [log])
    assert case.counts.told[-1].holding.signals["digital_signals"] == len(names)
    assert case.differing() == {}


def test_limits_that_cut_what_a_signal_is_of_are_named() -> None:
    log = told(*((minute, "preference.stated", {"preference": {"distance": int(minute > 0)}}) for minute in range(51)))
    case = case_of(f"{SLICES}[value]\n{watching(['sacrifice_index'])}", [log])
    verdict = case.differing()["watch-sacrifice_index"]
    assert verdict.status == "not verified"
    assert "cut_preferences" in verdict.reason
