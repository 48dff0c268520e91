"""The SQL recount: equal on histories made to collide, and different as soon as either side is wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter as Tally
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.errors import InputError
from streamer.journeys import contacts, episodes, instances
from streamer.metrics.counters import FIRST_CHAPTERS, Counter
from streamer.replay.pipeline import Arrival, run_history
from streamer.verify import compare
from streamer.verify.ranges import Range
from streamer.verify.raw_log import Clocks
from streamer.verify.recount import recount, statements
from tests.verify_support import AFTER_MS, adversarial_log, counted, definitions, differing, in_order

if TYPE_CHECKING:
    from streamer.verify.compare import Verdict
    from streamer.verify.counted import Counted
    from streamer.verify.raw_log import Record

# Some clauses decide in one history of fifty; what happens in nearly every one is seen in a few of them.
HISTORIES, ORDERED, FEW = 100, 50, 30


def with_other(clauses: list[tuple[str, str, str]]) -> list[str]:
    """The SQL with other clauses."""
    changed = statements(definitions())
    for clause, other, _ in clauses:
        before = changed
        changed = [text.replace(clause, other) for text in before]
        assert changed != before, f"the SQL has no {clause!r} any more"
    return changed


@cache
def mine(scope: str = "issue", histories: int = HISTORIES) -> tuple[Counted, int]:
    """What the processors make of the log, and when it ends."""
    log = adversarial_log(histories, orderly=False)
    end_ms = max(record.arrival for record in log) + AFTER_MS
    return counted(log, definitions(scope), end_ms), end_ms


@pytest.mark.parametrize("scope", ["issue", "journey", "customer"])
def test_the_recount_is_equal_whatever_effort_belongs_to(scope: str) -> None:
    counts, end_ms = mine(scope)
    assert differing(counts, adversarial_log(HISTORIES, orderly=False), definitions(scope), end_ms) == {}
    counters = {counter for counter, _, _ in counts.sums}
    assert counters == {counter.name for counter in Counter if counter < FIRST_CHAPTERS}, "a counter that nothing counts shows nothing"
    assert counts.records["late"] > 0
    assert counts.records["duplicate"] > 0
    assert sum(n for (counter, _, _), n in counts.sums.items() if counter == "OPEN") == 0


def test_the_recount_is_equal_while_deadlines_have_yet_to_fall_due() -> None:
    whole = adversarial_log(HISTORIES, orderly=True)
    log = [record for record in whole if record.arrival < whole[0].arrival + 120_000]
    end_ms = log[-1].arrival + 1_000
    counts = counted(log, definitions(), end_ms)
    assert differing(counts, log, definitions(), end_ms) == {}
    assert sum(n for (counter, _, _), n in counts.sums.items() if counter == "OPEN") > 0
    assert any(series[0] == "journeys_open" for series in counts.metrics)


@cache
def ordered(scope: str = "issue") -> tuple[list[Record], Counted, int]:
    """A log in the order of time, what the processors make of it, and when it ends."""
    log = in_order(adversarial_log(ORDERED, orderly=True))
    end_ms = log[-1].arrival + AFTER_MS
    return log, counted(log, definitions(scope), end_ms), end_ms


@pytest.mark.parametrize("scope", ["issue", "journey", "customer"])
def test_the_signals_of_every_alert_are_recounted_equal(scope: str) -> None:
    log, counts, end_ms = ordered(scope)
    assert differing(counts, log, definitions(scope), end_ms, rules=True) == {}
    assert {told.rule for told in counts.told} == {rule.id for rule in definitions(scope).rule if rule.on}, (
        "a rule that never fires shows nothing"
    )
    assert sum(told.state == "amended" for told in counts.told) > 100


# Clauses of the SQL that have nothing to do with each other, what each is replaced by, and a rule that must differ then.
SIGNALS = [
    [
        ("AND (i.ends > m.t OR", "AND (true OR", "all-of-customers"),
        (
            "THEN role = 'abandoned' END IGNORE NULLS) OVER so_far, false)",
            "THEN false END IGNORE NULLS) OVER so_far, false)",
            "any-abandoned",
        ),
        ("arg_max(NOT analytics, (happened, off))", "arg_max(true, (happened, off))", "all-of-issues"),
    ],
    [
        ("r.t + repeat_within + (m.phase < 2)::INT >= m.t", "r.t + repeat_within > m.t", "repeats"),
        ("sum((nth > 1)::INT) OVER so_far", "0", "moved-around"),
        ("(type IN ('payment.failed', 'form.error', 'friction.signal'))::INT + coalesce(n, 0)", "coalesce(n, 0)", "friction"),
    ],
]


@pytest.mark.parametrize("clauses", SIGNALS)
def test_a_signal_that_means_something_else_is_a_difference(clauses: list[tuple[str, str, str]]) -> None:
    log, counts, end_ms = ordered()
    found = differing(counts, log, definitions(), end_ms, with_other(clauses), rules=True)
    assert {rule for _, _, rule in clauses} - set(found) == set()


def test_an_alert_that_is_missing_and_one_too_many_are_differences() -> None:
    log, counts, end_ms = ordered()
    first = next(told for told in counts.told if told.rule == "switching")
    spells = counts.spells["switching"]

    def found(**other: Any) -> Verdict:
        [verdict] = compare_rules(counts._replace(**other))
        assert verdict.name == "switching"
        return verdict

    theirs = recount(log, definitions(), Clocks({0: end_ms}), signals=True)

    def compare_rules(changed: Counted) -> list[Verdict]:
        verdicts = compare.rules(changed, theirs, definitions(), Range(), 5, in_order=True)
        return [verdict for verdict in verdicts if verdict.status != "equal"]

    missing = found(spells={**counts.spells, "switching": spells[1:]})
    assert (missing.mismatches, missing.differences[0]["counted"]) == (1, None)
    invented = first._replace(holding=first.holding._replace(key="nobody"))
    assert found(told=[*counts.told, invented]).mismatches == 1
    assert found(spells={**counts.spells, "switching": [*spells, spells[0]._replace(key="nobody")]}).mismatches == 1
    longer = found(spells={**counts.spells, "switching": [spells[0]._replace(until_ms=None), *spells[1:]]})
    assert (longer.mismatches, longer.differences[0]["counted"]) == (1, {"until": None})


@pytest.mark.parametrize("entity_ended", [False, True])
def test_a_forged_signal_of_an_alert_that_has_ended_is_a_difference(entity_ended: bool) -> None:
    log, counts, end_ms = ordered()
    theirs = recount(log, definitions(), Clocks({0: end_ms}), signals=True)
    ended = {one[:4] for one in theirs.spells["all-of-customers"] if one.until_ms is not None}
    without = {one[:4] for one in theirs.spells["all-of-journeys"] if one.signals is None}
    rule, among = ("all-of-journeys", without) if entity_ended else ("all-of-customers", ended)
    spells = [*counts.spells[rule]]
    at = next(i for i, one in enumerate(spells) if one[:4] in among and one.key not in theirs.refusing)
    told_last = spells[at].signals
    spells[at] = spells[at]._replace(signals={**(told_last or {}), "transfers": 99})
    changed = counts._replace(spells={**counts.spells, rule: spells})
    verdicts = compare.rules(changed, theirs, definitions(), Range(), 5, in_order=True)
    [verdict] = [verdict for verdict in verdicts if verdict.status != "equal"]
    assert (verdict.name, verdict.mismatches) == (rule, 1)
    assert verdict.differences[0]["recounted"]["signals"] == told_last


# When rules begin and cease to hold: clauses, what each is replaced by, and a rule that must differ then.
ENDS = [
    ("WHERE next_place = 9223372036854775807 AND ends <= clock", "WHERE false", "all-of-issues"),
    ("AND t + deadline + recoverable_for <= clock", "AND t + deadline + recoverable_for < 0", "any-abandoned"),
    ("count(*) FILTER (kind <> 'contact') > 0 AS has_effort", "true AS has_effort", "without-transfers"),
]
WATCHED = """
[[rule]]
id = "without-transfers"
on = "issue"
when = "transfers < 1"
[[rule]]
id = "asks"
on = "journey"
when = "customer_contacts >= 1"
"""


def test_when_a_firing_begins_and_ends_is_recounted() -> None:
    log, _, end_ms = ordered()
    wanted = parse(definitions().text + WATCHED)
    counts = counted(log, wanted, end_ms)
    theirs = recount(log, wanted, Clocks({0: end_ms}), signals=True)
    verdicts = {one.name: one for one in compare.rules(counts, theirs, wanted, Range(), 5, in_order=True)}
    assert {verdict.status for verdict in verdicts.values()} == {"equal"}
    told = Tally(one.rule for one in counts.told)
    assert verdicts["asks"].compared > told["asks"] > 0
    assert verdicts["without-transfers"].compared > told["without-transfers"] > 0
    assert {spell.until_ms is None for spells in counts.spells.values() for spell in spells} == {False}
    found = differing(counts, log, wanted, end_ms, with_other(ENDS), rules=True)
    assert {rule for _, _, rule in ENDS} - found.keys() == set()


def test_a_processor_that_forgets_an_end_and_what_a_cooldown_held_back_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    log, _, end_ms = ordered()
    wanted = parse(definitions().text.replace('id = "repeats"', 'id = "repeats"\nmode = "draft"'))
    for forgotten in ("end_entity", "_again"):
        monkeypatch.setattr(episodes.EpisodeFold, forgotten, lambda *_: None)
    found = differing(counted(log, wanted, end_ms), log, wanted, end_ms, rules=True)
    assert {"all-of-issues", "repeats"} <= found.keys(), "a draft too"


def test_a_rule_that_is_off_is_named() -> None:
    log, counts, end_ms = ordered()
    text = '\n[[rule]]\nid = "asleep"\non = "customer"\nwhen = "contacts >= 3"\nmode = "off"\n'
    verdict = differing(counts, log, parse(definitions().text + text), end_ms, rules=True)["asleep"]
    assert (verdict.status, verdict.mismatches) == ("not verified", 0)
    assert "is off" in verdict.reason


def test_drafts_are_compared_as_if_they_were_told_and_nobody_is() -> None:
    log, told, end_ms = ordered()
    text, *rules = definitions().text.split("[[rule]]")
    drafts = parse("[[rule]]".join([text, *(rule if "metric =" in rule else f'\nmode = "draft"{rule}' for rule in rules)]))
    counts = counted(log, drafts, end_ms)
    assert counts.told == told.told
    assert differing(counts, log, drafts, end_ms, rules=True) == {}
    arrivals = [Arrival(record.arrival, record.key, record.value) for record in log]
    result = run_history(arrivals, drafts, partitions=1, begin_ms=log[0].arrival, end_ms=end_ms)
    assert not [alert for alert in result.alerts if alert.entity]
    evaluated = Tally((one.rule, one.state) for one in told.told)
    assert {key: n for key, n in result.accounting.items() if key.startswith("draft:") and ":resolved:" not in key} == {
        f"draft:{state}:{rule}": n for (rule, state), n in evaluated.items()
    }


# The same for counters and metrics.
CLAUSES = [
    [("event_time < greatest(high - allowed_lateness, -1)", "event_time <= greatest(high - allowed_lateness, -1)", "TOUCHPOINTS")],
    [("WHERE is_duplicate", "WHERE false", "records")],
    [
        ("lambda i: e.t < i.last + e.deadline + e.recoverable_for", "lambda i: e.t < i.last + e.deadline", "RECOVERED"),
        (">= retention, true)", "> retention, true)", "CASES"),
        (">= contact_window, true)", "> contact_window, true)", "ISSUES"),
    ],
    [
        ("coalesce(before + deadline <= t, false)", "coalesce(before + deadline < t, false)", "RECOVERED"),
        ("lag(owned_by, 2) OVER history", "lag(owned_by, 3) OVER history", "PING_PONGS"),
        ("of_issue.t <= repeat_within, false) OR coalesce(c.t - of_id.t <= repeat_within", "of_issue.t < -1", "REPEAT_CONTACTS"),
        ("AND instance = named_after", "AND instance <= named_after", "FRICTION_INSTANCES"),
    ],
    [("SEMI JOIN (FROM walked", "ANTI JOIN (FROM walked", "RECOVERED"), ("WHERE marks AND NOT is_contact", "WHERE false", "CONTACTS")],
    [("THEN alive[-1].no", "THEN alive[1].no", "ABANDONED"), ("ORDER BY t, off) AS place", "ORDER BY off) AS place", "CHANNEL_SWITCHES")],
    [("one.begun > happened", "false", "RECOVERED")],
    [("sum(n) FILTER (part = 'denominator')", "sum(n) FILTER (part = 'numerator')", "abandon_rate")],
]


@pytest.mark.parametrize("clauses", CLAUSES)
def test_a_clause_that_says_something_else_is_a_difference(clauses: list[tuple[str, str, str]]) -> None:
    counts, end_ms = mine()
    found = differing(counts, adversarial_log(HISTORIES, orderly=False), definitions(), end_ms, with_other(clauses))
    assert {name for _, _, name in clauses} - set(found) == set()
    assert all(found[name].mismatches and found[name].differences for _, _, name in clauses)


def test_a_processor_that_forgets_a_case_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bugs in the product, not in the SQL: an abandonment that is not taken back, a web to phone switch that is not seen."""
    monkeypatch.setattr(instances, "_ABANDONED", instances._FAILED)
    monkeypatch.setattr(contacts, "_WEB_TO_PHONE", contacts._CHANNEL_SWITCHES)
    log = adversarial_log(FEW, orderly=False)
    end_ms = max(record.arrival for record in log) + AFTER_MS
    found = differing(counted(log, definitions(), end_ms), log, definitions(), end_ms)
    assert {"ABANDONED", "FAILED", "abandon_rate", "WEB_TO_PHONE", "CHANNEL_SWITCHES", "web_to_phone"} <= set(found)
    assert "STARTED" not in found


@pytest.mark.parametrize(
    "limit", ["events_per_customer = 4", "issues_per_customer = 1", "journeys_per_customer = 1", "cases_per_customer = 1"]
)
def test_what_differs_under_a_limit_that_cut_is_not_verified_and_no_mismatch(limit: str) -> None:
    log, wanted = adversarial_log(FEW, orderly=False), parse(f"{definitions().text}\n[limits]\n{limit}\n")
    end_ms = max(record.arrival for record in log) + AFTER_MS
    found = differing(counted(log, wanted, end_ms), log, wanted, end_ms)
    assert found
    assert {verdict.status for verdict in found.values()} == {"not verified"}
    assert all("cut_" in verdict.reason for verdict in found.values())


def test_one_change_less_is_one_difference() -> None:
    counts, end_ms = mine(histories=FEW)
    place = next(place for place in counts.sums if place[0] == "CONTACTS")
    changed = counts._replace(sums={**counts.sums, place: counts.sums[place] + 1})
    found = differing(changed, adversarial_log(FEW, orderly=False), definitions(), end_ms)
    assert {name: verdict.mismatches for name, verdict in found.items()} == {"CONTACTS": 1}
    [difference] = found["CONTACTS"].differences
    assert difference["counted"] == difference["recounted"] + 1


def test_one_event_less_is_a_difference() -> None:
    counts, end_ms = mine(histories=FEW)
    log = adversarial_log(FEW, orderly=False)
    at = next(i for i, record in enumerate(log) if b"checkout.started" in (record.value or b""))
    log = log[:at] + log[at + 1 :]
    assert {"records", "TOUCHPOINTS", "STARTED"} <= set(differing(counts, log, definitions(), end_ms))


def test_without_duckdb_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(InputError, match="DuckDB, which is not installed"):
        recount([], definitions(), Clocks({}))


def test_ctrl_c_ends_a_statement_as_it_ends_everything_else() -> None:
    schema, *_ = statements(definitions())
    endless = "CREATE TABLE endless AS SELECT sum(a.range * b.range % 7) AS n FROM range(1000000) a, range(1000000) b"
    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        recount([], definitions(), Clocks({0: 0}), [schema, endless, ""])
