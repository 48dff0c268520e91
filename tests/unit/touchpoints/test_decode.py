"""What a record becomes: the touchpoint in each form, or the first reason why not."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest

from streamer.touchpoints.control import encode_control
from streamer.touchpoints.decode import decode
from streamer.touchpoints.details import Details
from streamer.touchpoints.touchpoint import Control, Reason, Rejected, Touchpoint

ARRIVAL_MS = 1_795_256_104_000  # 2026-11-21T10:15:04Z
TIME = "2026-11-21T10:15:03.120Z"
TIME_MS = 1_795_256_103_120
ENVELOPE = {"id": "e-1", "source": "/shop/web", "type": "checkout.started", "time": TIME}
DATA: dict[str, Any] = {
    "customer_id": "c-1",
    "channel": "web",
    "platform": "ios",
    "commerce": {"checkout_id": "k-1", "currency": "EUR", "revenue": "84.90"},
}


def structured(data: dict[str, Any] = DATA, **envelope: Any) -> bytes:
    return json.dumps({"specversion": "1.0", **ENVELOPE, **envelope, "data": data}).encode()


def flat(**fields: Any) -> bytes:
    return json.dumps({k: v for k, v in {**ENVELOPE, **DATA, **fields}.items() if v is not ...}).encode()


def decoded(value: bytes, headers: list[tuple[str, bytes]] | None = None, key: bytes | None = b"c-1") -> Touchpoint:
    result = decode(7, ARRIVAL_MS, key, value, headers or [])
    assert isinstance(result, Touchpoint), result
    return result


def rejected(value: bytes | None, key: bytes | None = b"c-1", headers: list[tuple[str, bytes]] | None = None) -> Rejected:
    result = decode(7, ARRIVAL_MS, key, value, headers or [])
    assert isinstance(result, Rejected), result
    return result


def touchpoint(**fields: Any) -> Touchpoint:
    made = Touchpoint(TIME_MS, 7, "e-1", "/shop/web", "checkout.started", "web")
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_all_three_forms_of_one_event_are_the_same_touchpoint() -> None:
    headers = [("ce_specversion", b"1.0"), *((f"ce_{name}", content.encode()) for name, content in ENVELOPE.items())]
    expected = touchpoint(platform="ios", checkout_id="k-1", currency="EUR", revenue_minor=8490)
    assert decoded(structured()) == expected
    assert decoded(flat()) == expected
    assert decoded(json.dumps(DATA).encode(), headers) == expected


@pytest.mark.parametrize("kind", ["begin", "end"])
def test_a_control_record_round_trips_without_a_key(kind: Any) -> None:
    value, headers = encode_control(kind, TIME_MS)
    assert decode(7, ARRIVAL_MS, None, value, headers) == Control(kind, TIME_MS)


def test_a_structured_event_may_leave_specversion_out() -> None:
    """The smallest useful event of the documentation has none."""
    assert decoded(json.dumps({**ENVELOPE, "data": DATA}).encode()) == decoded(flat())


def test_every_group_is_flattened() -> None:
    groups = {
        "issue": {"issue_id": "i", "case_id": "ca", "contact_id": "co", "reason": "billing", "severity": "high", "resolved": False},
        "actor": {"team": "t1", "partner": "p1", "owner": "o", "agent_id": "skipped", "initiator": "customer"},
        "handoff": {"from_team": "t1", "to_team": "t2", "kind": "cold", "context_passed": [], "required_context": ["x"]},
        "commerce": {"checkout_id": "k", "order_id": "or", "cart_id": "ct", "currency": "jpy", "revenue": 1200},
        "friction": {"kind": "form_error", "code": "E7", "field": "iban", "count": 3},
        "consent": {"categories": {"analytics": False, "ads": True}, "policy_version": "2"},
    }
    scalars = {
        name: name[:2] for name in ("session_id", "journey", "journey_id", "step", "segment", "persona", "region", "product_category")
    }
    expected = touchpoint(
        platform="ios", stage="affirm",
        issue_id="i", case_id="ca", contact_id="co", reason="billing", severity="high", resolved=False,
        team="t1", partner="p1", owner="o", initiator="customer",
        from_team="t1", to_team="t2", handoff_kind="cold", context_passed=False,
        checkout_id="k", order_id="or", cart_id="ct", currency="JPY", revenue_minor=1200,
        friction_kind="form_error", friction_code="E7", field="iban", analytics_consent=False,
        session_id="se", journey="jo", journey_id="jo", step="st", segment="se", persona="pe", region="re", product_category="pr",
    )  # fmt: skip
    assert decoded(flat(stage="affirm", **scalars, **groups)) == expected


@pytest.mark.parametrize(
    ("group", "fields", "detail", "value"),
    [
        ("survey", {"instrument": "nps"}, "instrument", "nps"),
        ("commerce", {"acquisition_source": "referral"}, "acquisition_source", "referral"),
        ("wallet", {"own": "12.50"}, "own_minor", 1250),
        ("offer", {"offer_id": "of"}, "offer_id", "of"),
        ("contract", {"contract_id": "cn"}, "contract_id", "cn"),
        ("fulfilment", {"shipment_id": "sh"}, "shipment_id", "sh"),
        ("preference", {"attribute": "colour"}, "attribute", "colour"),
        ("handling", {"tag": "complaint"}, "tag", "complaint"),
        ("handoff", {"required_context": ["x"], "context_passed": ["x"]}, "context_complete", True),
        ("message", {"message_id": "me"}, "message_id", "me"),
        ("goal", {"goal_id": "go"}, "goal_id", "go"),
        ("info", {"field": "iban"}, "info_field", "iban"),
        ("friction", {"element_id": "button"}, "element_id", "button"),
        ("search", {"results": 3}, "results", 3),
    ],
)
def test_the_details_of_a_group_are_read_from_that_group(group: str, fields: dict[str, Any], detail: str, value: Any) -> None:
    details = decoded(flat(type="survey.responded", **{group: fields})).details
    assert details == msgspec.structs.replace(Details(), **{detail: value})


def test_what_is_absent_and_what_is_null_are_the_same() -> None:
    nothing = dict.fromkeys(("session_id", "stage", "issue", "actor", "handoff", "friction", "consent", "props", "data"))
    assert decoded(flat(**nothing)) == decoded(flat())
    assert decoded(flat(commerce={"checkout_id": "k", "revenue": None, "currency": None})) == decoded(flat(commerce={"checkout_id": "k"}))
    assert decoded(flat(consent={"categories": {"ads": True}})).analytics_consent is None


@pytest.mark.parametrize(("passed", "expected"), [(["account"], True), ([], False), (True, True), (False, False), (None, None)])
def test_context_counts_as_passed_when_any_was(passed: Any, expected: bool | None) -> None:
    assert decoded(flat(handoff={"context_passed": passed})).context_passed is expected


def test_the_partner_of_a_handoff_goes_before_the_partner_who_acted() -> None:
    assert decoded(flat(actor={"partner": "a"}, handoff={"partner": "b"})).partner == "b"
    assert decoded(flat(actor={"partner": "a"}, handoff={"kind": "warm"})).partner == "a"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("com.acme.checkout.started", "checkout.started"),
        ("checkout.started", "checkout.started"),
        ("com.acme.lottery.won", "com.acme.lottery.won"),
        ("checkout.started.v2", "checkout.started.v2"),
        ("started", "started"),
    ],
)
def test_a_reverse_dns_prefix_is_taken_off_known_types_only(given: str, expected: str) -> None:
    assert decoded(flat(type=given)).type == expected


def test_a_channel_or_stage_outside_its_enumeration_does_not_become_a_label() -> None:
    touchpoint = decoded(flat(channel="hologram", stage="later"))
    assert (touchpoint.channel, touchpoint.stage) == ("other", "")


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ('"84.90"', "EUR", 8490),
        ('"84.9"', "EUR", 8490),
        ("84.9", "EUR", 8490),
        ("8.49e1", "EUR", 8490),
        ('"-5.00"', "EUR", -500),
        ('"1200"', "JPY", 1200),
        ("1.234", "KWD", 1234),
        ('"1.23"', "", 123),
        ('"0.005"', "EUR", 0),
        ('"0.015"', "EUR", 2),
        ("0.29", "EUR", 29),  # through a float it would be 28.999999999999996
        ("9999999999999.99", "EUR", 999_999_999_999_999),
        (r'"\u0031.00"', "EUR", 100),
    ],
)
def test_money_is_exact_in_minor_units(amount: str, currency: str, minor: int) -> None:
    value = flat(commerce={"currency": currency, "revenue": "AMOUNT"}).replace(b'"AMOUNT"', amount.encode())
    assert decoded(value).revenue_minor == minor


@pytest.mark.parametrize(
    "amount",
    ['"12,50"', '"NaN"', '"1_0"', '" 1"', '""', "true", "{}", "[]", '"1e5"', "1e99", '".50"', "10000000000000.01", "9" * 400, '"\u0661"'],
)
def test_what_is_no_amount_is_a_wrong_type(amount: str) -> None:
    value = flat(commerce={"revenue": "AMOUNT"}).replace(b'"AMOUNT"', amount.encode())
    assert rejected(value).reason is Reason.WRONG_TYPE


@pytest.mark.parametrize(
    ("time", "expected_ms"),
    [
        ("2026-11-21T10:15:03Z", TIME_MS - 120),
        ("2026-11-21T10:15:03.1209999Z", TIME_MS),
        ("2026-11-21T10:15:03.12Z", TIME_MS),
        ("2026-11-21t11:15:03.120+01:00", TIME_MS),
        ("2026-11-20 22:15:03.120-12:00", TIME_MS),
        ("2026-11-21T10:15:03.120-00:00", TIME_MS),
        ("1969-12-31T23:59:59.9995Z", -1),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
    ],
)
def test_times_are_floored_to_milliseconds(time: str, expected_ms: int) -> None:
    assert decoded(flat(time=time)).time == expected_ms


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-21T10:15:03", "2026-11-21", "2026-11-21T10:15Z", "2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T10:15:61Z",
        "2026-11-21T10:15:03+24:00", "2026-11-21T10:15:03+0100", "1795256103", "0000-01-01T00:00:00Z", "2026-11-21T10:15:03.Z",
        "9999-12-31T23:59:59-05:00", "9999-12-31T23:59:60Z", "0001-01-01T00:00:00+01:00",
        "２０２６-11-21T10:15:03Z", "2026-11-21T10:15:03Z\n", "2026-11-21T10:15:03." + "1" * 100 + "Z",
    ],
)  # fmt: skip
def test_a_time_without_an_offset_or_that_does_not_exist_is_rejected(time: str) -> None:
    assert rejected(flat(time=time)).reason is Reason.INVALID_TIME


def test_a_due_date_is_read_of_every_type_and_must_be_a_time() -> None:
    assert decoded(flat(issue={"due_at": "2026-11-21T11:15:03.120+01:00"})).due_ms == TIME_MS
    assert decoded(flat(issue={"due_at": ""})).due_ms is decoded(flat(issue={"due_at": None})).due_ms is None
    assert rejected(flat(issue={"due_at": "noon"})).reason == Reason.WRONG_TYPE


def test_strings_are_cut_and_dimension_values_cleaned() -> None:
    touchpoint = decoded(
        flat(id="i" * 200, source="s\n" + "s" * 200, type="t\x00" + "t" * 200, step='a"\n# HELP x\x1b[31m\u202e', region="r" * 200)
    )
    assert touchpoint.id == "i" * 128
    assert touchpoint.source == "s\ufffd" + "s" * 126
    assert touchpoint.type == "t\ufffd" + "t" * 126
    assert touchpoint.step == 'a"\ufffd# HELP x\ufffd[31m\ufffd'
    assert touchpoint.region == "r" * 64


def test_without_an_id_the_content_identifies_the_event_whatever_its_key_order_and_spacing() -> None:
    one = decoded(flat(id=..., source=...))
    other = decoded(json.dumps(dict(reversed(json.loads(flat(id=..., source=...)).items())), indent=2).encode())
    assert one == other
    assert one.source == "lite"
    assert one.id == hashlib.sha256(
        b'{"channel":"web","commerce":{"checkout_id":"k-1","currency":"EUR","revenue":"84.90"},"customer_id":"c-1",'
        b'"platform":"ios","time":"2026-11-21T10:15:03.120Z","type":"checkout.started"}'
    ).hexdigest()[:32]  # fmt: skip
    assert decoded(flat(id=..., source=..., step="2")).id != one.id


def test_without_an_id_the_envelope_of_a_binary_event_counts_too() -> None:
    value = json.dumps(DATA).encode()
    first, second = ([("ce_type", b"ui.clicked"), ("ce_time", f"2026-11-21T10:15:0{s}Z".encode())] for s in (1, 2))
    assert decoded(value, first).id == decoded(value, first).id != decoded(value, second).id


@pytest.mark.parametrize("beyond", ["1e999", "[" * 255 + "]" * 255])
def test_without_an_id_content_beyond_the_canonical_form_still_identifies_the_event(beyond: str) -> None:
    first, second = (flat(id=..., step=step, props="BEYOND").replace(b'"BEYOND"', beyond.encode()) for step in ("1", "2"))
    assert decoded(first).id == hashlib.sha256(first).hexdigest()[:32] != decoded(second).id


def test_a_header_without_a_value_is_absent() -> None:
    headers: Any = [("ce_type", None), ("cx-control", None)]
    assert decoded(structured(), headers) == decoded(structured())


def test_headers_of_other_tools_do_not_make_an_event_binary() -> None:
    assert decoded(structured(), [("traceparent", b"00-4b"), ("ce_id", b"x")]) == decoded(structured())


def test_either_id_of_the_customer_may_be_the_key() -> None:
    value = flat(anonymous_id="a-é")
    assert decoded(value, key=b"c-1") == decoded(value, key="a-é".encode())


REJECTIONS: list[tuple[str, bytes | None, bytes | None, Reason]] = [
    ("a tombstone", None, b"c-1", Reason.INVALID_JSON),
    ("an empty value", b"", b"c-1", Reason.INVALID_JSON),
    ("text", b"hello", b"c-1", Reason.INVALID_JSON),
    ("a cut-off event", flat()[:-1], b"c-1", Reason.INVALID_JSON),
    ("two events", flat() + flat(), b"c-1", Reason.INVALID_JSON),
    ("NaN", flat(props=float("nan")), b"c-1", Reason.INVALID_JSON),
    ("Infinity", flat(props=float("inf")), b"c-1", Reason.INVALID_JSON),
    ("UTF-16", flat().decode().encode("utf-16"), b"c-1", Reason.INVALID_JSON),
    ("not UTF-8, in a field that is used", flat(step="é").replace(rb"\u00e9", b"\xe9"), b"c-1", Reason.INVALID_JSON),
    ("not UTF-8, in a field that is skipped", flat(props="é").replace(rb"\u00e9", b"\xe9"), b"c-1", Reason.INVALID_JSON),
    ("depth 10,000", flat(props=1).replace(b'"props": 1', b'"props": ' + b"[" * 10_000 + b"]" * 10_000), b"c-1", Reason.INVALID_JSON),
    ("invalid after a wrong type", b'{"type": 5, oops', b"c-1", Reason.INVALID_JSON),
    ("10 MB", flat(props="x" * 10_000_000), b"c-1", Reason.OVERSIZE),
    ("one byte too many", flat(props="").ljust((1 << 20) + 1), b"c-1", Reason.OVERSIZE),
    ("an array", b"[]", b"c-1", Reason.WRONG_TYPE),
    ("a scalar", b"1", b"c-1", Reason.WRONG_TYPE),
    ("a number for an id", flat(customer_id=5), b"c-1", Reason.WRONG_TYPE),
    ("an array for an object", flat(issue=[]), b"c-1", Reason.WRONG_TYPE),
    ("text for data", flat(data="text"), b"c-1", Reason.WRONG_TYPE),
    ("epoch milliseconds", flat(time=TIME_MS), b"c-1", Reason.WRONG_TYPE),
    ("a bad amount without a type", flat(type=..., commerce={"revenue": "x"}), b"c-1", Reason.WRONG_TYPE),
    ("no type, no time", flat(type=..., time=...), b"c-1", Reason.MISSING_FIELD),
    ("an empty type", flat(type=""), b"c-1", Reason.MISSING_FIELD),
    ("no time", flat(time=...), b"c-1", Reason.MISSING_FIELD),
    ("no channel, a bad time", flat(channel=..., time="x"), b"c-1", Reason.MISSING_FIELD),
    ("a CloudEvent without data", flat(specversion="1.0"), b"c-1", Reason.MISSING_FIELD),
    ("a bad time, no customer", flat(time="x", customer_id=...), b"c-1", Reason.INVALID_TIME),
    ("no customer, no key", flat(customer_id=...), None, Reason.MISSING_CUSTOMER),
    ("an empty customer, no key", flat(customer_id=""), None, Reason.MISSING_CUSTOMER),
    ("no key", flat(), None, Reason.UNKEYED),
    ("an empty key", flat(), b"", Reason.UNKEYED),
    ("another key, in the future", flat(time="2026-11-21T10:20:04.001Z"), b"c-2", Reason.MISROUTED),
    ("a key that is not UTF-8", flat(), b"\xff", Reason.MISROUTED),
    ("a key of 129 characters", flat(customer_id="é" * 129), ("é" * 129).encode(), Reason.OVERSIZE),
    ("5 min and 1 ms ahead", flat(time="2026-11-21T10:20:04.001Z"), b"c-1", Reason.FUTURE),
    ("a year ahead", flat(time="2027-11-21T10:15:04Z"), b"c-1", Reason.FUTURE),
]  # fmt: skip


@pytest.mark.parametrize(("value", "key", "reason"), [case[1:] for case in REJECTIONS], ids=[case[0] for case in REJECTIONS])
def test_the_first_failing_check_names_the_reason(value: bytes | None, key: bytes | None, reason: Reason) -> None:
    assert rejected(value, key).reason is reason


def test_at_the_limits_an_event_is_accepted() -> None:
    assert decoded(flat(time="2026-11-21T10:20:04Z")).time == ARRIVAL_MS + 300_000
    assert decoded(flat().ljust(1 << 20)).time == TIME_MS
    assert decoded(flat(customer_id="é" * 128), key=("é" * 128).encode()).time == TIME_MS
    assert decoded(flat(time="0001-01-01T00:00:00Z")).time < 0  # ancient is late, not wrong


def nested(levels: int) -> bytes:
    """An event with this many levels, itself the first."""
    return flat(props="NESTED").replace(b'"NESTED"', b"[" * (levels - 1) + b"]" * (levels - 1))


def test_an_event_may_have_256_levels() -> None:
    assert decoded(nested(256)) == decoded(flat())
    assert rejected(nested(257)) == Rejected(Reason.INVALID_JSON, "nested deeper than 256 levels")


def test_brackets_in_strings_are_no_levels() -> None:
    assert decoded(flat(props='{["\\' * 500)) == decoded(flat())


def test_oddities_that_json_allows_are_accepted() -> None:
    assert decoded(flat().replace(b'"channel": "web"', b'"channel": "app", "channel": "web"')) == decoded(flat())  # the last one counts
    assert decoded(flat(count=10**400, negative=-1, props={"a": [{}] * 300})) == decoded(flat())
    assert decoded(flat(dataschema="cx.touchpoint/99", from_the_future={"a": 1})) == decoded(flat())


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (b"middle", b'{"time_ms": 1}', Reason.WRONG_TYPE),
        (b"\xff", b'{"time_ms": 1}', Reason.WRONG_TYPE),
        (b"begin", None, Reason.INVALID_JSON),
        (b"begin", b"{", Reason.INVALID_JSON),
        (b"begin", b'{"time_ms": "1"}', Reason.WRONG_TYPE),
        (b"begin", b"{}", Reason.WRONG_TYPE),
        (b"end", b'{"time_ms": 9999999999999999}', Reason.INVALID_TIME),
        (b"end", b'{"x":' + b"[" * 100_000, Reason.INVALID_JSON),
    ],
)
def test_a_control_record_that_is_not_understood_is_a_dead_letter(kind: bytes, value: bytes | None, reason: Reason) -> None:
    assert rejected(value, None, [("cx-control", kind)]).reason is reason


@pytest.mark.parametrize("name", ["ce_type", "ce_time", "ce_id", "ce_source"])
def test_a_header_that_is_not_utf8_is_a_dead_letter(name: str) -> None:
    headers = {f"ce_{attribute}": content.encode() for attribute, content in ENVELOPE.items()} | {name: b"\xff"}
    assert rejected(json.dumps(DATA).encode(), headers=list(headers.items())).reason is Reason.INVALID_JSON
