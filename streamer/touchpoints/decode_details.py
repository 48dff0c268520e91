"""From the groups of a decoded event to its `Details`. On the hot path: most events have one group or none."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from streamer.touchpoints.details import SCORE_DIGITS, SHARE_DIGITS, Details, OrderLine
from streamer.touchpoints.form import (
    ABSENT,
    Commerce,
    Data,
    Friction,
    Fulfilment,
    Goal,
    Handling,
    Handoff,
    Info,
    Line,
    Message,
    Preference,
    Search,
    Survey,
)
from streamer.touchpoints.money import exponent_of, minor_units
from streamer.touchpoints.text import Memo, clean, clip
from streamer.touchpoints.times import milliseconds

LINES_MAX: Final = 100
QUANTITY_MAX: Final = 1_000_000
# Together, of the lines that are kept: with them an event takes at most 35 KB of its customer's row, which has to hold a hundred such (the
# changelog takes 16 MiB) and tells the length of each in two bytes. A hundred lines with 54 bytes in each of their texts.
LINE_TEXTS_MAX_BYTES: Final = 16 << 10

_dimensions = Memo(clean)
# Where in the values of `Data` its parts are; the last ones are groups that nothing else reads.
_FIELDS: Final = Data.__struct_fields__
_HANDOFF: Final = _FIELDS.index("handoff")
COMMERCE: Final = _FIELDS.index("commerce")
_FRICTION: Final = _FIELDS.index("friction")
_TOUCHPOINT: Final = _FIELDS.index("touchpoint")
GROUPS_BEGIN: Final = _FIELDS.index("fulfilment")
_GROUPS_END: Final = len(_FIELDS)
_NO_GROUPS: Final = (None,) * (_GROUPS_END - GROUPS_BEGIN)


def details_of(values: tuple[Any, ...]) -> Details | None:
    """The details of an event of a `DETAILED` type, from the values of its `Data`. Raises ValueError with the field that is wrong, never
    its content.
    """
    handoff, commerce, friction, touchpoint = values[_HANDOFF], values[COMMERCE], values[_FRICTION], values[_TOUCHPOINT]
    groups = values[GROUPS_BEGIN:_GROUPS_END]
    if not touchpoint and groups == _NO_GROUPS and handoff is None and commerce is None and friction is None:
        return None
    fulfilment, survey, handling, offer, message, contract, wallet, preference, search, info, goal = groups
    found = Details()
    if survey is not None:
        _survey(found, survey)
    if commerce is not None:
        _order(found, commerce)
    if wallet is not None:
        exponent = exponent_of(((commerce and commerce.currency) or "").upper())
        found.own_minor = _number("wallet.own", wallet.own, exponent)
        found.competitors_minor = _number("wallet.competitors", wallet.competitors, exponent)
    if offer is not None:
        found.offer_id, found.offer_kind = clip(offer.offer_id or ""), _dimensions[offer.kind or ""]
    if contract is not None:
        found.contract_id, found.due_ms = clip(contract.contract_id or ""), _moment("contract.due_at", contract.due_at)
    if fulfilment is not None:
        _fulfilment(found, fulfilment)
    if preference is not None:
        _preference(found, preference)
    _care(found, handling, handoff, message, goal, info, friction, search)
    found.page = _dimensions[touchpoint or ""]
    return None if not found.page and found == _NOTHING else found


def _survey(found: Details, survey: Survey) -> None:
    found.instrument, found.ces_version = _dimensions[survey.instrument or ""], _dimensions[survey.ces_version or ""]
    found.scope, found.question = _dimensions[survey.scope or ""], clip(survey.question_id or "")
    found.score = _number("survey.score", survey.score, SCORE_DIGITS)
    found.scale_min = _number("survey.scale_min", survey.scale_min, SCORE_DIGITS)
    found.scale_max = _number("survey.scale_max", survey.scale_max, SCORE_DIGITS)
    found.brands, found.rank = _whole(survey.brands), _whole(survey.rank)
    if (about := survey.about) is not None:
        found.about_journey_id, found.about_case_id = clip(about.journey_id or ""), clip(about.case_id or "")
        found.about_order_id = clip(about.order_id or "")


def _order(found: Details, commerce: Commerce) -> None:
    found.acquisition_source = _dimensions[commerce.acquisition_source or ""]
    if commerce.lines:
        exponent = exponent_of((commerce.currency or "").upper())
        found.lines = lines = [_line(line, exponent) for line in commerce.lines[:LINES_MAX]]
        if sum([len(text.encode()) for line in lines for text in (line.category, line.tier, line.added_via)]) > LINE_TEXTS_MAX_BYTES:
            raise ValueError(f"commerce.lines: category, tier and added_via have more than {LINE_TEXTS_MAX_BYTES} bytes in all")


def _line(line: Line, exponent: int) -> OrderLine:
    quantity = _number("commerce.lines.quantity", line.quantity, 0)
    if quantity is not None and not 0 <= quantity <= QUANTITY_MAX:
        raise ValueError(f"commerce.lines.quantity: expected 0 to {QUANTITY_MAX}")
    return OrderLine(
        _dimensions[line.category or ""],
        _dimensions[line.tier or ""],
        _dimensions[line.added_via or ""],
        _number("commerce.lines.price", line.price, exponent),
        _number("commerce.lines.list_price", line.list_price, exponent),
        1 if quantity is None else quantity,
    )


def _fulfilment(found: Details, fulfilment: Fulfilment) -> None:
    found.shipment_id = clip(fulfilment.shipment_id or "")
    found.requested_ms = _moment("fulfilment.requested_at", fulfilment.requested_at)
    found.promised_ms = _moment("fulfilment.promised_at", fulfilment.promised_at)
    found.committed_ms = _moment("fulfilment.committed_at", fulfilment.committed_at)
    found.shipped_ms = _moment("fulfilment.shipped_at", fulfilment.shipped_at)
    found.delivered_ms = _moment("fulfilment.delivered_at", fulfilment.delivered_at)
    found.service, found.requested_by = _dimensions[fulfilment.service or ""], _dimensions[fulfilment.requested_by or ""]


def _preference(found: Details, preference: Preference) -> None:
    """Apart as far as they are told to be; else not at all if they are the same JSON, and entirely if not."""
    found.attribute = _dimensions[preference.attribute or ""]
    found.weight = _number("preference.weight", preference.weight, SHARE_DIGITS)
    found.distance = _number("preference.distance", preference.distance, SHARE_DIGITS)
    if found.distance is None and _is_told(preference.ideal) and _is_told(preference.received):
        same = _canonical(preference.ideal) == _canonical(preference.received)
        found.distance = 0 if same else 10**SHARE_DIGITS


def _care(
    found: Details, handling: Handling | None, handoff: Handoff | None, message: Message | None, goal: Goal | None, info: Info | None,
    friction: Friction | None, search: Search | None,
) -> None:  # fmt: skip
    if handling is not None:
        found.profile_viewed, found.personalised = handling.profile_viewed, handling.personalised
        found.template_id, found.tag = clip(handling.template_id or ""), _dimensions[handling.tag or ""]
        found.bot_fallbacks, found.wait_ms = _whole(handling.bot_fallbacks) or 0, _wait(handling.wait_seconds)
    if handoff is not None and handoff.required_context is not None:
        passed = handoff.context_passed
        found.context_complete = set(handoff.required_context) <= set(passed) if isinstance(passed, list) else bool(passed)
    if message is not None:
        found.message_kind, found.human, found.opened = _dimensions[message.kind or ""], message.human, message.opened
        found.message_id = clip(message.message_id or "")
    if goal is not None:
        found.goal_id = clip(goal.goal_id or "")
    if info is not None:
        found.info_field = _dimensions[info.field or ""]
    if friction is not None:
        found.element_id = clip(friction.element_id or "")
    if search is not None:
        found.results = _whole(search.results)


def _wait(raw: msgspec.Raw) -> int | None:
    waited = _number("handling.wait_seconds", raw, SHARE_DIGITS)
    if waited is not None and waited < 0:
        raise ValueError("handling.wait_seconds: expected 0 or more")
    return waited


def _whole(told: float | None) -> int | None:
    return None if told is None else int(told)


def _number(field: str, raw: msgspec.Raw, digits: int) -> int | None:
    if raw is ABSENT:
        return None
    try:
        return minor_units(bytes(raw), digits)
    except ValueError as exc:
        raise ValueError(f"{field}: {exc}") from exc


def _moment(field: str, text: str | None) -> int | None:
    if not text:
        return None
    try:
        return milliseconds(text)
    except ValueError as exc:
        raise ValueError(f"{field}: {exc}") from exc


def _is_told(raw: msgspec.Raw) -> bool:
    return raw is not ABSENT and bytes(raw) != b"null"


def _canonical(raw: msgspec.Raw) -> bytes:
    try:
        return orjson.dumps(orjson.loads(bytes(raw)), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:  # numbers beyond any double
        return bytes(raw)


_NOTHING: Final = Details()
