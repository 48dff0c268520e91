"""What the SQL takes a record for: the same as the decoder, by the rules of docs/reference/touchpoint.md."""

from __future__ import annotations

import json
from typing import Any

from streamer.definitions import parse
from streamer.verify.counted import count
from streamer.verify.raw_log import Record
from streamer.verify.tables import used_dimensions
from tests.verify_support import differing

DEFINITIONS = parse("""
revision = 1
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
[[slice]]
by = ["journey"]
[[slice]]
by = ["segment", "platform", "channel"]
""")
ARRIVAL_MS = 1_767_312_000_000  # 2026-01-02: everything below is a day old
TIMES = [
    "2026-01-01t00:01:02.5z", "2026-01-01 00:01:02.123456+01:00", "2026-01-01T00:01:02.123456-23:59", "2026-02-30T00:00:00Z",
    "2026-01-01T24:00:00Z", "2026-01-01T20:59:60Z", "2016-12-31T23:59:60.5Z", "2026-01-01T00:00:61Z", "0000-01-01T00:00:00Z",
    "2026-01-01T00:00:00", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00." + "1" * 50 + "Z", "2026-01-02T01:00:00Z",
    "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59.999-00:01", "9999-12-31T23:59:60Z", "", 5, None,
]  # fmt: skip
REVENUES = [
    "84.90", 84.9, "1e5", 1e5, True, None, "9999999999999999", "99999999999999.99", "9999999999999.99", 10**20, "x", "-5.005", {}, "5.",
    1 / 300, 1e-7, 5e-324, 1e-300, "0.0033333333333333335", ".50", "-.5", "0." + "3" * 18, 1e16, -0.0,
    0.005000000000000001, 0.0049999999999999996, 9999999999999.995,
]  # fmt: skip
FIELDS: list[dict[str, Any]] = [
    {}, {"channel": "fax"}, {"channel": None}, {"channel": 3}, {"channel": ""}, {"type": "a" * 300}, {"type": ""}, {"type": 1},
    {"type": "com.acme.checkout.started"}, {"type": "checkout.started", "commerce": {"checkout_id": "k" * 300}}, {"commerce": []},
    {"commerce": "x"}, {"commerce": {"revenue": "100000000000000", "currency": "JPY"}}, {"issue": {"issue_id": 5}},
    {"issue": {"resolved": "yes"}}, {"issue": {"resolved": None}}, {"handoff": {"context_passed": ["a", 1]}},
    {"handoff": {"context_passed": []}}, {"handoff": {"context_passed": True}}, {"handoff": {"context_passed": "x"}},
    {"handoff": {"context_passed": {}}}, {"handoff": {"context_passed": [None]}}, {"consent": {"categories": {"analytics": "no"}}},
    {"consent": {"categories": {"marketing": "x"}}}, {"consent": {"categories": []}}, {"consent": None},
    {"data": None}, {"data": {}}, {"data": []}, {"data": "x"}, {"data": {"channel": "app", "customer_id": "c"}},
    {"data": {"channel": "app", "customer_id": "c"}, "specversion": "1.0"}, {"specversion": "1.0"}, {"specversion": None},
    {"specversion": 1},
    {"data": {"channel": "app", "customer_id": "c", "journey": 5}}, {"data": {"channel": "app", "customer_id": "c"}, "journey": 5},
    {"data": {"channel": "app"}}, {"data": {"customer_id": "c"}}, {"customer_id": None}, {"customer_id": "", "anonymous_id": "c"},
    {"customer_id": None, "anonymous_id": "c"}, {"customer_id": "d"}, {"customer_id": "d", "anonymous_id": "c"}, {"customer_id": 5},
    {"segment": "x" * 100}, {"segment": "a\x00b\u2028c\x85"}, {"segment": "ü" * 70}, {"platform": "\U0001f600" * 70},
    {"segment": "\u202a\u2066 \u200b"}, {"source": ""}, {"source": None}, {"source": 7}, {"id": None}, {"id": None, "x": 1}, {"id": ""},
    {"id": 7},
    {"survey": []}, {"survey": {"score": []}}, {"survey": {"instrument": 5}}, {"survey": {"brands": 2.5}}, {"survey": {"about": []}},
    {"survey": {"about": {"order_id": 5}}}, {"survey": {"about": {"touchpoint": 5}}}, {"account_id": 5},
    {"commerce": {"lines": {}}}, {"commerce": {"lines": [5]}}, {"commerce": {"lines": [{"category": 5}]}}, {"commerce": {"lines": [{}]}},
    {"handoff": {"required_context": ["a", 5]}}, {"handoff": {"required_context": "a"}}, {"handling": {"profile_viewed": 1}},
    {"handling": {"bot_fallbacks": True}}, {"message": {"human": "x"}}, {"search": {"results": "3"}}, {"search": {"results": 3}},
    {"search": {"results": 10**15}}, {"search": {"results": 10**15 + 1}}, {"survey": {"brands": 2**64}}, {"survey": {"rank": 2**64 - 1}},
    {"survey": {"rank": -(10**15)}}, {"handling": {"bot_fallbacks": -(10**15) - 1}}, {"handling": {"bot_fallbacks": -(2**70)}},
    *({"type": "order.completed", "commerce": {"lines": [{"category": "x" * 60, "tier": "ü" * 20, "added_via": "y" * n}] * lines}}
      for lines, n in ((100, 63), (100, 64), (101, 63), (256, 0))),
    {"fulfilment": {"promised_at": 5}}, {"preference": {"ideal": {}, "received": None, "attribute": 5}}, {"info": {"field": []}},
    {"type": "survey.responded", "survey": {"score": "x"}}, {"type": "survey.responded", "survey": {"score": "9.5"}},
    {"type": "page.viewed", "survey": {"score": "x"}}, {"type": "order.completed", "commerce": {"lines": [{"price": "x"}]}},
    {"type": "order.completed", "commerce": {"lines": [{"quantity": -1}]}},
    {"type": "checkout.started", "commerce": {"lines": [{"price": "x"}]}},
    {"type": "contact.handled", "handling": {"wait_seconds": "x"}}, {"type": "contact.ended", "handling": {"wait_seconds": -1}},
    {"type": "contact.handled", "handling": {"wait_seconds": True}}, {"type": "contact.ended", "handling": {"wait_seconds": -0.0001}},
    {"type": "contact.ended", "handling": {"wait_seconds": -0.002}},
    {"type": "contact.handled", "handling": {"wait_seconds": None}}, {"type": "contact.ended", "handling": {"wait_seconds": "12.5"}},
    {"type": "case.opened", "handling": {"wait_seconds": "x"}},
    *({"type": "preference.stated", "preference": {"attribute": "price", "distance": d, "weight": w}}
      for d, w in ((1 / 3, 1 / 300), (1 / 812, 1e-5), (0.0005, 5e-324), (1e-9, 1e15), (0.0005000000000000001, 0.0014999999999999996),
                   (0.0015, 0.0004999999999999999))),
    *({"type": "survey.responded", "survey": {"instrument": "other", "brands": brands, "rank": rank}}
      for brands, rank in ((3.0, 1.0), (3, 2.5), (1e15, -0.0), (1e16, 1), (4.0, 1e300), (1e-9, 1))),
    {"type": "product.searched", "search": {"results": 0.0}}, {"type": "contact.handled", "handling": {"bot_fallbacks": 2.0}},
    {"outcome": 5}, {"type": "preference.stated", "preference": {"attribute": "a", "ideal": [1, 2], "received": [1, 2]}},
    {"type": "shipment.created", "fulfilment": {"promised_at": "soon"}},
    {"type": "contract.due", "contract": {"due_at": "2026-02-30T00:00:00Z"}},
    {"issue": {"due_at": 5}}, {"issue": {"due_at": "tomorrow"}}, {"issue": {"due_at": ""}}, {"issue": {"due_at": "2026-02-28T00:00:00Z"}},
    {"type": "shipment.created", "fulfilment": {"promised_at": ""}}, {"type": "wallet.declared", "wallet": {"own": "1e5"}},
    {"type": "wallet.declared", "wallet": {"competitors": 1e5}}, {"type": "preference.stated", "preference": {"weight": "x"}},
]  # fmt: skip
_REST = b'"time":"2026-01-01T00:30:00Z","channel":"web","customer_id":"c"'
VALUES: list[bytes | None] = [
    b'{"type":"page.viewed","type":"checkout.started",%b}' % _REST, b'{"type":"page.viewed",%b,}' % _REST, b"[]", b"null", b'"x"', b"5",
    b"", None, b"{", b"\xff", b'{"a":"\xff","type":"page.viewed",%b}' % _REST, b'{"type":"page.viewed","n":NaN,%b}' % _REST,
    b'{"type":"page.viewed","n":1e999,"m":123456789012345678901234567890,%b}' % _REST, b"\xef\xbb\xbf{}",
    b'{"type":"page.viewed","n":%b,%b}' % (b"[" * 255 + b"]" * 255, _REST),
    b'{"type":"page.viewed","n":%b,%b}' % (b"[" * 256 + b"]" * 256, _REST),
    b'{"type":"page.viewed","id":"\\ud800",%b}' % _REST, b'{"type":"page.viewed","issue":{"reason":"a","reason":5},%b}' % _REST,
    b'{"type":"page.viewed","p":"%b",%b}' % (b"y" * (1 << 20), _REST),
]  # fmt: skip
BINARY = b'{"channel": "web", "customer_id": "c"}'
HEADERS: list[list[tuple[str, bytes]]] = [
    [("ce_type", b"page.viewed"), ("ce_time", b"2026-01-01T00:31:00Z"), ("ce_id", b"b1")], [("ce_type", b"page.viewed")],
    [("ce_type", b"page.viewed"), ("ce_time", b"2026-01-01T00:32:00Z")], [("ce_type", b""), ("ce_time", b"2026-01-01T00:33:00Z")],
    [("ce_type", b"\xff"), ("ce_time", b"2026-01-01T00:34:00Z")], [("ce_time", b"2026-01-01T00:35:00Z")],
]  # fmt: skip
KEYS = [None, b"", b"z", b"\xff", b"c" * 129]


def values() -> list[bytes | None]:
    """Each of its own minute, so that one mistake cannot make up for another."""
    fields: list[dict[str, Any]] = [*FIELDS, *({"time": time} for time in TIMES), *({"commerce": {"revenue": r}} for r in REVENUES)]
    base = {"customer_id": "c", "channel": "web", "type": "page.viewed", "source": "s"}
    made = [{**base, "time": f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z", "id": str(n), **more} for n, more in enumerate(fields)]
    return [json.dumps(event).encode() for event in made] + VALUES


def test_every_record_is_taken_for_the_same() -> None:
    log = [Record(0, off, ARRIVAL_MS, b"c", value) for off, value in enumerate(values())]
    log += [Record(0, len(log) + n, ARRIVAL_MS, b"c", BINARY, headers) for n, headers in enumerate(HEADERS)]
    log += [Record(0, len(log) + n, ARRIVAL_MS, key, log[0].value) for n, key in enumerate(KEYS)]
    # Nothing is late: the greatest event time is that of the first of them.
    wanted = parse(DEFINITIONS.text.replace("revision = 1", 'revision = 1\nallowed_lateness = "3650d"'))
    end_ms = ARRIVAL_MS + 10**9
    mine = count(log, wanted, used_dimensions(wanted), begin_ms=0, end_ms=end_ms)
    assert differing(mine, log, wanted, end_ms) == {}
    reasons = {
        "invalid_json",
        "oversize",
        "wrong_type",
        "missing_field",
        "invalid_time",
        "missing_customer",
        "unkeyed",
        "misrouted",
        "future",
    }
    assert {f"dead_{reason}" for reason in reasons} <= set(mine.records)
    assert mine.records["applied"] > 40


def test_a_log_begins_in_1970_for_both() -> None:
    """What is older is late, though it is the first that comes."""
    base = {"customer_id": "c", "channel": "web", "type": "contact.started", "source": "s"}
    times = ["0001-01-01T00:00:00Z", "1950-01-01T00:00:00Z", "1969-12-31T23:59:30Z", "1970-01-01T00:00:10Z", "2026-01-01T00:00:00Z"]
    log = [Record(0, n, ARRIVAL_MS, b"c", json.dumps({**base, "id": str(n), "time": time}).encode()) for n, time in enumerate(times)]
    end_ms = ARRIVAL_MS + 10**9
    mine = count(log, DEFINITIONS, used_dimensions(DEFINITIONS), begin_ms=0, end_ms=end_ms)
    assert differing(mine, log, DEFINITIONS, end_ms) == {}
    assert (mine.records["late"], mine.records["applied"]) == (3, 2)
