"""Customer care: issues with their contacts, waits, transfers, switches and repetitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.simulate.feedback import ask_about_contact
from streamer.simulate.life import HOUR, MINUTE
from streamer.simulate.scenario import QUEUES

if TYPE_CHECKING:
    from streamer.simulate.life import Life, Origin
    from streamer.simulate.people import Person

SELF_SERVICE_SHARE, NOTHING_FOUND_SHARE = 0.30, 0.10  # of issues: the help pages first; of searches there
TRANSFER_SHARE, TRANSFER_AGAIN_SHARE, COLD_SHARE = 0.09, 0.15, 0.12  # of contacts; of transfers
LOOP_TRANSFER_SHARE, LOOP_AGAIN_SHARE, LOOP_COLD_SHARE = 0.70, 0.55, 0.80  # the same in a transfer loop
UNRESOLVED_SHARE = 0.22  # of contacts: the customer gets in touch again about the same issue
SWITCH_SHARE = 0.5  # of those: on another channel
REPEAT_SHARE, REPEAT_AGAIN_SHARE = 0.13, 0.35  # of issues said to be resolved: a new one for the same reason; and of those
HUNG_UP_SHARE, HUNG_UP_SWITCH_SHARE, SLOW_REPEAT_SHARE = 0.60, 0.90, 0.60  # of contacts in a slow queue; of those; of issues that met it
WRITTEN_SHARE, OPENED_SHARE = 0.30, 0.55  # of contacts: confirmed by mail; of those mails
IVR_SHARE = 0.40  # of calls: the customer says who he is before somebody answers
SAID_AGAIN_SHARE = 0.06  # of pieces of information, without any transfer

CHANNELS: Final = (
    *("phone",) * 8, *("chat",) * 5, *("email",) * 3, *("bot",) * 3, "social", "store",
)  # fmt: skip
SWITCH_TO: Final = ("phone", "chat", "email")
REASONS: Final = (
    "delivery", "delivery", "delivery", "payment", "payment", "return", "return", "invoice", "account", "product", "product", "status",
)  # fmt: skip
TEAMS: Final = ("first-line", "billing", "logistics", "technical", "retention")
INFO: Final = ("problem", "account_number", "order_number", "address")
WRITTEN: Final = ("email", "chat", "bot", "social")


class Matter(NamedTuple):
    """What a customer gets in touch about. about: the part of `issue` every event of it has. journey: the part of `data` that says it."""

    who: Person
    about: str
    journey: str


def issue(life: Life, now_ms: int, who: Person, reason: str, *, journey: str = "", case_id: str = "", repetition: int = 0) -> None:
    """An issue: perhaps a look into the help pages, then contacts until it is said to be resolved; perhaps again later."""
    draw = life.draw
    if now_ms >= life.end_ms:
        return
    life.tally["issues"] += 1
    case = f',"case_id":"{case_id}"' if case_id else ""
    named = f'"issue_id":"{life.name("i")}","reason":"{reason}"{case}'
    matter = Matter(who, named, f',"journey":"{journey}"' if journey else "")
    time_ms = now_ms
    if draw() < SELF_SERVICE_SHARE:
        time_ms = _help(life, time_ms, matter)
    channel, slow = life.pick(CHANNELS), False
    for contact in range(4):
        resolved = draw() >= UNRESOLVED_SHARE or contact == 3
        time_ms, resolved, queued = _contact(life, time_ms, matter, channel, resolved=resolved)
        slow = slow or queued
        if resolved:
            break
        time_ms += int(5 * MINUTE + life.exponential(10 * MINUTE if queued else 50 * MINUTE))
        if draw() < (HUNG_UP_SWITCH_SHARE if queued else SWITCH_SHARE):
            channel = life.pick(tuple(c for c in SWITCH_TO if c != channel))
    share = SLOW_REPEAT_SHARE if slow and not repetition else REPEAT_AGAIN_SHARE if repetition else REPEAT_SHARE
    if draw() < share:
        life.tally["repeats"] += 1
        again_ms = time_ms + int(5 * MINUTE + life.exponential(20 * MINUTE) if slow else 10 * MINUTE + life.exponential(3 * HOUR))
        issue(life, again_ms, who, reason, journey=journey, repetition=repetition + 1)


def _help(life: Life, time_ms: int, matter: Matter) -> int:
    """A search in the help pages, which does not help enough; returns when the customer gives it up."""
    origin = life.origin(matter.who, "web", "prove", ',"platform":"desktop"')
    results = 0 if life.draw() < NOTHING_FOUND_SHARE else 1 + int(life.exponential(6))
    page = f'{matter.journey},"step":"help","touchpoint":"help","issue":{{{matter.about}}}'
    life.emit(origin, "knowledge.searched", time_ms, f'{page},"value_level":"functional","search":{{"results":{results}}}')
    if results and life.draw() < 0.5:
        life.emit(origin, "page.viewed", time_ms + 8_000, f'{matter.journey},"step":"help","touchpoint":"help-article"')
    return time_ms + int(MINUTE + life.exponential(4 * MINUTE))


def _contact(life: Life, now_ms: int, matter: Matter, channel: str, *, resolved: bool) -> tuple[int, bool, bool]:
    """One contact: (when it ended, whether it is said to be resolved, whether it met a slow queue)."""
    draw, who, region = life.draw, matter.who, {"region": matter.who.region}
    life.tally["contacts"] += 1
    origin = life.origin(who, channel, "prove", matter.journey)
    contact = f',"issue":{{{matter.about},"contact_id":"{life.name("t")}"'
    queued = life.struck("slow-queue", now_ms, region | {"channel": channel})
    life.emit(origin, "contact.started", now_ms, f'{contact}}},"actor":{{"team":"{TEAMS[0]}","initiator":"customer"}}')
    time_ms = now_ms
    if channel == "phone" and draw() < IVR_SHARE:
        time_ms += 8_000 + int(draw() * 15_000)
        life.emit(life.origin(who, "ivr", "prove", matter.journey), "auth.verified", time_ms, f"{contact}}}")
    wait_ms = _wait(life, channel, queued=queued)
    time_ms += wait_ms
    waited = f'"wait_seconds":{wait_ms // 1_000}' if channel in QUEUES else ""
    if queued and draw() < HUNG_UP_SHARE:
        life.tally["contacts_hung_up"] += 1
        said = f'{contact},"resolved":false}},"actor":{{"team":"{TEAMS[0]}"}},"handling":{{{waited}}}'
        life.emit(origin, "contact.ended", time_ms, said)
        return time_ms, False, True
    if channel == "email":
        life.emit(origin, "message.received", now_ms, f',"issue":{{{matter.about}}},"actor":{{"initiator":"customer"}}')
    time_ms = _tell(life, time_ms, origin, contact, life.pick(INFO))
    loop = life.struck("transfer-loop", now_ms, region)
    time_ms, team, cold = _transfers(life, time_ms, origin, contact, loop=loop)
    time_ms += int(MINUTE + life.exponential(3 * MINUTE))
    _handled(life, time_ms, origin, contact, channel, team, waited, cold=cold)
    time_ms += 5_000 + int(draw() * 20_000)
    said = "true" if resolved else "false"
    life.emit(origin, "contact.ended", time_ms, f'{contact},"resolved":{said}}},"actor":{{"team":"{team}"}}')
    if draw() < WRITTEN_SHARE:
        write(life, time_ms + MINUTE, who, f'{matter.journey},"issue":{{{matter.about}}}', "confirmation")
    if resolved:
        ask_about_contact(life, time_ms, who, channel, trouble=queued or cold)
    return time_ms, resolved, queued


def _wait(life: Life, channel: str, *, queued: bool) -> int:
    """How long it is until somebody attends to it: a mail waits for minutes, others for seconds, in a slow queue for long."""
    if queued:
        return int(15 * MINUTE + life.exponential(12 * MINUTE))
    return int(30_000 + life.exponential(3 * MINUTE) if channel == "email" else 5_000 + life.exponential(30_000))


def _tell(life: Life, time_ms: int, origin: Origin, contact: str, field: str) -> int:
    """The customer says who he is and what it is about; seldom twice. Returns when he is done."""
    if life.draw() < 0.5:
        life.emit(origin, "auth.verified", time_ms, f"{contact}}}")
        time_ms += 5_000 + int(life.exponential(15_000))
    while True:
        life.emit(origin, "info.captured", time_ms, f'{contact}}},"info":{{"field":"{field}"}}')
        time_ms += 10_000 + int(life.exponential(30_000))
        if life.draw() >= SAID_AGAIN_SHARE:
            return time_ms


def _transfers(life: Life, time_ms: int, origin: Origin, contact: str, *, loop: bool) -> tuple[int, str, bool]:
    """(when the last team took over, which one, whether any transfer was cold). In a loop every second one goes back."""
    draw, team, was_cold = life.draw, TEAMS[0], False
    transferred = draw() < (LOOP_TRANSFER_SHARE if loop else TRANSFER_SHARE)
    life.tally["contacts_transferred"] += transferred
    while transferred:
        to_team = TEAMS[0] if loop and team != TEAMS[0] else life.pick(tuple(t for t in TEAMS[1:] if t != team))
        cold = draw() < (LOOP_COLD_SHARE if loop else COLD_SHARE)
        kind, context = ("cold", "[]") if cold else ("warm", '["customer","issue"]')
        handoff = (
            f'"from_team":"{team}","to_team":"{to_team}","kind":"{kind}","context_passed":{context},"required_context":["customer","issue"]'
        )
        time_ms += int(MINUTE + life.exponential(2 * MINUTE))
        life.emit(origin, "contact.transferred", time_ms, f'{contact}}},"handoff":{{{handoff}}},"actor":{{"team":"{team}"}}')
        life.tally["transfers"] += 1
        time_ms += int(30_000 + life.exponential(2 * MINUTE))
        if cold:
            was_cold = True
            time_ms = _tell(life, time_ms, origin, contact, INFO[0])
        team, transferred = to_team, draw() < (LOOP_AGAIN_SHARE if loop else TRANSFER_AGAIN_SHARE)
    return time_ms, team, was_cold


def _handled(life: Life, time_ms: int, origin: Origin, contact: str, channel: str, team: str, waited: str, *, cold: bool) -> None:
    """How it was handled, and, of what has a queue, how long it waited there."""
    draw = life.draw
    viewed = draw() < (0.45 if cold else 0.92)
    how = f'"profile_viewed":{"true" if viewed else "false"},"personalised":{"true" if viewed and draw() < 0.7 else "false"}'
    if channel in WRITTEN and draw() < 0.5:
        how += f',"template_id":"template-{int(draw() * 12)}"'
    if channel == "bot":
        how += f',"bot_fallbacks":{int(life.exponential(0.75))}'
    if draw() < 0.02:
        how += ',"tag":"generic"'
    if waited:
        how += f",{waited}"
    life.emit(origin, "contact.handled", time_ms, f'{contact}}},"actor":{{"team":"{team}"}},"handling":{{{how}}}')


def write(life: Life, time_ms: int, who: Person, what: str, kind: str, *, human: bool = True, channel: str = "email") -> None:
    """A message of the company to a customer, who may read it. what: parts of `data`, begins with a comma."""
    origin = life.origin(who, channel, "prove")
    message = f'"kind":"{kind}","human":{"true" if human else "false"}'
    life.emit(origin, "message.sent", time_ms, f'{what},"actor":{{"initiator":"company"}},"message":{{{message}}}')
    if life.draw() < OPENED_SHARE:
        opened_ms = time_ms + int(MINUTE + life.exponential(30 * MINUTE))
        life.emit(origin, "message.opened", opened_ms, f'{what},"message":{{{message},"opened":true}}')
