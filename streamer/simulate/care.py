"""Customer care: issues with their contacts, transfers, switches and repetitions, and cases that change owners."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from streamer.simulate.life import HOUR, MINUTE, SOURCES

if TYPE_CHECKING:
    from streamer.simulate.life import Life

SELF_SERVICE_SHARE = 0.3  # of issues: the help pages first
WRITTEN_SHARE = 0.3  # of contacts: confirmed by mail
TRANSFER_SHARE = 0.12  # of contacts
UNRESOLVED_SHARE = 0.28  # of contacts: the customer gets in touch again about the same issue
SWITCH_SHARE = 0.5  # of those: on another channel
REPEAT_SHARE, REPEAT_AGAIN_SHARE = 0.15, 0.35  # of issues said to be resolved: a new one for the same reason; and of those
HANDED_OFF_SHARE, PING_PONG_SHARE = 0.30, 0.08  # of cases; ping-pong: 11.7 % in a real incident log, by organisation line

CHANNELS: Final = ("phone", "phone", "phone", "chat", "chat", "email", "bot")
REASONS: Final = ("delivery", "delivery", "payment", "return", "invoice", "account", "product", "status")
TEAMS: Final = ("first-line", "billing", "logistics", "technical", "retention")


def issue(life: Life, now_ms: int, customer: int, reason: str, repetition: int = 0) -> None:
    """An issue: perhaps a look into the help pages, then contacts until it is said to be resolved; perhaps again later."""
    draw = life.draw
    life.tally["issues"] += 1
    about = f'"issue_id":"{life.name("i")}","reason":"{reason}"'
    time_ms = now_ms
    if draw() < SELF_SERVICE_SHARE:
        key, who = life.who(customer, "web", "desktop")
        life.emit(key, SOURCES["web"], "knowledge.searched", time_ms, who, f',"issue":{{{about}}}')
        time_ms += int(MINUTE + life.exponential(4 * MINUTE))
    channel = life.pick(CHANNELS)
    for contact in range(4):
        resolved = draw() >= UNRESOLVED_SHARE or contact == 3
        time_ms = _contact(life, time_ms, customer, channel, about, resolved=resolved)
        if resolved:
            break
        time_ms += int(5 * MINUTE + life.exponential(50 * MINUTE))
        if draw() < SWITCH_SHARE:
            channel = life.pick(tuple(c for c in ("phone", "chat", "email") if c != channel))
    if draw() < (REPEAT_AGAIN_SHARE if repetition else REPEAT_SHARE):
        life.tally["repeats"] += 1
        issue(life, time_ms + int(10 * MINUTE + life.exponential(3 * HOUR)), customer, reason, repetition + 1)


def _contact(life: Life, time_ms: int, customer: int, channel: str, about: str, *, resolved: bool) -> int:
    """One contact; returns when it ended."""
    draw, source = life.draw, SOURCES[channel]
    life.tally["contacts"] += 1
    key, who = life.who(customer, channel)
    contact = f',"issue":{{{about},"contact_id":"{life.name("t")}"'
    team = TEAMS[0]
    life.emit(key, source, "contact.started", time_ms, who, f'{contact}}},"actor":{{"team":"{team}","initiator":"customer"}}')
    time_ms += int(MINUTE + life.exponential(4 * MINUTE))
    transferred = draw() < TRANSFER_SHARE
    life.tally["contacts_transferred"] += transferred
    while transferred:
        to_team = life.pick(TEAMS[1:])
        kind, context = ("warm", '["customer","issue"]') if draw() < 0.6 else ("cold", "[]")
        handoff = f'"handoff":{{"from_team":"{team}","to_team":"{to_team}","kind":"{kind}","context_passed":{context}}}'
        life.emit(key, source, "contact.transferred", time_ms, who, f'{contact}}},{handoff},"actor":{{"team":"{team}"}}')
        time_ms += int(MINUTE + life.exponential(4 * MINUTE))
        team, transferred = to_team, draw() < 0.2
    said = "true" if resolved else "false"
    life.emit(key, source, "contact.ended", time_ms, who, f'{contact},"resolved":{said}}},"actor":{{"team":"{team}"}}')
    if draw() < WRITTEN_SHARE:
        key, who = life.who(customer, "email")
        written = f',"issue":{{{about}}},"actor":{{"initiator":"company"}}'
        life.emit(key, SOURCES["email"], "message.sent", time_ms + MINUTE, who, written)
    return time_ms


def case(life: Life, now_ms: int, customer: int) -> None:
    """A case and its owners."""
    draw, source = life.draw, SOURCES["other"]
    key, who = life.who(customer, "other")
    about = f',"issue":{{"case_id":"{life.name("q")}","reason":"{life.pick(REASONS)}"}}'
    chance, owners = draw(), [TEAMS[0]]
    if chance < PING_PONG_SHARE:
        owners += [life.pick(TEAMS[1:]), TEAMS[0]]
        life.tally["ping_pongs"] += 1
    elif chance < PING_PONG_SHARE + HANDED_OFF_SHARE:
        owners += TEAMS[1:][int(draw() * 3) :][: 1 + int(draw() * 2)]
    life.tally["cases"] += 1
    life.tally["cases_handed_off"] += len(owners) > 1
    life.tally["handoffs"] += len(owners) - 1
    time_ms = now_ms
    life.emit(key, source, "case.opened", time_ms, who, f'{about},"actor":{{"owner":"{owners[0]}"}}')
    for previous, owner in pairwise(owners):
        time_ms += int(5 * MINUTE + life.exponential(25 * MINUTE))
        if draw() < 0.5:
            handoff = f'{about},"handoff":{{"from_team":"{previous}","to_team":"{owner}"}}'
            life.emit(key, source, "handoff.initiated", time_ms, who, handoff)
            time_ms += int(10_000 + life.exponential(3 * MINUTE))
            life.emit(key, source, "handoff.accepted", time_ms, who, handoff)
        else:
            life.emit(key, source, "case.updated", time_ms, who, f'{about},"actor":{{"owner":"{owner}"}}')
    for _ in range(int(life.exponential(1.5))):
        time_ms += int(5 * MINUTE + life.exponential(20 * MINUTE))
        life.emit(key, source, "case.updated", time_ms, who, f'{about},"actor":{{"owner":"{owners[-1]}"}}')
    if draw() < 0.85:
        time_ms += int(5 * MINUTE + life.exponential(30 * MINUTE))
        life.emit(key, source, "case.resolved", time_ms, who, f'{about},"actor":{{"owner":"{owners[-1]}"}}')
