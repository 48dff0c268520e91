"""What is kept of one customer: open journeys, issues, cases, alerts in force. Packed as MessagePack arrays.

No structure refers back to its owner, so none needs the cycle collector (gc=False).

All times are milliseconds of event time. Fields are only ever appended, each with a default, so that a row of an older
schema reads as one of the newer.
"""

from __future__ import annotations

import msgspec

from streamer.journeys.cells import Cell

# A contributing event: (time, offset, type, id).
Cause = tuple[int, int, str, str]


def remember(causes: list[Cause], cause: Cause, limit: int) -> None:
    """Keep a contributing event: the first ones, and always the latest."""
    if len(causes) < limit:
        causes.append(cause)
    else:
        causes[-1] = cause


class Instance(msgspec.Struct, array_like=True, gc=False):
    """A journey instance, open (`abandoned_at` 0) or abandoned and recoverable until `due`.

    due: when open, the abandonment deadline; when abandoned, the end of recoverability. deadline_ms and recoverable_ms are
    those of the definitions it started under.
    """

    journey: str
    ids: dict[str, str]
    started: int
    due: int
    deadline_ms: int
    recoverable_ms: int
    cell: Cell
    last: Cause
    abandoned_at: int = 0
    step: str = ""
    friction: int = 0
    switches: int = 0
    repeats: int = 0
    transfers: int = 0
    cold: int = 0
    value_minor: int = 0
    currency: str = ""
    causes: list[Cause] = []
    cause_count: int = 0
    ping_pongs: int = 0

    @property
    def key(self) -> str:
        """Identity in alerts: the strongest id, or the start time of a session without any."""
        for value in self.ids.values():
            return value
        return str(self.started)


class Issue(msgspec.Struct, array_like=True, gc=False):
    """What effort signals belong to. `contact_*` describe the contact going on."""

    key: str
    started: int
    last: int
    due: int
    cell: Cell
    reason: str = ""
    severity: str = ""
    group: str = ""
    resolved_at: int = 0
    contacts: int = 0
    repeats: int = 0
    switches: int = 0
    transfers: int = 0
    cold: int = 0
    effort_tenths: int = 0
    contact_started: int = 0
    contact_cell: Cell | None = None
    contact_transferred: bool = False
    causes: list[Cause] = []
    cause_count: int = 0
    recent_switches: list[int] = []


class Case(msgspec.Struct, array_like=True, gc=False):
    """The owners of a case: the last two distinct ones are enough to see A, B, A."""

    key: str
    started: int
    due: int
    cell: Cell
    owner: str
    previous: str = ""
    handoffs: int = 0
    ping_pongs: int = 0


class Episode(msgspec.Struct, array_like=True, gc=False):
    """An alert in force or cooling down. n: its number among the firings of this fingerprint; expires: 0 means never."""

    rule: str
    entity: str
    n: int
    firing: bool
    since: int
    cooldown_until: int
    expires: int
    signals: dict[str, float | int | bool | str] = {}
    causes: list[Cause] = []
    cause_count: int = 0
    journey: str = ""


class State(msgspec.Struct, array_like=True, gc=False):
    """The folded state of one customer. fired: the latest deadline that has fired."""

    instances: list[Instance] = []
    issues: dict[str, Issue] = {}
    cases: dict[str, Case] = {}
    resolved: dict[str, int] = {}
    repeats: list[int] = []
    episodes: dict[str, Episode] = {}
    fired: int = 0
    refused: bool = False
    pruned: int = 0

    @property
    def idle(self) -> bool:
        """True when nothing in it can matter any more."""
        return not (self.instances or self.issues or self.cases or self.resolved or self.repeats or self.episodes or self.refused)
