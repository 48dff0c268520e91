"""A history in DuckDB: the touchpoints as the recount reads them, and what the questions share, orders and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import duckdb

from streamer.analysis.report import counted
from streamer.errors import InputError
from streamer.verify.raw_log import Clocks
from streamer.verify.recount import SQL, interruptible, load
from streamer.verify.sources import records_of
from streamer.verify.tables import tables

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.replay.history import History

DAY_MS: Final = 86_400_000
# How far the recount's statements are run: what the events are, or what becomes of journeys, cases and issues too.
_LAST: Final = {"touchpoints": "10", "journeys": "60"}
# Of journeys also what these chapters find in them, if they are on: friction and effort that others would not call so.
_FINDERS: Final = ("digital", "service")
_EFFORT_FOUND: Final = "69_effort.sql"
_NOTHING_ELSE: Final = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "enable_external_access": "false"}

# Amounts are in hundredths of their currency's unit. An order id that comes again is the same order, and one that was cancelled never was.
_ORDERS: Final = """
CREATE TABLE amounts AS
SELECT key, t, place, type, ids['order_id'] AS order_id, revenue_minor, details,
    round(abs(revenue_minor) * 100 / pow(10, digits))::BIGINT AS hundredths,
    upper(coalesce(details ->> '$.commerce.currency', '')) AS currency
FROM events WHERE type IN ('order.completed', 'order.refunded', 'order.cancelled');

CREATE TABLE told_orders AS
FROM amounts WHERE type = 'order.completed'
QUALIFY order_id = '' OR row_number() OVER (PARTITION BY key, order_id ORDER BY place) = 1;

CREATE TABLE standing AS
FROM told_orders o WHERE revenue_minor >= 0 AND NOT EXISTS (
    FROM amounts c WHERE c.type = 'order.cancelled' AND c.key = o.key AND c.order_id = o.order_id AND c.order_id <> '' AND c.place > o.place
);
"""
# Of an order that stands a refund is in its currency, and without an amount it gives back what was left; one of an order that is not in
# the history is what it says it is.
_REFUNDS: Final = """
CREATE TABLE refunds AS
SELECT o.key, r.t, o.place AS order_place, o.currency, CASE
    WHEN r.revenue_minor IS NOT NULL THEN r.hundredths
    WHEN count(*) FILTER (r.revenue_minor IS NULL) OVER before = 0
        THEN greatest(0, o.hundredths - coalesce(sum(r.hundredths) OVER before, 0))
    ELSE 0 END AS hundredths
FROM standing o JOIN amounts r ON r.key = o.key AND r.order_id = o.order_id AND r.place > o.place
WHERE o.order_id <> '' AND r.type = 'order.refunded' AND (r.revenue_minor IS NULL OR r.currency IN ('', o.currency))
WINDOW before AS (PARTITION BY o.key, o.place ORDER BY r.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
UNION ALL
SELECT key, t, NULL, currency, hundredths FROM amounts r
WHERE type = 'order.refunded' AND revenue_minor IS NOT NULL AND NOT EXISTS (
    FROM told_orders o WHERE o.key = r.key AND o.order_id = r.order_id AND o.order_id <> '' AND o.place < r.place
);
"""
# What was spent, in units of its currency: orders that stand, and refunds as they come.
_SPENT: Final = """
CREATE TABLE spent AS
SELECT key, t, hundredths / 100 AS amount, currency, true AS is_order FROM standing
UNION ALL
SELECT key, t, -hundredths / 100, currency, false FROM refunds
"""
# Answers by measure, as the chapter `surveys` takes them: NPS in whole points of 0-10, CES 2.0 on 1-7, CSAT on any scale, stretched to 1-5.
# A scope that is not told is `experience`. band: 0 is the worst, 2 the best; None is off the scale, and no answer.
_ANSWERS: Final = """
CREATE TABLE told_answers AS
SELECT key, t, place, instrument, scope, CASE
        WHEN NOT coalesce(least < most AND least >= -100000 AND most <= 100000 AND hundredths BETWEEN least AND most, false) THEN NULL
        WHEN instrument = 'nps' AND least = 0 AND most = 1000 AND hundredths % 100 = 0
            THEN CASE WHEN hundredths >= 900 THEN 2 WHEN hundredths > 600 THEN 1 ELSE 0 END
        WHEN instrument = 'ces' AND version = '2.0' AND least = 100 AND most = 700
            THEN CASE WHEN hundredths >= 500 THEN 2 WHEN hundredths > 300 THEN 1 ELSE 0 END
        WHEN instrument = 'csat' AND least = 100 AND most = 500
            THEN CASE WHEN hundredths >= 400 THEN 2 WHEN hundredths > 200 THEN 1 ELSE 0 END
        WHEN instrument = 'csat'
            THEN CASE WHEN (hundredths - least) * 1000 >= satisfied * (most - least) THEN 2
                      WHEN (hundredths - least) * 1000 > (1000 - satisfied) * (most - least) THEN 1 ELSE 0 END
        END AS band,
    (CASE WHEN instrument = 'csat' THEN 1 + 4.0 * (hundredths - least) / (most - least) ELSE hundredths / 100.0 END)::DOUBLE AS score
FROM (
    SELECT *, coalesce(fixed(details ->> '$.survey.scale_min', 2), CASE WHEN instrument = 'nps' THEN 0 ELSE 100 END) AS least,
        coalesce(fixed(details ->> '$.survey.scale_max', 2),
                 CASE WHEN instrument = 'nps' THEN 1000 WHEN instrument = 'ces' AND version = '2.0' THEN 700 ELSE 500 END) AS most
    FROM (
        SELECT key, t, place, details, fixed(details ->> '$.survey.score', 2) AS hundredths,
            dimension(details ->> '$.survey.instrument') AS instrument, dimension(details ->> '$.survey.ces_version') AS version,
            coalesce(nullif(dimension(details ->> '$.survey.scope'), ''), 'experience') AS scope
        FROM events WHERE type = 'survey.responded' AND details ->> '$.survey.score' IS NOT NULL
    )
), (SELECT coalesce(fixed(setting('surveys', 'satisfied_share'), 3), 750) AS satisfied)
WHERE instrument IN ('nps', 'csat', 'ces');

CREATE TABLE answers AS SELECT * FROM told_answers WHERE band IS NOT NULL;
"""


# From the worst to the best: what the number of an answer's band means.
BANDS: Final = {
    "nps": ("Detractors (0-6)", "Passives (7-8)", "Promoters (9-10)"),
    "csat": ("Dissatisfied (1-2)", "Neutral (3)", "Satisfied (4-5)"),
    "ces": ("Hard (1-3)", "Neutral (4)", "Easy (5-7)"),
}
_SCALES: Final = {"nps": "whole points of 0-10", "csat": "their own scale", "ces": "1-7 of version 2.0"}


class Measure(NamedTuple):
    """A score: the instrument and scope of a survey. Different ones are never pooled."""

    instrument: str
    scope: str

    @property
    def bands(self) -> tuple[str, ...]:
        """Their names, from the worst to the best."""
        return BANDS[self.instrument]

    def __str__(self) -> str:
        return f"{self.instrument.upper()} ({self.scope})"


class Log(NamedTuple):
    """A history ready to be asked. begin_ms, end_ms: the first and last event time of what counts."""

    connection: duckdb.DuckDBPyConnection
    definitions: Definitions
    begin_ms: int
    end_ms: int

    @interruptible()
    def rows(self, query: str, parameters: object = None) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.connection.execute(query, parameters).fetchall()

    @interruptible()
    def run(self, statements: str) -> None:
        """Run more of the recount's statements, by the name of their file."""
        self.connection.execute((SQL / statements).read_text(encoding="utf-8"))

    def check(self, measure: Measure) -> None:
        """Raises InputError if nobody answered the measure, naming those that were."""
        found = self.rows("SELECT instrument, scope, count(*) FROM answers GROUP BY ALL ORDER BY 3 DESC, 1, 2")
        if measure not in [(instrument, scope) for instrument, scope, _ in found]:
            there = ", ".join(f"--score {instrument} --scope {scope} ({n})" for instrument, scope, n in found)
            off = " ".join(["", *self.off_scale(measure)])
            raise InputError(f"no answers to {measure} in this file; it has {there or 'no answers to any survey'}{off and '.' + off}")

    def off_scale(self, measure: Measure) -> list[str]:
        """A note of the answers to a measure that are none, if there are any."""
        ((n,),) = self.rows("SELECT count(*) FROM told_answers WHERE band IS NULL AND instrument = ? AND scope = ?", list(measure))
        which = f"off the scale, which is {_SCALES[measure.instrument]}"
        return [f"{counted(n, 'answer')} to {measure} left out: {which}."] if n else []

    def currency(self, wanted: str | None) -> tuple[str, str]:
        """The currency that is meant, by default the most frequent; and what was left out, for a note. Raises InputError."""
        found = self.rows("SELECT currency, count(*) FROM spent WHERE is_order GROUP BY 1 ORDER BY 2 DESC, 1")
        if not found:
            raise InputError("this file has no order.completed with a revenue: there is no spend to look at")
        chosen = found[0][0] if wanted is None else wanted.upper()
        if chosen not in [currency for currency, _ in found]:
            there = ", ".join(f"{currency or 'none'} ({n})" for currency, n in found)
            raise InputError(f"no orders in {chosen}; there are {there}")
        others = sum(n for currency, n in found if currency != chosen)
        return chosen, f"{others:,} orders in other currencies than {chosen or 'none'} are left out." if others else ""


@interruptible()
def opened(history: History, definitions: Definitions, until: Literal["touchpoints", "journeys"] = "touchpoints") -> Log:
    """A history in a database of its own, in memory. What the decoder refuses is left out, and duplicates."""
    connection = duckdb.connect(config=dict(_NOTHING_ELSE))
    files = {part.name[:2]: part for part in SQL.iterdir() if part.name[:2] <= _LAST[until] and part.name[2:3] == "_"}
    schema, touchpoints, *rest = (files[number].read_text(encoding="utf-8") for number in sorted(files))
    connection.execute(schema)
    load(connection, records_of(history), tables(definitions, Clocks({0: history.end_ms + 1_000})))
    connection.execute(touchpoints)
    begin_ms, end_ms = _span(connection)
    for statement in [*rest, _ORDERS, _REFUNDS, _SPENT, _ANSWERS]:
        connection.execute(statement)
    log = Log(connection, definitions, begin_ms, end_ms)
    if until == "journeys":
        for chapter in _FINDERS:
            if chapter in definitions.chapters:
                log.run(f"61_{chapter}.sql")
        log.run(_EFFORT_FOUND)
    return log


def _span(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """The times of the first and last event that counts; the clock is set by the last, because a line that is refused may be years away."""
    (begin_ms, end_ms) = connection.execute("SELECT min(t), max(t) FROM events").fetchone() or (None, None)
    if begin_ms is None:
        raise InputError("no line of this file is an event that counts: `streamer events check` says what is wrong")
    clock = end_ms + 1_000
    connection.execute("UPDATE ends SET clock = ?", [clock])
    connection.execute("UPDATE settings SET clock = ?, decided = (?::BIGINT // 1000 - 1) * 1000", [clock, clock])
    connection.execute("UPDATE settings SET windows_at = decided")
    return int(begin_ms), int(end_ms)
