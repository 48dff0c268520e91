"""Rules on accounts: each company is a series of its own, that alerts name and nothing else does."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streamer import definitions
from streamer.alerts.alert import Entity, decode, encode
from streamer.alerts.identity import alert_id_of, episode_id_of, fingerprint_of
from streamer.alerts.times import milliseconds
from streamer.metrics.counters import Counter
from streamer.metrics.exporter import BusinessCollector
from streamer.metrics.readings import AccountsReading
from streamer.rollup.estimates import COUNTER_BITS, COUNTER_MASK
from streamer.rollup.series import OTHER
from tests.unit.rollup.feed import Change, Feed

T = 1_790_000_000
SLICES = """
revision = 1
dashboard = "https://grafana.example/d/cx"
windows = ["1m", "1h"]
[[slice]]
by = []
[[slice]]
by = ["channel"]
"""
RULE = """
[[rule]]
id = "busy"
on = "account"
metric = "contacts"
windows = ["1m"]
when = "value >= 3"
severity = "critical"
action = "Call them"
owner_team = "key-accounts"
runbook = "docs/runbooks/busy.md"
"""
TEXT = SLICES + RULE
NAMES = ["channel", "account"]


def feed(text: str = TEXT, **limits: int) -> Feed:
    return Feed(text, **limits)


def contacts(one: Feed, at: int, **of: int) -> None:
    """So many contacts of each account within a second; `nobody` is none."""
    changes: list[Change] = [
        ((T + at) // 10, ("phone", "" if account == "nobody" else account.replace("_", "-")), Counter.CONTACTS, n)
        for account, n in of.items()
    ]
    one.send(T + at + 1, {T + at: changes}, dimensions=NAMES)
    one.send(T + at + 2, dimensions=NAMES)
    one.drain()


def told(one: Feed) -> list[tuple[str, str]]:
    return [(a.state, a.entity.account_id if a.entity else "") for a in one.alerts]


def scraped(one: Feed) -> str:
    registry = CollectorRegistry()
    registry.register(BusinessCollector(lambda: [one.rollup]))
    return generate_latest(registry).decode()


def test_an_account_fires_by_what_all_its_people_do_and_one_without_an_account_does_not() -> None:
    one = feed()
    contacts(one, 0, acme=2, globex=2, nobody=40)
    assert told(one) == []
    contacts(one, 5, acme=1)
    assert told(one) == [("firing", "acme")]
    contacts(one, 100, globex=2)
    contacts(one, 140, globex=0)
    assert told(one) == [("firing", "acme"), ("resolved", "acme")]


# Contacts of one second leave the window of a minute after it: firing, and resolved three boundaries later.
FIRST, SECOND = 0, 600


def twice(one: Feed) -> list[tuple[str, int]]:
    """The account is busy at FIRST and from SECOND on for a while; (state, seconds) of what is told within a day and an hour."""
    for at in (FIRST, SECOND, *range(SECOND + 30, SECOND + 7_200, 30)):
        contacts(one, at, acme=3)
    one.send(T + 25 * 3_600, dimensions=NAMES)
    one.drain()
    return [(a.state, milliseconds(a.event_time) // 1000 - T) for a in one.alerts]


@pytest.mark.parametrize(
    ("held", "second"),
    [
        ("", SECOND),
        ('cooldown = "15m"', FIRST + 900),
        ('cooldown = "5m"', SECOND),
        ("max_per_day = 2", SECOND),
        # 2026-09-21T14:13:20Z: SECOND is at 14:23:20.
        ('quiet = ["14:20-15:00"]', 2_800),
        ('quiet = ["15:20-16:00"]', SECOND),
    ],
)
def test_what_holds_an_account_back_fires_when_it_allows_it(held: str, second: int) -> None:
    fired = [at for state, at in twice(feed(TEXT + held + "\n")) if state == "firing"]
    assert fired == [FIRST, second]


def test_a_daily_maximum_lets_the_account_fire_again_a_day_after_the_first_time() -> None:
    one = feed(f"{TEXT}max_per_day = 1\n")
    for at in (FIRST, SECOND, *range(86_310, 86_500, 30)):
        contacts(one, at, acme=3)
    assert [milliseconds(a.event_time) // 1000 - T for a in one.alerts if a.state == "firing"] == [FIRST, 86_400]


def test_the_next_owner_holds_back_as_the_one_before() -> None:
    text = f'{TEXT}cooldown = "15m"\nmax_per_day = 2\n'
    one, crashing = feed(text), feed(text)
    for feeding in (one, crashing):
        contacts(feeding, FIRST, acme=3)
    crashing.drain()
    crashing.crash()
    assert [told for told in twice(crashing) if told[1] > FIRST] == [told for told in twice(one) if told[1] > FIRST]


def test_the_alert_is_about_the_account_and_about_no_slice_and_no_customer() -> None:
    one = feed()
    contacts(one, 0, acme=3)
    fingerprint = fingerprint_of("busy", "account", "acme")
    episode = episode_id_of(fingerprint, 1)
    told = msgspec.to_builtins(one.alerts[0])
    assert told == told | {
        "alert_id": alert_id_of(episode, 1),
        "episode_id": episode,
        "fingerprint": fingerprint,
        "schema_version": 1,
        "state": "firing",
        "severity": "critical",
        "rule": {"id": "busy", "version": 1, "text": "value >= 3"},
        "entity": {"account_id": "acme"},
        "metric": {"name": "contacts", "value": 3.0, "k": 3, "n": 3},
        "window": {"start": "2026-09-21T14:12:30.000Z", "end": "2026-09-21T14:13:20.000Z", "watermark": "2026-09-21T14:13:21.000Z"},
        "why": "contacts (account acme) is 3 over 1m: `value >= 3` held.",
        "counterfactual": "It would not have fired with `value` over 1m below 3 (it was 3).",
        "suggested_action": "Call them",
        "owner_team": "key-accounts",
        "runbook": "docs/runbooks/busy.md",
        "dashboard": "https://grafana.example/d/cx?from=1789996350000&to=1790003600000",
        "event_time": "2026-09-21T14:13:20.000Z",
        "detected_at": "2026-09-21T14:13:20.000Z",
        "expires_at": "2026-09-28T14:13:20.000Z",
    }
    assert "slice" not in told
    assert one.alerts[0].series == {"account": "acme"}


def test_an_alert_of_before_accounts_is_read_as_it_was() -> None:
    one = feed()
    contacts(one, 0, acme=3)
    older = msgspec.to_builtins(one.alerts[0]) | {"entity": {"canonical_id": "c-1", "journey": "checkout"}}
    read = decode(msgspec.json.encode(older))
    assert (read.entity, read.series) == (Entity(canonical_id="c-1", journey="checkout"), None)
    assert msgspec.json.decode(encode(read))["entity"] == older["entity"]


@pytest.mark.parametrize("crash", [False, True])
def test_accounts_beyond_the_limit_are_counted_together_and_never_fire(crash: bool) -> None:
    one = feed(TEXT + "[limits]\naccounts = 2\n")
    contacts(one, 0, globex=1, acme=1)
    if crash:
        one.crash()
    contacts(one, 1, initech=9, umbrella=9, acme=2)
    assert told(one) == [("firing", "acme")]
    assert dict(one.rollup.label_overflow) == {"account": 2}
    series = {s.values for s in one.rollup.table.series if s.by == ("account",)}
    assert series == {("acme",), ("globex",), (OTHER,)}
    # What has no series of its own is in all other numbers.
    assert one.gauge("contacts", "1m", "phone").k == 22
    assert 'cx_label_overflow_total{dimension="account",rollup_partition="0"} 2.0' in scraped(one)


def test_an_account_that_is_called_other_is_one_of_those_that_never_fire() -> None:
    one = feed()
    contacts(one, 0, other=50)
    assert told(one) == []


def test_who_comes_first_is_decided_by_the_tick_and_then_by_name_not_by_records() -> None:
    admitted = []
    for order in (["zeta", "alpha", "mid"], ["mid", "zeta", "alpha"]):
        one = Feed(TEXT + "[limits]\naccounts = 2\n", sources=3)
        for source, account in enumerate(order):
            one.send(T + 1, {T: [(T // 10, ("phone", account), Counter.CONTACTS, 1)]}, source=source, dimensions=NAMES)
        one.drain()
        admitted.append([s.values[0] for s in one.rollup.table.series if s.by == ("account",)])
    assert admitted == [["alpha", "mid", OTHER]] * 2


def test_neither_gauges_nor_labels_nor_states_name_an_account_but_their_numbers_are_there() -> None:
    one = feed()
    contacts(one, 0, acme=3, globex=1, initech=1)
    text = scraped(one)
    assert not [name for name in ("acme", "globex", "initech", 'account="') if name in text]
    assert one.gauge("contacts", "1m", "phone").k == 5
    labels = 'cx_rule_accounts{{rollup_partition="0",rule="busy",severity="critical",state="{}"}} {}'
    for state, number in (("firing", "1.0"), ("ok", "2.0"), ("pending", "0.0"), ("insufficient", "0.0")):
        assert labels.format(state, number) in text
    assert "cx_rule_state" not in text
    assert AccountsReading("busy", "critical", "firing", 1) in list(one.rollup.account_states())


def test_without_a_rule_on_accounts_nothing_is_counted_by_them_and_nothing_is_exported() -> None:
    for text in (SLICES, TEXT + 'mode = "off"\n'):
        one = feed(text)
        contacts(one, 0, acme=3)
        assert "account" not in one.rollup.table.dimensions
        assert {s.by for s in one.rollup.table.series} == {(), ("channel",)}
        assert "cx_rule_accounts" not in scraped(one)


def test_only_what_the_rules_look_at_is_counted_by_account() -> None:
    one = feed()
    cell = ("phone", "acme")
    one.send(T + 1, {T: [(T // 10, cell, Counter.CONTACTS, 1), (T // 10, cell, Counter.TRANSFERS, 1)]}, dimensions=NAMES)
    one.drain()
    counted = {(one.rollup.table.series[key >> COUNTER_BITS].by, key & COUNTER_MASK) for key, n in one.rollup.store.lifetime.items() if n}
    assert counted == {(("account",), 20), (("channel",), 20), (("channel",), 23), ((), 20), ((), 23)}


def test_each_account_is_looked_at_by_one_of_several_rollup_partitions() -> None:
    accounts = {f"a_{number}": 3 for number in range(40)}
    parts = [feed(partition=partition, partitions=3) for partition in range(3)]
    for part in parts:
        contacts(part, 0, **accounts)
    shares = [[name for _, name in told(part)] for part in parts]
    assert sorted(name for share in shares for name in share) == sorted(f"a-{number}" for number in range(40))
    assert all(shares)


@pytest.mark.parametrize("text", [SLICES, TEXT + 'mode = "off"\n'])
def test_what_fires_ends_with_its_rule_and_is_still_about_the_account(text: str) -> None:
    one = feed()
    contacts(one, 0, acme=3)
    one.definitions = definitions.parse(text.replace("revision = 1", "revision = 2"))
    one.crash()
    contacts(one, 5, acme=3)
    assert told(one) == [("firing", "acme"), ("resolved", "acme")]
    assert one.alerts[1].slice is None
    assert one.alerts[1].fingerprint == one.alerts[0].fingerprint


def test_a_rule_that_is_added_later_counts_from_then_on() -> None:
    one = feed(SLICES)
    one.send(T + 1, {T: [(T // 10, ("phone",), Counter.CONTACTS, 9)]}, dimensions=["channel"])
    one.drain()
    one.definitions = definitions.parse(TEXT.replace("revision = 1", "revision = 2"))
    one.crash()
    contacts(one, 5, acme=2)
    assert told(one) == []
    contacts(one, 6, acme=1)
    assert told(one) == [("firing", "acme")]
    assert one.gauge("contacts", "lifetime", "phone").k == 12
    one.crash()
    contacts(one, 20, acme=1)
    assert told(one) == [("firing", "acme")], "once only"


@pytest.mark.parametrize(("accounts", "confidence"), [(20, None), (21, 0.99)])
def test_among_many_accounts_bounds_are_of_99_percent_and_never_wider(accounts: int, confidence: float | None) -> None:
    one = feed(TEXT.replace("contacts", "transfer_rate").replace("value >= 3", "lower > 0.5"))
    changes: list[Change] = []
    for number in range(accounts):
        cell = ("phone", f"a{number}")
        changes += [(T // 10, cell, Counter.CONTACTS, 100), (T // 10, cell, Counter.CONTACTS_TRANSFERRED, 90 if not number else 1)]
    one.send(T + 1, {T: changes}, dimensions=NAMES)
    one.drain()
    assert told(one) == [("firing", "a0")]
    assert one.alerts[0].metric.confidence == confidence
