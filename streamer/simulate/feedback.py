"""Surveys: who is asked about what, who answers, and what the answers are. Trouble lowers a score; a `survey-drop` lowers most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.simulate.life import HOUR, MINUTE

if TYPE_CHECKING:
    from streamer.simulate.life import Life
    from streamer.simulate.people import Person

ASKED_ORDER_SHARE, ASKED_CONTACT_SHARE, ASKED_CASE_SHARE = 0.70, 0.40, 0.50  # of deliveries, contacts, cases
ANSWER_SHARE, SOON_SHARE = 0.30, 0.80  # of surveys sent; of answers: within the hour or so
SOUR_SHARE = 0.80  # of answers during a survey drop: given as if after trouble


class Question(NamedTuple):
    """What is asked. head: the first part of `survey` as JSON text. good, bad: shares of the answers from the worst to the best, on a
    good day and after trouble. lowest: end of the scale. best_is_low: as in CES 1.0. struck: whether a survey drop reaches it.
    """

    head: str
    good: tuple[float, ...]
    bad: tuple[float, ...]
    lowest: int = 1
    best_is_low: bool = False
    struck: bool = True


# Orders of magnitude: an NPS about 35 on a good day and -40 after trouble; four of five are satisfied; seven of ten had it easy.
_NPS: Final = (
    (0.02, 0.01, 0.01, 0.01, 0.02, 0.05, 0.06, 0.13, 0.20, 0.22, 0.27),
    (0.16, 0.06, 0.08, 0.08, 0.08, 0.10, 0.10, 0.10, 0.11, 0.07, 0.06),
)
_CSAT: Final = (0.02, 0.03, 0.07, 0.36, 0.52), (0.28, 0.22, 0.20, 0.18, 0.12)
_CSAT_OF_TEN: Final = (
    (0.01, 0.02, 0.02, 0.03, 0.04, 0.05, 0.12, 0.21, 0.24, 0.26),
    (0.18, 0.10, 0.10, 0.12, 0.12, 0.10, 0.10, 0.08, 0.05, 0.05),
)
_CES: Final = (0.03, 0.04, 0.06, 0.09, 0.20, 0.30, 0.28), (0.20, 0.18, 0.16, 0.14, 0.14, 0.10, 0.08)
_LOYALTY: Final = (0.04, 0.05, 0.14, 0.36, 0.41), (0.20, 0.22, 0.24, 0.20, 0.14)


def _question(instrument: str, scope: str, name: str, more: str = "") -> str:
    return f'"instrument":"{instrument}"{more},"scope":"{scope}","question_id":"{name}"'


AFTER_DELIVERY: Final = Question(_question("nps", "experience", "after-delivery"), *_NPS, lowest=0)
DELIVERY: Final = Question(_question("csat", "experience", "delivery"), *_CSAT)
CONTACT: Final = Question(_question("csat", "experience", "contact"), *_CSAT)
EASY: Final = Question(_question("ces", "experience", "easy", ',"ces_version":"2.0"'), *_CES)
EFFORT: Final = Question(_question("ces", "experience", "effort", ',"ces_version":"1.0"'), *_CSAT, best_is_low=True)
CASE: Final = Question(_question("csat", "experience", "case"), *_CSAT_OF_TEN)
RELATIONSHIP: Final = Question(_question("nps", "relationship", "half-year"), *_NPS, lowest=0)
BENCHMARK: Final = Question(_question("nps", "benchmark", "market"), *_NPS, lowest=0, struck=False)
LOYALTY: Final = tuple(
    Question(_question("other", "relationship", item), *_LOYALTY) for item in ("satisfaction", "repurchase", "recommend")
)


def ask_about_order(life: Life, time_ms: int, who: Person, order_id: str, *, trouble: bool) -> None:
    """After a delivery: would you recommend us, or are you satisfied?"""
    chance = life.draw()
    if chance < ASKED_ORDER_SHARE:
        about = f'"order_id":"{order_id}","touchpoint":"delivery"'
        _ask(life, time_ms, who, AFTER_DELIVERY if chance < 0.8 * ASKED_ORDER_SHARE else DELIVERY, about, trouble=trouble)


def ask_about_contact(life: Life, time_ms: int, who: Person, channel: str, *, trouble: bool) -> None:
    """After a contact: was it easy, were you satisfied? A few are still asked in the way of CES 1.0."""
    chance = life.draw() / ASKED_CONTACT_SHARE
    if chance < 1:
        question = EASY if chance < 0.45 else EFFORT if chance < 0.55 else CONTACT
        _ask(life, time_ms, who, question, f'"touchpoint":"{channel}"', trouble=trouble)


def ask_about_case(life: Life, time_ms: int, who: Person, case_id: str, *, trouble: bool) -> None:
    """After a case: are you satisfied, of ten?"""
    if life.draw() < ASKED_CASE_SHARE:
        _ask(life, time_ms, who, CASE, f'"case_id":"{case_id}"', trouble=trouble)


def ask_about_us(life: Life, time_ms: int, who: Person) -> None:
    """The relationship as such: NPS, the items of loyalty, the brands a customer uses; or the market's benchmark."""
    chance = life.draw()
    if chance < 0.6:
        _ask(life, time_ms, who, RELATIONSHIP)
    elif chance < 0.75:
        _ask(life, time_ms, who, BENCHMARK, trouble=life.draw() < 0.35)
    elif chance < 0.88:
        for question in LOYALTY:
            _ask(life, time_ms, who, question)
    else:
        brands = 1 + int(life.exponential(1.4))
        rank = min(brands, 1 + int(life.exponential(0.7)))
        more = f',"brands":{brands},"rank":{rank}'
        _ask(life, time_ms, who, Question(_question("other", "relationship", "brands", more), *_LOYALTY, struck=False))


def _ask(life: Life, time_ms: int, who: Person, question: Question, about: str = "", *, trouble: bool = False) -> None:
    """Send the survey and, of some, get the answer."""
    draw = life.draw
    if time_ms >= life.end_ms:
        return
    origin = life.origin(who, "email", "prove")
    asked = f',"survey":{{{question.head}' + (f',"about":{{{about}}}' if about else "")
    sent_ms = time_ms + int(2 * MINUTE + life.exponential(4 * MINUTE))
    life.emit(origin, "survey.sent", sent_ms, asked + "}")
    if draw() >= ANSWER_SHARE:
        return
    answered_ms = sent_ms + int(MINUTE + life.exponential(20 * MINUTE if draw() < SOON_SHARE else 3 * HOUR))
    # Chance is taken with the incident and without: it is to change this answer alone, not what comes after it here.
    if question.struck and draw() < SOUR_SHARE and life.struck("survey-drop", answered_ms, {"region": who.region}):
        trouble = True
    place, size = _place(life, question.bad if trouble else question.good, who.persona.mood), len(question.good)
    score = question.lowest + (size - 1 - place if question.best_is_low else place)
    answer = f',"score":{score},"scale_min":{question.lowest},"scale_max":{question.lowest + size - 1}}}'
    life.emit(origin, "survey.responded", answered_ms, asked + answer)
    life.tally["surveys_answered"] += 1


def _place(life: Life, shares: tuple[float, ...], mood: float) -> int:
    """Where on the scale, from the worst. mood: the chance of the better of two answers; below 0, of the worse one."""
    place = _drawn(life.draw(), shares)
    if life.draw() < abs(mood):
        place = (max if mood > 0 else min)(place, _drawn(life.draw(), shares))
    return place


def _drawn(chance: float, shares: tuple[float, ...]) -> int:
    for place, share in enumerate(shares):
        if chance < share:
            return place
        chance -= share
    return len(shares) - 1
