"""What is about the relationship as a whole: contracts, referrals, wallets, goals, applications, deals, messages, and what a customer says
about himself and his data.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from streamer.alerts.times import rfc3339
from streamer.simulate.care import write
from streamer.simulate.feedback import ask_about_us
from streamer.simulate.life import HOUR, MINUTE
from streamer.simulate.people import CONSENT_REFUSED_EVERY, person
from streamer.simulate.shopping import buy_in_store
from streamer.simulate.wares import CATEGORIES, money

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.simulate.life import Life

RENEWED_SHARE, CONTRACT_CANCELLED_SHARE = 0.84, 0.08  # of contracts due; the others lapse
CONVERTED_SHARE = 0.20  # of referrals
REACHED_SHARE = 0.55  # of goals
WON_SHARE, LOST_SHARE = 0.35, 0.50  # of opportunities; the others stay open
ANSWERED_SHARE = 0.15  # of the company's messages
APPLICATIONS: Final = {  # journey -> its steps, the share that completes it, the share that fails; the others leave
    "onboarding": (("profile", "verification", "first-order"), 0.70, 0.05),
    "loan_application": (("application", "documents", "decision"), 0.58, 0.17),
}


def contract(life: Life, now_ms: int, customer: int) -> None:
    """A contract falls due: it is renewed, cancelled, or nothing happens."""
    draw = life.draw
    origin = life.origin(person(customer), "mail", "anticipate")
    due_ms = now_ms + int(HOUR + life.exponential(8 * HOUR))
    what = f',"contract":{{"contract_id":"{life.name("n")}","due_at":"{rfc3339(due_ms)}"}}'
    life.emit(origin, "contract.due", now_ms, what)
    decided_ms = now_ms + int(10 * MINUTE + (0.05 + 0.9 * draw()) * (due_ms - now_ms))
    chance = draw()
    if chance < RENEWED_SHARE:
        life.emit(origin, "contract.renewed", decided_ms, what)
    elif chance < RENEWED_SHARE + CONTRACT_CANCELLED_SHARE:
        life.emit(origin, "contract.cancelled", decided_ms, what)


def referral(life: Life, now_ms: int, customer: int) -> None:
    """A customer recommends us; now and then somebody comes."""
    origin = life.origin(person(customer), life.pick(("email", "social", "app")), "anticipate")
    what = ',"value_level":"personal"'
    life.emit(origin, "referral.sent", now_ms, what)
    if life.draw() < CONVERTED_SHARE:
        life.emit(origin, "referral.converted", now_ms + int(10 * MINUTE + life.exponential(3 * HOUR)), what)


def wallet(life: Life, now_ms: int, customer: int) -> None:
    """What a customer says to spend, with us and with others."""
    own, others = 2_000 + int(life.exponential(15_000)), int(life.exponential(22_000))
    spend = f',"commerce":{{"currency":"EUR"}},"wallet":{{"own":"{money(own)}","competitors":"{money(others)}"}}'
    life.emit(life.origin(person(customer), "web", "anticipate"), "wallet.declared", now_ms, spend)


def goal(life: Life, now_ms: int, customer: int) -> None:
    """Something a customer wants to reach with our help."""
    origin = life.origin(person(customer), "app", "anticipate", ',"platform":"ios"')
    what = f',"product_category":"{life.pick(CATEGORIES)}","value_level":"catalytic","journey":"goal","journey_id":"{life.name("g")}"'
    life.emit(origin, "goal.set", now_ms, what)
    time_ms = now_ms
    for _ in range(int(life.exponential(2))):
        time_ms += int(10 * MINUTE + life.exponential(HOUR))
        life.emit(origin, "goal.progressed", time_ms, what)
    if life.draw() < REACHED_SHARE:
        life.emit(origin, "goal.reached", time_ms + int(10 * MINUTE + life.exponential(HOUR)), what)


def application(life: Life, now_ms: int, customer: int) -> None:
    """Onboarding, or a loan: step by step, to the end or not."""
    draw = life.draw
    journey = "onboarding" if draw() < 0.6 else "loan_application"
    steps, completes, fails = APPLICATIONS[journey]
    more = f',"platform":"{life.pick(("desktop", "ios", "android"))}","journey":"{journey}","journey_id":"{life.name("j")}"'
    origin = life.origin(person(customer), "web", "affirm" if journey == "onboarding" else "consider", more)
    chance = draw()
    leaves = chance >= completes + fails
    life.emit(origin, "journey.started", now_ms, f',"step":"{steps[0]}","value_level":"catalytic"')
    time_ms = now_ms
    for step in steps[: 1 + int(draw() * len(steps))] if leaves else steps:
        life.emit(origin, "journey.step_entered", time_ms, f',"step":"{step}"')
        time_ms += int(MINUTE + life.exponential(12 * MINUTE))
        if step == "documents" and draw() < 0.4:
            write(life, time_ms, person(customer), f',"journey":"{journey}"', "document_request", human=False)
            time_ms += int(10 * MINUTE + life.exponential(HOUR))
    if not leaves:
        kind, outcome = ("journey.completed", "success") if chance < completes else ("journey.failed", "failure")
        life.emit(origin, kind, time_ms, f',"step":"{steps[-1]}","outcome":"{outcome}"')


def opportunity(life: Life, now_ms: int, customer: int) -> None:
    """A deal with a company, closed by a sales partner."""
    origin = life.origin(person(customer), "partner", "consider", f',"journey":"deal","journey_id":"{life.name("d")}"')
    cents = 50_000 + int(life.exponential(300_000))
    amount = f',"commerce":{{"currency":"EUR","revenue":"{money(cents)}"'
    life.emit(origin, "opportunity.created", now_ms, amount + "}")
    decided_ms = now_ms + int(30 * MINUTE + life.exponential(4 * HOUR))
    chance = life.draw()
    if chance < WON_SHARE:
        category = life.pick(CATEGORIES)
        bought = (
            f'"category":"{category}","tier":"plus","price":"{money(cents)}","list_price":"{money(cents)}","quantity":1,"added_via":"sales"'
        )
        order = f'{amount},"order_id":"{life.name("o")}","acquisition_source":"partner","lines":[{{{bought}}}]}}'
        life.emit(origin, "order.completed", decided_ms, f'{order},"product_category":"{category}"')
    elif chance < WON_SHARE + LOST_SHARE:
        life.emit(origin, "opportunity.lost", decided_ms, amount + "}")


def outreach(life: Life, now_ms: int, customer: int) -> None:
    """The company writes or calls of its own accord; some answer."""
    who, human = person(customer), life.draw() < 0.5
    kind, channel = life.pick(("information", "information", "offer", "check_in")), life.pick(("email", "email", "sms", "phone"))
    write(life, now_ms, who, ',"value_level":"personal"', kind, human=human or channel == "phone", channel=channel)
    if life.draw() < ANSWERED_SHARE:
        answer_ms = now_ms + int(20 * MINUTE + life.exponential(HOUR))
        life.emit(life.origin(who, "email", "anticipate"), "message.received", answer_ms, ',"actor":{"initiator":"customer"}')


def wish(life: Life, now_ms: int, customer: int) -> None:
    """What a customer wants, asked for once and compared with what he has."""
    level = ("functional", "personal", "catalytic")[int(life.draw() * 3)]
    ideal, received = life.pick(("plus", "premium")), life.pick(("plus", "premium", "premium"))
    told = f'"attribute":"tier","ideal":"{ideal}","received":"{received}","weight":"0.5"'
    what = f',"product_category":"{life.pick(CATEGORIES)}","value_level":"{level}","preference":{{{told}}}'
    life.emit(life.origin(person(customer), "web", "demonstrate"), "preference.stated", now_ms, what)


def survey(life: Life, now_ms: int, customer: int) -> None:
    """A survey about the relationship."""
    ask_about_us(life, now_ms, person(customer))


def record(life: Life, now_ms: int, customer: int) -> None:
    """What is known of a customer changes: his data, his consent; seldom he wants to be forgotten, or something was told by mistake."""
    chance, who = life.draw(), person(customer)
    origin = life.origin(who, "web", "prove")
    if chance < 0.70:
        life.emit(origin, "customer.updated", now_ms)
    elif chance < 0.90:
        asked = ',"consent":{"categories":{"analytics":true,"marketing":false},"policy_version":"2026-1"}'
        life.emit(origin, "consent.changed", now_ms, "" if customer % CONSENT_REFUSED_EVERY == 0 else asked)
    elif chance < 0.93:
        life.emit(origin, "event.voided", now_ms, f',"props":{{"voided":"{life.name("e")}"}}')
    elif chance < 0.96:
        told = ',"initiative":{"initiative_id":"call-back","arm":"treated","cost":"4.00"}'
        life.emit(life.origin(who, "other", "prove"), "initiative.started", now_ms, told)
    else:
        life.emit(origin, "privacy.erase", now_ms)


# What happens in one relationship episode of a hundred.
_SHARES: Final[tuple[tuple[int, Callable[[Life, int, int], None]], ...]] = (
    (30, survey), (13, outreach), (12, application), (9, buy_in_store), (8, contract), (5, opportunity), (5, referral), (5, goal),
    (5, wallet), (4, wish), (4, record),
)  # fmt: skip
_UP_TO: Final = tuple(zip(accumulate(share for share, _ in _SHARES), (what for _, what in _SHARES), strict=True))


def relationship(life: Life, now_ms: int, customer: int) -> None:
    """One of them."""
    chance = life.draw() * _UP_TO[-1][0]
    for up_to, what in _UP_TO:
        if chance < up_to:
            what(life, now_ms, customer)
            return
