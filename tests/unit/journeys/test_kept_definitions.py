"""The definitions that customers were folded with are kept in the changelog as long as there is one of them, and no longer."""

from __future__ import annotations

import pytest

from streamer.errors import DefinitionsError
from tests.journeys_support import Run
from tests.unit.journeys.test_bounds import T, event

CHECKOUT = """
revision = 1
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
deadline = "30d"
recoverable_for = "0s"
"""


def of_revision(number: int) -> str:
    return CHECKOUT.replace("revision = 1", f"revision = {number}")


def kept(run: Run) -> set[bytes]:
    """The rows of definitions, after the next owner's first checkpoint."""
    run.crash()
    run.drain()
    return {key for key in run.changelog if key[:1] == b"d"}


def seen(run: Run, offset: int, customer: str) -> None:
    run.process([event(offset, T + offset, "checkout.started", customer, commerce={"checkout_id": f"k{offset}"})])
    run.drain()


def test_a_text_goes_when_the_last_customer_of_it_has_moved_on() -> None:
    run = Run(CHECKOUT)
    seen(run, 0, "a")
    seen(run, 1, "b")
    run.upgrade(of_revision(2))
    seen(run, 2, "a")
    assert kept(run) == {b"d1", b"d2"}, "b has not been seen since"
    seen(run, 3, "b")
    assert kept(run) == {b"d2"}


def test_years_of_changes_leave_what_is_in_force_and_what_somebody_is_of() -> None:
    run = Run(CHECKOUT)
    seen(run, 0, "long gone")
    for number in range(2, 30):
        run.upgrade(of_revision(number))
        seen(run, number, "a")
    assert kept(run) == {b"d1", b"d29"}


def test_a_text_that_a_later_build_refuses_is_no_obstacle_once_nobody_is_of_it() -> None:
    run = Run(CHECKOUT)
    seen(run, 0, "a")
    run.upgrade(of_revision(2))
    run.changelog[b"d1"] = b"nonsense = 1"
    with pytest.raises(DefinitionsError, match="kept revision 1"):
        run.crash()
    run.changelog[b"d1"] = CHECKOUT.encode()
    run.crash()
    seen(run, 1, "a")
    run.changelog[b"d1"] = b"nonsense = 1"
    assert kept(run) == {b"d2"}
