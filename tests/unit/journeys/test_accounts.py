"""Cells tell accounts apart where a rule on accounts looks, and nowhere else."""

from __future__ import annotations

import pytest

from streamer.definitions import parse
from streamer.journeys.cells import CASE, CONTACT, EVENT, JOURNEY, Cells
from streamer.touchpoints.touchpoint import FIELDS, Touchpoint, touchpoint_of
from tests.journeys_support import CORE_DEFINITIONS, Story

PLAIN = CORE_DEFINITIONS.read_text()
FAMILIES = {"journey": JOURNEY, "contact": CONTACT, "case": CASE, "event": EVENT}


def with_rule(metric: str, more: str = "") -> str:
    text = f'{PLAIN}\n[[rule]]\nid = "of-accounts"\non = "account"\nmetric = "{metric}"\nwindows = ["1h"]\nwhen = "value > 1"\n{more}\n'
    return text.replace("revision = 1", "revision = 2")


def event() -> Touchpoint:
    made = Touchpoint(1, 1, "e", "s", "contact.started", "phone")
    made.account_id = "acme"
    return made


@pytest.mark.parametrize(
    ("metric", "families"),
    [
        ("contacts", {"contact"}),
        ("abandon_rate", {"journey"}),
        ("touchpoints", {"journey"}),
        ("ping_pong_rate", {"case"}),
        ("personal_journey_share", {"journey", "event"}),
    ],
)
def test_cells_have_the_account_if_a_rule_looks_at_a_counter_in_them(metric: str, families: set[str]) -> None:
    cells = Cells(["channel"], parse(with_rule(metric, "[value]")).account_counters)
    found = {name for name, family in FAMILIES.items() if "account" in cells.of(family, "", event()).labels}
    assert found == families
    for name in families:
        cell = cells.of(FAMILIES[name], "", event())
        assert cell.values == cells.unpack(cell.packed).values
        assert cells.with_values(cell, {"channel": "web"}).labels["account"] == "acme"


@pytest.mark.parametrize("text", [PLAIN, with_rule("contacts", 'mode = "off"')])
def test_without_such_a_rule_no_cell_has_it(text: str) -> None:
    cells = Cells(["channel"], parse(text).account_counters)
    assert "account" not in cells.dimensions
    assert all("account" not in cells.of(family, "", event()).labels for family in FAMILIES.values())


def test_what_is_counted_of_a_contact_is_of_the_account_of_its_event() -> None:
    story = Story(with_rule("contacts"))
    story.event("contact.started", 0, issue_id="i-1", account_id="acme")
    story.event("contact.started", 60, issue_id="i-1")
    story.event("checkout.started", 61, checkout_id="k", account_id="acme")
    story.run.drain()
    assert story.run.total("CONTACTS") == 2
    assert story.run.total("CONTACTS", account="acme") == 1
    assert story.run.total("STARTED") == 1
    assert story.run.total("STARTED", account="acme") == 0, "no rule looks at it"


def test_state_of_before_the_rule_goes_on_and_what_began_before_it_is_of_no_account() -> None:
    story = Story(PLAIN)
    story.event("checkout.started", 0, checkout_id="old", account_id="acme")
    story.event("contact.started", 1, issue_id="i-1", account_id="acme")
    story.run.drain()
    story.run.upgrade(with_rule("abandon_rate"))
    story.event("checkout.started", 60, checkout_id="new", account_id="acme")
    story.event("order.completed", 61, checkout_id="old", account_id="acme")
    story.event("order.completed", 62, checkout_id="new", account_id="acme")
    story.run.drain()
    assert story.run.total("STARTED") == story.run.total("COMPLETED") == 2
    assert story.run.total("STARTED", account="acme") == story.run.total("COMPLETED", account="acme") == 1
    assert story.run.total("OPEN") == 0
    story.run.upgrade(PLAIN.replace("revision = 1", "revision = 3"))
    story.event("contact.ended", 70, issue_id="i-1", account_id="acme")
    story.event("checkout.started", 71, checkout_id="third", account_id="acme")
    story.run.drain()
    assert story.run.total("STARTED", account="acme") == 1


def test_events_retained_by_an_older_build_are_of_no_account() -> None:
    packed = event().values()
    assert touchpoint_of(packed).account_id == "acme"
    assert touchpoint_of(packed[: FIELDS.index("account_id")]).account_id == ""
