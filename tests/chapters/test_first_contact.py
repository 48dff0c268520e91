"""First contact resolution (E5), of the chapter service."""

from __future__ import annotations

from streamer.journeys.chapters.first_contact import RESOLVED_MAX
from tests.chapters.test_service import Event, folded, of_issue, started
from tests.journeys_support import BASE_MS, HOUR, MINUTE


def ended(at: float, issue: str = "i-1", reason: str = "") -> Event:
    return at, "contact.ended", {"issue": {"issue_id": issue, "reason": reason}}


def first_contacts(*events: Event, after_ms: int = 4 * HOUR) -> tuple[int, int, int, int]:
    """What has ended, what of it stands, what is decided, what was settled the first time."""
    run = folded(*events, after_ms=after_ms)
    names = ("RESOLUTIONS", "RESOLUTIONS_STANDING", "FIRST_CONTACTS_DUE", "FIRST_CONTACTS_RESOLVED")
    found = [run.total(name) for name in names]
    return found[0], found[1], found[2], found[3]


def test_what_the_customer_does_not_come_back_about_was_settled_the_first_time() -> None:
    assert first_contacts(ended(0), after_ms=49 * MINUTE) == (1, 1, 0, 0), "nobody knows yet"
    run = folded(ended(1))
    over = BASE_MS + 51 * MINUTE
    assert run.at("FIRST_CONTACTS_DUE", over) == run.at("FIRST_CONTACTS_RESOLVED", over) == 1
    assert first_contacts(ended(0), started(50)) == (1, 0, 1, 0), "at exactly the end"
    assert first_contacts(ended(0), started(50 + 1 / 60)) == (1, 1, 1, 1)
    assert first_contacts(ended(0), started(20, initiator="company")) == (1, 1, 1, 1)
    assert first_contacts(ended(0), started(20, "i-2")) == (1, 1, 1, 1)
    assert first_contacts(ended(0), of_issue(20, "case.reopened", actor={"initiator": "system"})) == (1, 0, 1, 0)


def test_a_repetition_counts_where_its_time_would_have_been_over() -> None:
    run = folded(ended(1), started(10))
    assert run.at("FIRST_CONTACTS_DUE", BASE_MS + 51 * MINUTE) == 1
    assert run.at("RESOLUTIONS", BASE_MS + MINUTE) == 1


def test_the_same_reason_repeats_under_whatever_id() -> None:
    again = (20.0, "contact.started", {"issue": {"issue_id": "i-2", "reason": "billing"}})
    assert first_contacts(ended(0, reason="billing"), again) == (1, 0, 1, 0)
    assert first_contacts(ended(0, reason="delivery"), again) == (1, 1, 1, 1)
    assert first_contacts((0, "contact.ended", {}), again) == (0, 0, 0, 0), "nothing says what it was about"


def test_what_ends_twice_before_a_contact_has_ended_once() -> None:
    assert first_contacts(ended(0), ended(30), started(70)) == (1, 0, 1, 0), "the time runs from the last"
    assert first_contacts(ended(0), ended(50 + 1 / 60)) == (2, 2, 2, 2), "the first was decided"
    assert first_contacts(ended(0), started(10), ended(20)) == (2, 1, 2, 1)


def unresolved(at: float, issue: str = "i-1", reason: str = "") -> Event:
    return at, "contact.ended", {"issue": {"issue_id": issue, "reason": reason, "resolved": False}}


def test_who_is_sent_away_with_nothing_was_not_helped_the_first_time() -> None:
    assert first_contacts(unresolved(0), started(20), ended(30)) == (2, 1, 2, 1), "he comes back, and then it is resolved"
    assert first_contacts(unresolved(0)) == (1, 0, 1, 0), "though he never comes back"
    assert first_contacts(unresolved(0), ended(20)) == (1, 1, 1, 1), "it is resolved before he comes back"
    assert first_contacts(unresolved(0), ended(20), started(25)) == (1, 0, 1, 0)
    assert first_contacts(ended(0), unresolved(20)) == (1, 1, 1, 1), "what is resolved stays so"
    again = (20.0, "contact.started", {"issue": {"issue_id": "i-2", "reason": "billing"}})
    assert first_contacts(unresolved(0, reason="billing"), again) == (1, 0, 1, 0)
    run = folded(unresolved(1), ended(20))
    assert run.at("RESOLUTIONS_STANDING", BASE_MS + MINUTE) == 1, "in the pane of the first end"
    assert run.at("FIRST_CONTACTS_RESOLVED", BASE_MS + 70 * MINUTE) == 1, "the time runs from the last"


def test_what_was_resolved_longest_ago_makes_room() -> None:
    run = folded(*(ended(n / 60, f"i-{n}") for n in range(RESOLVED_MAX + 1)))
    assert run.processor.accounting["cut_first_contacts"] == 1
    assert (run.total("RESOLUTIONS"), run.total("FIRST_CONTACTS_DUE")) == (RESOLVED_MAX + 1, RESOLVED_MAX)
