"""Decoding of anything: never an exception, one answer per event whatever its form, and nothing of the customer in a detail."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.journeys.customer import Customer
from streamer.touchpoints.catalogue import CHANNELS
from streamer.touchpoints.decode import decode
from streamer.touchpoints.form import Event
from streamer.touchpoints.money import minor_units
from streamer.touchpoints.schema import json_schema
from streamer.touchpoints.times import milliseconds
from streamer.touchpoints.touchpoint import FIELDS, Control, Reason, Rejected, Touchpoint, touchpoint_of

ARRIVAL_MS = 1_795_256_104_000  # 2026-11-21T10:15:04Z
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
names = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=40)
optional_texts = st.none() | texts


def groups(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=2).map(str) | st.integers(-(10**12), 10**12)
datas = st.fixed_dictionaries(
    {"customer_id": names, "channel": st.sampled_from(CHANNELS) | names},
    optional={
        **dict.fromkeys(("session_id", "journey", "journey_id", "stage", "step", "platform", "segment", "region"), optional_texts),
        **dict.fromkeys(("anonymous_id", "persona", "product_category"), optional_texts),
        "issue": st.none() | groups(issue_id=texts, case_id=texts, contact_id=texts, reason=texts, severity=texts, resolved=st.booleans()),
        "actor": st.none() | groups(team=texts, partner=texts, owner=texts, initiator=texts, agent_id=texts),
        "handoff": groups(from_team=texts, to_team=texts, partner=texts, kind=texts, context_passed=st.lists(texts, max_size=2)),
        "commerce": groups(
            checkout_id=texts, order_id=texts, cart_id=texts, currency=st.sampled_from(["EUR", "JPY", "kwd"]), revenue=amounts
        ),
        "friction": groups(kind=texts, code=texts, field=texts, count=st.integers()),
        "consent": groups(categories=groups(analytics=st.booleans(), ads=st.booleans())),
        "props": st.dictionaries(texts, texts | st.integers() | st.lists(texts, max_size=2), max_size=2),
    },
)
envelopes = st.fixed_dictionaries(
    {
        "id": names,
        "source": names,
        "type": st.sampled_from(["checkout.started", "com.acme.order.completed", "own.kind.of.event"]),
        "time": st.datetimes(datetime(1, 1, 2), datetime(2026, 11, 21)).map(lambda at: at.isoformat() + "Z"),
    }
)


def dumps(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


@given(datas, envelopes)
def test_the_three_forms_give_the_same_touchpoint(data: dict[str, Any], envelope: dict[str, str]) -> None:
    key = data["customer_id"].encode()
    flat = decode(5, ARRIVAL_MS, key, dumps({**envelope, **data}), ())
    headers = [(f"ce_{name}", content.encode()) for name, content in envelope.items()]
    assert isinstance(flat, Touchpoint), flat
    assert decode(5, ARRIVAL_MS, key, dumps({"specversion": "1.0", **envelope, "data": data}), ()) == flat
    assert decode(5, ARRIVAL_MS, key, dumps({**envelope, "data": data}), ()) == flat
    assert decode(5, ARRIVAL_MS, key, dumps(data), headers) == flat


@given(datas, envelopes)
def test_a_touchpoint_survives_its_packed_form(data: dict[str, Any], envelope: dict[str, str]) -> None:
    touchpoint = decode(5, ARRIVAL_MS, data["customer_id"].encode(), dumps({**envelope, **data}), ())
    assert isinstance(touchpoint, Touchpoint)
    assert touchpoint_of(msgspec.msgpack.decode(msgspec.msgpack.encode(touchpoint.values()))) == touchpoint


@given(datas, envelopes)
def test_every_string_of_a_touchpoint_is_bounded_and_dimensions_are_clean(data: dict[str, Any], envelope: dict[str, str]) -> None:
    touchpoint = decode(5, ARRIVAL_MS, data["customer_id"].encode(), dumps({**envelope, **data}), ())
    ids = {"id", "journey_id", "session_id", "checkout_id", "order_id", "cart_id", "issue_id", "case_id", "contact_id"}
    assert isinstance(touchpoint, Touchpoint)
    for name, content in zip(FIELDS, touchpoint.values(), strict=True):
        if isinstance(content, str):
            assert len(content) <= (128 if name in ids or name in ("type", "source") else 64), name
            assert name in ids or not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in content), name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*Event.__struct_fields__])
wild_events = st.dictionaries(fields, json_values | datas | envelopes, max_size=8).map(lambda e: json.dumps(e).encode())
headers_of_any_kind = st.lists(
    st.tuples(
        st.sampled_from(["ce_type", "ce_time", "ce_id", "ce_source", "cx-control", "traceparent"]),
        st.none() | st.binary(max_size=20) | st.sampled_from([b"begin", b"checkout.started", b"2026-11-21T10:15:03Z"]),
    ),
    max_size=4,
)


@settings(max_examples=300)
@given(
    st.none() | st.binary(max_size=20) | st.just(b"c"),
    st.none() | st.binary(max_size=200) | wild_events | json_values.map(lambda v: json.dumps(v).encode()),
    headers_of_any_kind,
)
def test_no_record_raises(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    assert isinstance(decode(0, ARRIVAL_MS, key, value, headers), Touchpoint | Control | Rejected)


@settings(max_examples=300)
@given(datas, envelopes, st.data())
def test_a_damaged_event_never_raises(data: dict[str, Any], envelope: dict[str, str], draw: st.DataObject) -> None:
    value = bytearray(dumps({**envelope, "data": data}))
    position = draw.draw(st.integers(0, len(value) - 1))
    value[position : position + draw.draw(st.integers(0, 3))] = draw.draw(st.binary(max_size=3))
    decode(0, ARRIVAL_MS, data["customer_id"].encode(), bytes(value), ())


CANARY = "Canary-Jane-Doe"


@given(
    st.dictionaries(fields, st.sampled_from([CANARY, [CANARY], {CANARY: CANARY}, {"categories": CANARY}, {"revenue": CANARY}]), max_size=9)
)
def test_no_detail_quotes_the_event(event: dict[str, Any]) -> None:
    result = decode(0, ARRIVAL_MS, b"c", dumps({"type": CANARY, "channel": "web", "time": "2026-11-21T10:15:03Z", **event}), ())
    assert isinstance(result, Rejected)
    assert CANARY not in result.detail


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from(["T", "t", " "]),
)
def test_times_agree_with_the_standard_library(at: datetime, offset_minutes: int, separator: str) -> None:
    aware = at.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    expected = (aware - EPOCH) // timedelta(milliseconds=1)
    assert milliseconds(aware.isoformat(separator)) == expected
    assert milliseconds(aware.isoformat(separator)) == expected  # from what is remembered


@given(st.text("0123456789-:+.TZtz _", max_size=30))
def test_what_the_standard_library_cannot_read_is_no_time(text: str) -> None:
    try:
        milliseconds(text)
    except ValueError:
        return
    assert datetime.fromisoformat(text.upper().replace(":60", ":59")).tzinfo is not None


@given(st.decimals(min_value=-(10**11), max_value=10**11, places=4), st.sampled_from([0, 2, 3, 4]))
def test_amounts_are_rounded_half_to_even_at_the_currencys_exponent(amount: Decimal, exponent: int) -> None:
    expected = int((amount * 10**exponent).to_integral_value(ROUND_HALF_EVEN))
    assert minor_units(f'"{amount:f}"'.encode(), exponent) == expected
    assert minor_units(f"{amount:f}".encode(), exponent) == expected
    exact = amount.quantize(Decimal(1).scaleb(-exponent), ROUND_HALF_EVEN)
    assert minor_units(f'"{exact:f}"'.encode(), exponent) == int(exact.scaleb(exponent))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@given(depth=st.integers(1, 400))
@settings(max_examples=30)
def test_depth_is_decided_by_the_event_alone(opening: bytes, depth: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    nested = opening * depth + b"0" + closing * depth
    value = b'{"id":"1","type":"t","time":"2026-11-21T10:15:03Z","channel":"web","customer_id":"c","props":' + nested + b"}"
    result = decode(0, ARRIVAL_MS, b"c", value, ())
    if depth + 1 <= 256:
        assert isinstance(result, Touchpoint), result
    else:
        assert isinstance(result, Rejected)
        assert result.reason is Reason.INVALID_JSON


wholes = st.integers() | st.integers(-(10**15), 10**15)
# As long as they may be, and longer.
long_texts = st.sampled_from(["", "x" * 200, "\U0001f600" * 200, "字" * 64])
detailed = st.fixed_dictionaries(
    {"type": st.sampled_from(["order.completed", "survey.responded", "contact.handled", "knowledge.searched"])},
    optional={
        **dict.fromkeys(("session_id", "journey", "journey_id", "step", "platform", "segment", "persona", "account_id"), long_texts),
        "survey": groups(brands=wholes, rank=wholes, score=amounts, question_id=long_texts),
        "handling": groups(bot_fallbacks=wholes, wait_seconds=amounts, template_id=long_texts),
        "search": groups(results=wholes),
        "commerce": groups(
            order_id=long_texts,
            lines=st.builds(
                lambda line, n: [line] * n,
                groups(category=long_texts, tier=long_texts, added_via=long_texts, price=amounts, quantity=st.integers(0, 10**6)),
                st.sampled_from([0, 1, 20, 100, 120]),
            ),
        ),
        "issue": groups(issue_id=long_texts, case_id=long_texts, contact_id=long_texts, reason=long_texts),
    },
)


@settings(max_examples=300)
@given(detailed)
def test_whatever_is_decoded_fits_into_a_row_of_the_changelog(event: dict[str, Any]) -> None:
    record = {"customer_id": "c", "channel": "web", "time": "2026-11-21T10:15:03Z", **event}
    touchpoint = decode(5, ARRIVAL_MS, b"c", dumps(record), ())
    if isinstance(touchpoint, Touchpoint):
        customer = Customer(b"c", 0, 1)
        customer.keep(touchpoint)
        assert Customer.of_row(b"c", customer.row()).events() == [touchpoint]
        assert len(customer.suffix) < 40_000  # a hundred of them have room in what the changelog takes
    else:
        assert isinstance(touchpoint, Rejected)
        assert touchpoint.reason == Reason.WRONG_TYPE


# As programs write doubles, and as they do columns of integers that may be empty.
doubles = st.floats(-(10**11), 10**11) | st.floats(-1, 1)
integral = wholes | st.integers(-(10**6), 10**6).map(float)
numbered = st.fixed_dictionaries(
    {"type": st.sampled_from(["order.completed", "survey.responded", "contact.handled", "preference.stated"])},
    optional={
        "survey": groups(brands=integral, rank=integral, score=doubles | amounts),
        "handling": groups(bot_fallbacks=integral, wait_seconds=doubles | amounts),
        "search": groups(results=integral),
        "preference": groups(weight=doubles, distance=doubles),
        "commerce": groups(revenue=doubles | amounts, lines=st.lists(groups(price=doubles, quantity=integral), max_size=2)),
    },
)
SCHEMA = jsonschema.Draft202012Validator(json_schema())


@settings(max_examples=300)
@given(numbered)
def test_a_number_that_the_schema_permits_is_accepted(event: dict[str, Any]) -> None:
    record = {"customer_id": "c", "channel": "web", "time": "2026-11-21T10:15:03Z", **event}
    result = decode(5, ARRIVAL_MS, b"c", dumps(record), ())
    assert isinstance(result, Touchpoint) or not SCHEMA.is_valid(record), result


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ({"type": "preference.stated", "preference": {"weight": 1 / 300}}, ("weight", 3)),
        ({"type": "preference.stated", "preference": {"distance": 5e-324}}, ("distance", 0)),
        ({"type": "survey.responded", "survey": {"brands": 3.0}}, ("brands", 3)),
    ],
)
def test_numbers_as_programs_write_them_are_read(record: dict[str, Any], key: tuple[str, int]) -> None:
    result = decode(5, ARRIVAL_MS, b"c", dumps({"customer_id": "c", "channel": "web", "time": "2026-11-21T10:15:03Z", **record}), ())
    assert isinstance(result, Touchpoint)
    assert getattr(result.details, key[0]) == key[1]
    assert type(getattr(result.details, key[0])) is int
