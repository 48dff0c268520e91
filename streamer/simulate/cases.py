"""Cases: their owners, handoffs to other teams and to partners, messages to the customer, and what comes when nobody writes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.alerts.times import rfc3339
from streamer.simulate.care import REASONS, TEAMS, issue, write
from streamer.simulate.feedback import ask_about_case
from streamer.simulate.life import HOUR, MINUTE
from streamer.simulate.people import person

if TYPE_CHECKING:
    from streamer.simulate.life import Life, Origin
    from streamer.simulate.people import Person

HANDED_OFF_SHARE, PING_PONG_SHARE = 0.30, 0.08  # of cases; ping-pong: 11.7 % in a real incident log, by organisation line
LOOP_PING_PONG_SHARE = 0.65  # the same in a transfer loop
SAID_SHARE, REJECTED_SHARE, INCOMPLETE_SHARE = 0.60, 0.03, 0.05  # of handoffs: announced as such; of those
LOOP_INCOMPLETE_SHARE = 0.80  # the same in a transfer loop, and cold
PARTNER_SHARE, FIELD_SHARE = 0.08, 0.10  # of cases: handed to a partner; with a visit at home
HIGH_SHARE = 0.12  # of cases: severity
RESOLVED_SHARE, CLOSED_SHARE, REOPENED_SHARE = 0.88, 0.70, 0.04  # of cases; of those resolved
DUE_MS: Final = 2 * HOUR  # from the opening, as promised with it
WRITE_EVERY_MS: Final = 50 * MINUTE  # to the customer, while a case is open
ASK_SHARE, SILENT_ASK_SHARE = 0.06, 0.65  # of cases: how is it going? The same when nobody writes

CONTEXT: Final = ("customer", "issue", "history")


class Case(NamedTuple):
    """One case. about: what every event of it has."""

    who: Person
    case_id: str
    about: str
    origin: Origin


def case(life: Life, now_ms: int, customer: int) -> None:
    """A case and its owners."""
    draw, who = life.draw, person(customer)
    case_id = life.name("q")
    severity = "high" if draw() < HIGH_SHARE else "normal"
    about = f',"journey":"service_case","issue":{{"case_id":"{case_id}","reason":"{life.pick(REASONS)}","severity":"{severity}"}}'
    one = Case(who, case_id, about, life.origin(who, "other", "prove"))
    silent = life.struck("silent-cases", now_ms, {"region": who.region})
    loop = life.struck("transfer-loop", now_ms, {"region": who.region})
    owners = _owners(life, ping_pong=LOOP_PING_PONG_SHARE if loop else PING_PONG_SHARE)
    life.tally["cases"] += 1
    life.tally["cases_silent"] += silent
    opened = f'{about[:-1]},"due_at":"{rfc3339(now_ms + DUE_MS)}"}},"actor":{{"owner":"{owners[0]}"}}'
    life.emit(one.origin, "case.opened", now_ms, opened)
    time_ms = now_ms
    for previous, owner in pairwise(owners):
        time_ms = _hand_over(life, time_ms + int(5 * MINUTE + life.exponential(25 * MINUTE)), one, previous, owner, loop=loop)
    for _ in range(int(life.exponential(1.2))):
        time_ms += int(5 * MINUTE + life.exponential(20 * MINUTE))
        life.emit(one.origin, "case.updated", time_ms, f'{about},"actor":{{"owner":"{owners[-1]}"}}')
    if draw() < FIELD_SHARE:
        time_ms += int(30 * MINUTE + life.exponential(HOUR))
        life.emit(life.origin(who, "field", "prove"), "case.updated", time_ms, f'{about},"actor":{{"owner":"{owners[-1]}"}}')
    time_ms += int(5 * MINUTE + life.exponential(30 * MINUTE) + (life.exponential(6 * HOUR) if silent else 0))
    if not silent:
        for written_ms in range(now_ms + 10 * MINUTE, time_ms, WRITE_EVERY_MS):
            write(life, written_ms, who, about, "information")
    asks = draw() < (SILENT_ASK_SHARE if silent else ASK_SHARE)
    asked_ms = now_ms + int(90 * MINUTE + life.exponential(HOUR)) if asks else 0
    if draw() < RESOLVED_SHARE:
        _resolve(life, time_ms, one, owners[-1], trouble=silent or len(owners) > 2)
    if asks:  # last: an incident at that time, which takes more or less chance, is to change nothing of what came before
        issue(life, asked_ms, who, "status", journey="service_case", case_id=case_id)


def _owners(life: Life, *, ping_pong: float) -> list[str]:
    """Who owns the case, one after the other."""
    chance, owners = life.draw(), [TEAMS[0]]
    if chance < ping_pong:
        owners += [life.pick(TEAMS[1:]), TEAMS[0]]
        life.tally["ping_pongs"] += 1
    elif chance < ping_pong + HANDED_OFF_SHARE:
        owners += TEAMS[1:][int(life.draw() * 3) :][: 1 + int(life.draw() * 2)]
    life.tally["cases_handed_off"] += len(owners) > 1
    life.tally["handoffs"] += len(owners) - 1
    return owners


def _hand_over(life: Life, time_ms: int, one: Case, previous: str, owner: str, *, loop: bool) -> int:
    """One change of owner; returns when it was done."""
    draw, origin = life.draw, one.origin
    if draw() >= SAID_SHARE:
        life.emit(origin, "case.updated", time_ms, f'{one.about},"actor":{{"owner":"{owner}"}}')
        return time_ms
    incomplete = draw() < (LOOP_INCOMPLETE_SHARE if loop else INCOMPLETE_SHARE)
    passed = CONTEXT[:2] if incomplete else CONTEXT
    kind = "cold" if loop and incomplete else "escalation" if owner == "retention" else "warm"
    partner = ',"partner":"repair-works"' if owner == "technical" and draw() < PARTNER_SHARE * 4 else ""
    needs, gets = (",".join(f'"{name}"' for name in names) for names in (CONTEXT, passed))
    teams = f'"from_team":"{previous}","to_team":"{owner}"{partner},"kind":"{kind}"'
    handoff = f'{one.about},"handoff":{{{teams},"context_passed":[{gets}],"required_context":[{needs}]}}'
    life.emit(origin, "handoff.initiated", time_ms, handoff)
    time_ms += int(10_000 + life.exponential(3 * MINUTE))
    if draw() < REJECTED_SHARE:
        life.emit(origin, "handoff.rejected", time_ms, handoff)
        time_ms += int(MINUTE + life.exponential(5 * MINUTE))
        life.emit(origin, "handoff.initiated", time_ms, handoff)
        time_ms += int(10_000 + life.exponential(3 * MINUTE))
    life.emit(life.origin(one.who, "partner", "prove") if partner else origin, "handoff.accepted", time_ms, handoff)
    return time_ms


def _resolve(life: Life, time_ms: int, one: Case, owner: str, *, trouble: bool) -> None:
    """Resolved, perhaps reopened and resolved again, mostly closed, and asked about."""
    draw, origin, what = life.draw, one.origin, f'{one.about},"actor":{{"owner":"{owner}"}}'
    life.emit(origin, "case.resolved", time_ms, what)
    if draw() < REOPENED_SHARE:
        time_ms += int(20 * MINUTE + life.exponential(HOUR))
        life.emit(origin, "case.reopened", time_ms, what)
        time_ms += int(10 * MINUTE + life.exponential(30 * MINUTE))
        life.emit(origin, "case.resolved", time_ms, what)
        trouble = True
    if draw() < CLOSED_SHARE:
        life.emit(origin, "case.closed", time_ms + int(10 * MINUTE + life.exponential(HOUR)), what)
    ask_about_case(life, time_ms, one.who, one.case_id, trouble=trouble)
