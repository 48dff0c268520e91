"""The recount: counters and metrics from the raw log in SQL, and nothing of the processors.

What the statements mean stands in `sql/`, written from docs/reference. Shared with the product are only declarations: the parsed
definitions file, and the names of counters, metrics, dimensions, channels and event types.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.errors import InputError
from streamer.metrics.catalogue import CHAPTERS
from streamer.verify.ranges import WHOLE, Range
from streamer.verify.raw_log import Clocks, Record, as_columns
from streamer.verify.rules import Holding, Refusal, Spell, holdings, obstacle, refusals, spells
from streamer.verify.tables import tables, used_dimensions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from streamer.definitions import Definitions

SQL: Final = resources.files("streamer.verify") / "sql"
# Records handed over at a time: their values are in memory twice while they are.
_ROWS_AT_ONCE: Final = 20_000
# Nothing outside the log is read, and nothing is downloaded.
_CLOSED: Final = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "enable_external_access": "false"}
# DuckDB's threads share work by groups of so many rows. Of fewer records there is nothing to share, and two threads take a fifth more CPU.
_ROW_GROUP: Final = 122_880
_ALONE: Final = {"threads": "1"}

Place = tuple[str, tuple[str, ...], int]  # counter, values of the used dimensions, pane
Series = tuple[str, tuple[str, ...], tuple[str, ...], str]  # metric, dimensions and values of the slice, window


class Sample(NamedTuple):
    """A metric: numerator, sample size, value (None while undefined), 95 % bounds (None where it has none)."""

    k: int
    n: int
    value: float | None
    lower: float | None
    upper: float | None


class Recount(NamedTuple):
    """What the SQL says.

    dimensions: names of a cell's values. sums: without zeros. records: how many had which outcome, dead letters by reason. holdings:
    by entity rule, where its condition holds; spells: from when until when it fires. refusing: the customers who refused analytics at any
    time, from when until when.
    """

    dimensions: tuple[str, ...]
    sums: Mapping[Place, int]
    metrics: Mapping[Series, Sample]
    records: Mapping[str, int]
    holdings: Mapping[str, Sequence[Holding]]
    spells: Mapping[str, Sequence[Spell]]
    refusing: Mapping[str, Sequence[Refusal]]


def statements(definitions: Definitions) -> list[str]:
    """The SQL in the order in which it runs, of chapters that are on; the last one, of entity signals, only where these are wanted."""
    off = {f"61_{chapter}.sql" for chapter in CHAPTERS.keys() - definitions.chapters}
    files = sorted((part for part in SQL.iterdir() if part.name.endswith(".sql") and part.name not in off), key=lambda part: part.name)
    return [part.read_text(encoding="utf-8") for part in files]


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends a statement as it ends everything else: DuckDB makes an error of its own of it."""
    try:
        yield
    except RuntimeError as exc:
        if str(exc) != "Query interrupted":
            raise
        raise KeyboardInterrupt from exc


@interruptible()
def recount(
    records: Sequence[Record], definitions: Definitions, clocks: Clocks, sql: Sequence[str] | None = None, *, signals: bool = False,
    within: Range = WHOLE,
) -> Recount:  # fmt: skip
    """Recount a log.

    sql: other statements, for tests that break one. signals: of entity rules too. within: what metrics are of.

    Raises:
        InputError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as exc:
        raise InputError("verify needs DuckDB, which is not installed here: pip install duckdb") from exc
    schema, *rest, of_entities = sql or statements(definitions)
    with duckdb.connect(config={**_CLOSED, **(_ALONE if len(records) < _ROW_GROUP else {})}) as connection:
        connection.begin()  # once: 300 statements that commit one by one take a sixth longer
        connection.execute(schema)
        load(connection, records, tables(definitions, clocks, within))
        for statement in [*rest, of_entities] if signals else rest:
            connection.execute(statement)
        return _result(connection, definitions, signals=signals)


def load(connection: duckdb.DuckDBPyConnection, records: Sequence[Record], rows_of: Mapping[str, list[list[Any]]]) -> None:
    """Fill the tables of `00_schema.sql`."""
    for first in range(0, len(records), _ROWS_AT_ONCE):
        _insert(connection, "raw", as_columns(records[first : first + _ROWS_AT_ONCE]))
    for table, rows in rows_of.items():
        _insert(connection, table, [list(column) for column in zip(*rows, strict=True)])


def _insert(connection: duckdb.DuckDBPyConnection, table: str, columns: list[list[Any]]) -> None:
    """A parameter of each column; one of each value takes three times as long."""
    if columns:
        marks = ", ".join("unnest(?)" for _ in columns)
        connection.execute(f"INSERT INTO {table} SELECT {marks}", columns)


def _result(connection: duckdb.DuckDBPyConnection, definitions: Definitions, *, signals: bool) -> Recount:
    def fetched(query: str) -> list[tuple[Any, ...]]:
        return connection.execute(query).fetchall()

    slices = list(definitions.breakdowns)
    known = [rule for rule in definitions.rule if rule.entity and not obstacle(rule)] if signals else []
    return Recount(
        used_dimensions(definitions),
        {(counter, tuple(cell), pane): n for counter, cell, pane, n in fetched("SELECT counter, cell, pane, n FROM sums WHERE n <> 0")},
        {
            (metric, slices[number], tuple(values), window): Sample(k, n, value, *(bounds or (None, None)))
            for metric, number, values, window, k, n, value, bounds in fetched(
                'SELECT metric, slice_no, label_values, "window", k, n, "value", bounds FROM metrics'
            )
        },
        dict(
            fetched(
                "SELECT outcome, count(*) FROM records GROUP BY outcome"
                " UNION ALL SELECT 'dead_' || reason, count(*) FROM records WHERE outcome = 'dead_lettered' GROUP BY reason"
            )
        ),
        {rule.id: holdings(rule, fetched) for rule in known},
        {rule.id: spells(rule, definitions.timezone, fetched) for rule in known},
        refusals(fetched) if signals else {},
    )
