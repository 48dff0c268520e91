"""Real logs recounted in SQL: what the processors make of them is equal, as they are and permuted within the allowed lateness."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from streamer.commands.replay import load_definitions
from streamer.replay import mapping
from streamer.replay.history import History, read_history
from streamer.replay.pipeline import end_of
from streamer.verify.sources import records_of
from tests.acceptance.recount import HELPDESK, INCIDENTS, helpdesk_contacts, incident_handoffs, require
from tests.verify_support import counted, differing

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.definitions import Definitions

pytestmark = pytest.mark.acceptance

# The counts that tests/acceptance/recount.py makes from the XML, each beside the counter it must be.
KNOWN: dict[str, Callable[[], dict[str, int]]] = {
    "bpic2013": lambda: dict(zip(("HANDOFFS", "CASES_HANDED_OFF", "CASES_PING_PONG"), incident_handoffs(INCIDENTS)[:3], strict=True)),
    "helpdesk": lambda: dict(zip(("CONTACTS", "REPEAT_CONTACTS"), helpdesk_contacts(HELPDESK), strict=True)),
}


@pytest.fixture(scope="module", params=[("bpic2013", INCIDENTS), ("helpdesk", HELPDESK)], ids=["incidents", "help desk"])
def log(request: pytest.FixtureRequest) -> tuple[str, History, Definitions]:
    name, path = request.param
    history = read_history(require(path), mapping.load(Path(f"mappings/{name}.toml")))
    return name, history, load_definitions(Path(f"mappings/{name}.definitions.toml"))


@pytest.mark.parametrize("seed", [None, 1], ids=["as it is", "permuted"])
def test_a_real_log_is_recounted_equal(log: tuple[str, History, Definitions], seed: int | None) -> None:
    name, history, wanted = log
    if seed is not None and name == "bpic2013":  # a third of it is enough to be out of order in
        history = history._replace(events=[event for event in history.events if crc32(event.key or b"") % 3 == 0])
    records = records_of(history, shuffle_ms=int(wanted.allowed_lateness), seed=seed)
    end_ms = end_of(history.end_ms, wanted)
    mine = counted(records, wanted, end_ms)
    assert differing(mine, records, wanted, end_ms, rules=seed is None) == {}
    if seed is None:
        known = KNOWN[name]()
        assert {counter: sum(n for (of, _, _), n in mine.sums.items() if of == counter) for counter in known} == known
