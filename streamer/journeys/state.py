"""What is kept of one customer: open journeys, issues, cases, alerts in force. Packed as MessagePack arrays.

Plain classes, because the compiled copy reads their attributes directly, and those of a library's structures only by name. No
structure refers back to its owner, so none needs the cycle collector (acyclic).

All times are milliseconds of event time. In the packed form fields are only ever appended, each with a default, so that a row of an
older schema reads as one of the newer.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final, final

import msgspec
from mypy_extensions import mypyc_attr

from streamer.journeys.cells import Cell
from streamer.touchpoints.touchpoint import Touchpoint

# Later than any deadline: milliseconds of the year 9999 and more.
NEVER: Final = 1 << 60
DAY_MS: Final = 86_400_000
# A contributing event: (time, offset, type, id).
Cause = tuple[int, int, str, str]
# The cell of its packed form.
CellOf = Callable[[bytes], Cell]
Signals = dict[str, float | int | bool | str]

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], dict[str, Any]] = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_cause: Callable[[bytes], Cause] = msgspec.msgpack.Decoder(Cause).decode


def cause_of(event: Touchpoint) -> Cause:
    """The event as evidence."""
    return (event.time, event.offset, event.type, event.id)


def pack_cause(cause: Cause) -> bytes:
    """As a state keeps it: of the many that it may hold, few are ever told. A later one is greater."""
    return _encode(cause)


def unpack_cause(kept: bytes) -> Cause:
    """The inverse of `pack_cause`."""
    return _decode_cause(kept)


def packed_cause_of(event: Touchpoint) -> bytes:
    """The event as evidence to keep."""
    return _encode(cause_of(event))


def remember(causes: list[bytes], cause: bytes, limit: int) -> None:
    """Keep a contributing event: the first ones, and always the latest."""
    if len(causes) < limit:
        causes.append(cause)
    else:
        causes[-1] = cause


@final
@mypyc_attr(acyclic=True)
class Instance:
    """A journey instance, open (`abandoned_at` 0) or abandoned and recoverable until `due`.

    due: when open, the abandonment deadline; when abandoned, the end of recoverability. deadline_ms and recoverable_ms are
    those of the definitions it started under. number: tells it from every other of its journey, where a chapter needs that, else -1.
    levels: the levels of value it has seen, as bits. found_tenths: the effort that chapters have found in its events, in tenths of a point.
    """

    __slots__ = (
        "abandoned_at", "cause_count", "causes", "cell", "cold", "currency", "deadline_ms", "due", "found_tenths", "friction", "ids",
        "journey", "last", "levels", "number", "ping_pongs", "recoverable_ms", "repeats", "started", "step", "switches", "transfers",
        "value_minor",
    )  # fmt: skip

    def __init__(
        self, journey: str, ids: dict[str, str], started: int, due: int, deadline_ms: int, recoverable_ms: int, cell: Cell, last: Cause
    ) -> None:
        self.journey = journey
        self.ids = ids
        self.started = started
        self.due = due
        self.deadline_ms = deadline_ms
        self.recoverable_ms = recoverable_ms
        self.cell = cell
        self.last = last
        self.abandoned_at = 0
        self.step = ""
        self.friction = self.switches = self.repeats = self.transfers = self.cold = self.ping_pongs = 0
        self.value_minor = 0
        self.currency = ""
        self.causes: list[bytes] = []
        self.cause_count = 0
        self.number = -1
        self.levels = self.found_tenths = 0

    @property
    def key(self) -> str:
        """Identity in alerts: the strongest id, or the start time of a session without any."""
        for value in self.ids.values():
            return value
        return str(self.started)

    def packed(self) -> tuple[object, ...]:
        """As the values of a row, in its order."""
        return (
            self.journey, self.ids, self.started, self.due, self.deadline_ms, self.recoverable_ms, self.cell.packed, self.last,
            self.abandoned_at, self.step, self.friction, self.switches, self.repeats, self.transfers, self.cold, self.value_minor,
            self.currency, self.causes, self.cause_count, self.ping_pongs, self.number, self.levels, self.found_tenths,
        )  # fmt: skip


@final
@mypyc_attr(acyclic=True)
class Issue:
    """What effort signals belong to. `contact_*` describe the contact going on; `group` is the channel group of the last one.

    contact_ids: contacts that an event told to be about it, and when one last did.
    """

    __slots__ = (
        "cause_count", "causes", "cell", "cold", "contact_cell", "contact_ids", "contact_started", "contact_transferred", "contacts", "due",
        "effort_tenths", "group", "key", "last", "reason", "recent_switches", "repeats", "resolved_at", "severity", "started",
        "switches", "transfers",
    )  # fmt: skip

    def __init__(self, key: str, started: int, last: int, due: int, cell: Cell, reason: str) -> None:
        self.key = key
        self.started = started
        self.last = last
        self.due = due
        self.cell = cell
        self.reason = reason
        self.severity = self.group = ""
        self.resolved_at = 0
        self.contacts = self.repeats = self.switches = self.transfers = self.cold = self.effort_tenths = 0
        self.contact_started = 0
        self.contact_cell: Cell | None = None
        self.contact_transferred = False
        self.causes: list[bytes] = []
        self.cause_count = 0
        self.recent_switches: list[int] = []
        self.contact_ids: dict[str, int] = {}

    def packed(self) -> tuple[object, ...]:
        """As the values of a row, in its order."""
        contact_cell = None if self.contact_cell is None else self.contact_cell.packed
        return (
            self.key, self.started, self.last, self.due, self.cell.packed, self.reason, self.severity, self.group, self.resolved_at,
            self.contacts, self.repeats, self.switches, self.transfers, self.cold, self.effort_tenths, self.contact_started,
            contact_cell, self.contact_transferred, self.causes, self.cause_count, self.recent_switches, self.contact_ids,
        )  # fmt: skip


@final
@mypyc_attr(acyclic=True)
class Case:
    """The owners of a case: the last two distinct ones are enough to see A, B, A. causes, cause_count: its handoffs, if a rule looks
    at them.
    """

    __slots__ = ("cause_count", "causes", "cell", "due", "handoffs", "key", "owner", "ping_pongs", "previous", "started")

    def __init__(self, key: str, started: int, due: int, cell: Cell, owner: str) -> None:
        self.key = key
        self.started = started
        self.due = due
        self.cell = cell
        self.owner = owner
        self.previous = ""
        self.handoffs = self.ping_pongs = 0
        self.causes: list[bytes] = []
        self.cause_count = 0

    def packed(self) -> tuple[object, ...]:
        """As the values of a row, in its order."""
        return (
            self.key, self.started, self.due, self.cell.packed, self.owner, self.previous, self.handoffs, self.ping_pongs, self.causes,
            self.cause_count,
        )  # fmt: skip


@final
@mypyc_attr(acyclic=True)
class Episode:
    """An alert in force or cooling down. n: its number among the firings of this fingerprint; expires: 0 means never.

    waiting: its condition held when it could not fire, which is looked at again at `cooldown_until`. fired: the latest firings, of
    a rule that has a daily maximum.
    """

    __slots__ = (
        "cause_count", "causes", "cooldown_until", "entity", "expires", "fired", "firing", "journey", "n", "rule", "signals", "since",
        "waiting",
    )  # fmt: skip

    def __init__(self, rule: str, entity: str, n: int, journey: str) -> None:
        self.rule = rule
        self.entity = entity
        self.n = n
        self.firing = False
        self.since = self.cooldown_until = self.expires = 0
        self.signals: Signals = {}
        self.causes: list[bytes] = []
        self.cause_count = 0
        self.journey = journey
        self.waiting = False
        self.fired: list[int] = []

    @property
    def wakes_at(self) -> int:
        """When one that does not fire is to be looked at again, or can be forgotten."""
        return self.cooldown_until if self.waiting or not self.fired else max(self.cooldown_until, self.fired[-1] + DAY_MS)

    def packed(self) -> tuple[object, ...]:
        """As the values of a row, in its order."""
        return (
            self.rule, self.entity, self.n, self.firing, self.since, self.cooldown_until, self.expires, self.signals, self.causes,
            self.cause_count, self.journey, self.waiting, self.fired,
        )  # fmt: skip


@final
@mypyc_attr(acyclic=True)
class Kept:
    """What a chapter keeps of one customer. It is forgotten once `data` is empty.

    due: the next deadline, or NEVER. causes, cause_count: the events behind what rules see, of chapters that a rule looks at.
    """

    __slots__ = ("_data", "_packed", "cause_count", "causes", "due")

    def __init__(self) -> None:
        self.due = NEVER
        self._data: dict[str, Any] | None = {}
        self._packed = b""  # of a state that is unpacked, until somebody looks: an event concerns few chapters
        self.causes: list[bytes] = []
        self.cause_count = 0

    @property
    def data(self) -> dict[str, Any]:
        """Plain values as MessagePack has them (dict, list, str, bytes, int, bool, None); a cell is kept as its `packed` values."""
        if self._data is None:
            self._data = _decode(self._packed)
        return self._data

    def keep(self, data: bytes | dict[str, Any]) -> None:
        """Take over what is packed; before schema 6 it was not by itself."""
        if isinstance(data, bytes):
            self._data, self._packed = None, data
        else:
            self._data = data

    def packed(self) -> tuple[object, ...]:
        """As the values of a row, in its order."""
        return (self.due, self._packed if self._data is None else _encode(self._data), self.causes, self.cause_count)

    def add_cause(self, cause: bytes, limit: int) -> None:
        """Keep a contributing event."""
        self.cause_count += 1
        remember(self.causes, cause, limit)


@final
@mypyc_attr(acyclic=True)
class State:
    """The folded state of one customer. fired: the latest deadline that has fired; kept: by chapter; consent_at: when what was last told of
    consent to analytics was so, whenever that was heard.
    """

    __slots__ = (
        "cases", "consent_at", "episodes", "fired", "instances", "issues", "kept", "pruned", "refused", "repeats", "resolved",
    )  # fmt: skip

    def __init__(
        self,
        instances: list[Instance] | None = None,
        issues: dict[str, Issue] | None = None,
        cases: dict[str, Case] | None = None,
        resolved: dict[str, int] | None = None,
        repeats: list[int] | None = None,
        episodes: dict[str, Episode] | None = None,
        kept: dict[str, Kept] | None = None,
    ) -> None:
        self.instances = [] if instances is None else instances
        self.issues = {} if issues is None else issues
        self.cases = {} if cases is None else cases
        self.resolved = {} if resolved is None else resolved
        self.repeats = [] if repeats is None else repeats
        self.episodes = {} if episodes is None else episodes
        self.kept = {} if kept is None else kept
        self.fired = 0
        self.refused = False
        self.pruned = self.consent_at = 0

    @property
    def idle(self) -> bool:
        """True when nothing in it can matter any more."""
        return not (
            self.instances or self.issues or self.cases or self.resolved or self.repeats or self.episodes or self.kept or self.refused
        )

    def packed(self) -> tuple[object, ...]:
        """As the values of a row, in its order."""
        return (
            [one.packed() for one in self.instances], {key: one.packed() for key, one in self.issues.items()},
            {key: one.packed() for key, one in self.cases.items()}, self.resolved, self.repeats,
            {key: one.packed() for key, one in self.episodes.items()}, self.fired, self.refused, self.pruned,
            {key: one.packed() for key, one in self.kept.items()}, self.consent_at,
        )  # fmt: skip


# The names of what `packed` gives, in its order.
FIELDS: Final[dict[type, tuple[str, ...]]] = {
    Instance: (
        "journey", "ids", "started", "due", "deadline_ms", "recoverable_ms", "cell", "last", "abandoned_at", "step", "friction",
        "switches", "repeats", "transfers", "cold", "value_minor", "currency", "causes", "cause_count", "ping_pongs",
        "number", "levels", "found_tenths",
    ),
    Issue: (
        "key", "started", "last", "due", "cell", "reason", "severity", "group", "resolved_at", "contacts", "repeats", "switches",
        "transfers", "cold", "effort_tenths", "contact_started", "contact_cell", "contact_transferred", "causes", "cause_count",
        "recent_switches", "contact_ids",
    ),
    Case: ("key", "started", "due", "cell", "owner", "previous", "handoffs", "ping_pongs", "causes", "cause_count"),
    Episode: (
        "rule", "entity", "n", "firing", "since", "cooldown_until", "expires", "signals", "causes", "cause_count", "journey",
        "waiting", "fired",
    ),
    Kept: ("due", "data", "causes", "cause_count"),
    State: ("instances", "issues", "cases", "resolved", "repeats", "episodes", "fired", "refused", "pruned", "kept", "consent_at"),
}  # fmt: skip

# The values of a packed structure, perhaps of an older schema, which has fewer. A list, as they are decoded: the compiled copy takes a
# value out of one at a tenth of what it costs to ask a sequence for it. Nobody else has it, so what it holds is taken over, not copied.
Row = list[Any]

_INSTANCE_ADDED: Final[Row] = [0, "", 0, 0, 0, 0, 0, 0, "", [], 0, 0, -1, 0, 0]
_ISSUE_ADDED: Final[Row] = ["", "", "", 0, 0, 0, 0, 0, 0, 0, 0, None, False, [], 0, [], {}]
_CASE_ADDED: Final[Row] = ["", 0, 0, [], 0]
_EPISODE_ADDED: Final[Row] = [{}, [], 0, "", False, []]
_STATE_ADDED: Final[Row] = [[], {}, {}, {}, [], {}, 0, False, 0, {}, 0]


def state_of(packed: Row, cell_of: CellOf) -> State:
    """The inverse of `State.packed`; takes over what the packed form holds."""
    row = _whole(packed, 0, _STATE_ADDED)
    # Their values are replaced where they are: to look at one who was packed costs mostly the making of objects.
    issues: dict[str, Any] = row[1]
    cases: dict[str, Any] = row[2]
    episodes: dict[str, Any] = row[5]
    kept: dict[str, Any] = row[9]
    for key, one in issues.items():
        issues[key] = _issue_of(one, cell_of)
    for key, one in cases.items():
        cases[key] = _case_of(one, cell_of)
    for key, one in episodes.items():
        episodes[key] = _episode_of(one)
    for key, one in kept.items():
        kept[key] = _kept_of(one)
    state = State([_instance_of(one, cell_of) for one in row[0]], issues, cases, row[3], row[4], episodes, kept)
    state.fired, state.refused, state.pruned, state.consent_at = row[6], row[7], row[8], row[10]
    return state


def _whole(row: Row, required: int, added: Row) -> Row:
    """The row with the defaults of what an older schema had not."""
    missing = required + len(added) - len(row)
    return [*row, *deepcopy(added[len(added) - missing :])] if missing > 0 else row


def _causes_of(rows: list[Any]) -> list[bytes]:
    """Packed ones; before schema 6 they were arrays."""
    if rows and not isinstance(rows[0], bytes):
        return [_encode(one) for one in rows]
    return rows


def _instance_of(packed: Row, cell_of: CellOf) -> Instance:
    row = _whole(packed, 8, _INSTANCE_ADDED)
    time, offset, type_, id_ = row[7]
    one = Instance(row[0], row[1], row[2], row[3], row[4], row[5], cell_of(row[6]), (time, offset, type_, id_))
    one.abandoned_at, one.step, one.friction, one.switches, one.repeats = row[8], row[9], row[10], row[11], row[12]
    one.transfers, one.cold, one.value_minor, one.currency = row[13], row[14], row[15], row[16]
    one.causes, one.cause_count, one.ping_pongs, one.number, one.levels = _causes_of(row[17]), row[18], row[19], row[20], row[21]
    one.found_tenths = row[22]
    return one


def _issue_of(packed: Row, cell_of: CellOf) -> Issue:
    row = _whole(packed, 5, _ISSUE_ADDED)
    one = Issue(row[0], row[1], row[2], row[3], cell_of(row[4]), row[5])
    one.severity, one.group, one.resolved_at, one.contacts, one.repeats = row[6], row[7], row[8], row[9], row[10]
    one.switches, one.transfers, one.cold, one.effort_tenths, one.contact_started = row[11], row[12], row[13], row[14], row[15]
    one.contact_cell = None if row[16] is None else cell_of(row[16])
    one.contact_transferred, one.causes, one.cause_count = row[17], _causes_of(row[18]), row[19]
    one.recent_switches, one.contact_ids = row[20], row[21]
    return one


def _case_of(packed: Row, cell_of: CellOf) -> Case:
    row = _whole(packed, 5, _CASE_ADDED)
    one = Case(row[0], row[1], row[2], cell_of(row[3]), row[4])
    one.previous, one.handoffs, one.ping_pongs, one.causes, one.cause_count = row[5], row[6], row[7], row[8], row[9]
    return one


def _episode_of(packed: Row) -> Episode:
    row = _whole(packed, 7, _EPISODE_ADDED)
    one = Episode(row[0], row[1], row[2], row[10])
    one.firing, one.since, one.cooldown_until, one.expires = row[3], row[4], row[5], row[6]
    one.signals, one.causes, one.cause_count = row[7], _causes_of(row[8]), row[9]
    one.waiting, one.fired = row[11], row[12]
    return one


def _kept_of(packed: Row) -> Kept:
    one = Kept()
    one.keep(packed[1])
    one.due, one.causes, one.cause_count = packed[0], _causes_of(packed[2]), packed[3]
    return one
