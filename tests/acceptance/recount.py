"""The counts of the two public logs straight from their XML, with the standard library and nothing of the product.

BPI Challenge 2013, incidents (Ward Steeman, Ghent University, doi:10.4121/uuid:500573e6-accc-4b0c-9576-aa5468b10cee) and the help
desk log (Mirko Polato, University of Padua, doi:10.4121/uuid:0c60edf1-6f83-4e75-9367-4c63b3e9d5bb).
"""

from __future__ import annotations

import gzip
import os
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

SHARED = Path(os.environ.get("STREAMER_SHARED") or Path(__file__).parents[3] / "shared")
INCIDENTS, HELPDESK = SHARED / "data" / "bpic2013_incidents.xes.gz", SHARED / "data" / "helpdesk.xes.gz"


def require(path: Path) -> Path:
    """The path of a data file; the test is skipped where it is absent."""
    if not path.is_file():
        pytest.skip(f"the real input is absent: {path} (STREAMER_SHARED names the folder that has data/)")
    return path


class Event(NamedTuple):
    """When it happened, its place in the file, its attributes."""

    time: datetime
    place: int
    attributes: dict[str, str]


def traces(path: Path) -> dict[str, list[Event]]:
    """The events of each case in the order of time, then of the file."""
    found: dict[str, list[Event]] = {}
    place = 0
    with gzip.open(path) as file:
        for _, element in ET.iterparse(file):  # noqa: S314  a known file
            if not element.tag.endswith("}trace"):
                continue
            [case] = [child.attrib["value"] for child in element if child.get("key") == "concept:name"]
            events = []
            for child in element:
                if child.tag.endswith("}event"):
                    place += 1
                    attributes = {a.attrib["key"]: a.attrib["value"] for a in child}
                    events.append(Event(datetime.fromisoformat(attributes["time:timestamp"]), place, attributes))
            found[case] = sorted(events, key=lambda event: (event.time, event.place))
            element.clear()
    return found


class Handoffs(NamedTuple):
    """Changes of owner, cases with at least one, cases with an owner sequence A, B, A, and cases with at least two such sequences."""

    handoffs: int
    cases: int
    ping_pong: int
    bounced_twice: int


def incident_handoffs(path: Path) -> Handoffs:
    """By `organization involved` over consecutive distinct owners of each case."""
    handoffs = cases = ping_pong = bounced_twice = 0
    for events in traces(path).values():
        owners: list[str] = []
        for event in events:
            owner = event.attributes["organization involved"]
            if not owners or owners[-1] != owner:
                owners.append(owner)
        handoffs += len(owners) - 1
        cases += len(owners) > 1
        bounces = sum(owners[i] == owners[i + 2] for i in range(len(owners) - 2))
        ping_pong += bounces >= 1
        bounced_twice += bounces >= 2
    return Handoffs(handoffs, cases, ping_pong, bounced_twice)


class Contacts(NamedTuple):
    """First events of cases, and those of them that repeat another case."""

    contacts: int
    repeated: int


def helpdesk_contacts(path: Path) -> Contacts:
    """Repeated: the first event is 0 to 7 days after a `Resolve ticket` of another case of the same (customer, product).

    Customer and product are each taken from the event itself: a case may change them on its way.
    """
    cases = traces(path)
    resolved = defaultdict(list)
    for case, events in cases.items():
        for event in events:
            if event.attributes["concept:name"] == "Resolve ticket":
                resolved[event.attributes["customer"], event.attributes["product"]].append((case, event.time))
    repeated = 0
    for case, (first, *_) in cases.items():
        others = resolved[first.attributes["customer"], first.attributes["product"]]
        repeated += any(other != case and timedelta(0) <= first.time - time <= timedelta(days=7) for other, time in others)
    return Contacts(len(cases), repeated)
