"""Mapping files: how the columns of somebody's history become touchpoints. Format: docs/reference/mapping.md.

Each `[[touchpoint]]` block whose conditions a row meets makes one touchpoint, so a row may make none or several. Ids are made of
the row's place in the file and the block's, so that reading a file twice gives the same ids.
"""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from streamer import toml_places
from streamer.alerts.times import rfc3339
from streamer.errors import InputError
from streamer.replay.mapping_time import Time, time_parser
from streamer.suggestions import hint, quoted
from streamer.touchpoints.catalogue import CHANNELS
from streamer.touchpoints.key import key_of
from streamer.touchpoints.model import Data
from streamer.touchpoints.money import AMOUNT_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from streamer.replay.sources import Row

Scalar = str | int | float | bool | msgspec.Raw


def _fields(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, type[object]]]:
    """(name, what a column's text is read as) of a structure's fields, those of its parts with dots; without lists and free objects."""
    for field in msgspec.structs.fields(kind):
        told = typing.get_args(field.type)[0] if typing.get_origin(field.type) is typing.Annotated else field.type
        options = typing.get_args(told) or (told,)
        parts = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
        if parts:
            yield from _fields(parts[0], f"{prefix}{field.name}.")
        elif not any(typing.get_origin(option) in (list, dict) for option in options if option is not bool):
            plain = [typing.get_args(option)[0] if typing.get_origin(option) is typing.Annotated else option for option in options]
            yield prefix + field.name, next((kind for kind in (float, bool, int) if kind in plain), object if Any in plain else str)


# The canonical event's fields a mapping may fill; the envelope is made here. A log seldom says which context went along with a
# handoff, at most whether: the decoder takes a boolean for the list. Of the purposes that may be consented to, one is read.
FIELDS: Final = dict(_fields(Data)) | {"handoff.context_passed": bool, "consent.categories.analytics": bool}
_PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
_REFERENCE: Final = "docs/reference/mapping.md"
# A whole number, also as columns that may be empty have it (3.0), and a number as JSON writes it.
_WHOLE: Final = re.compile(r"(-?[0-9]{1,16})(?:\.0+)?")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# What a field takes: in words, and whether a constant is it. `bool` is a kind of `int` to Python, not to us.
_KINDS: Final[dict[type[object], tuple[str, Callable[[Any], bool]]]] = {
    str: ("text", lambda value: type(value) is str),
    bool: ("true or false", lambda value: type(value) is bool),
    int: ("a whole number", lambda value: type(value) is int or (type(value) is float and value.is_integer())),
    float: ("a number", lambda value: type(value) in (int, float, msgspec.Raw) or _is_amount(value)),
    object: ("a value", lambda value: True),
}
# Not orjson: what it returns keeps its whole 4 KiB buffer allocated, which a history of a million events would feel.
_encode = msgspec.json.Encoder().encode


def _is_amount(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(AMOUNT_PATTERN, value) is not None


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file: closed, so that a misspelt key is an error."""


class Csv(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a CSV file is written."""

    delimiter: str = ","
    encoding: str = "utf-8-sig"

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1:
            raise ValueError(f"csv: `delimiter` is one character, not {self.delimiter!r}")


class Block(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of touchpoint. when: column -> the value, or one of the values, it must have; all must hold."""

    type: str
    when: dict[str, str | list[str]] = {}
    first_of_case: bool = False
    fields: dict[str, Any]


class MappingFile(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. source: CloudEvents source of the touchpoints; case: the column `first_of_case` refers to."""

    source: str
    time: Time
    case: str | None = None
    csv: Csv = Csv()
    tables: dict[str, dict[str, str | int | float | bool]] = {}
    touchpoint: tuple[Block, ...]


class Lookup(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field's value from a table: of the column's text, else the default, else the field is left out."""

    column: str
    table: str
    default: str | int | float | bool | None = None


class Event(msgspec.Struct, frozen=True):
    """One touchpoint made of a row. time_ms: event time; order: its place in the file; value: canonical flat JSON."""

    time_ms: int
    order: tuple[int, int]
    key: bytes | None
    value: bytes


class _Compiled(msgspec.Struct, frozen=True):
    type: str
    conditions: list[tuple[str, frozenset[str]]]
    first_of_case: bool
    fields: list[tuple[tuple[str, ...], Callable[[Mapping[str, str]], Scalar | None]]]


class HistoryMapping:
    """A validated mapping file.

    columns: every column it names. needs_first: whether `first_rows` must be known before `events` is asked.
    """

    def __init__(self, spec: MappingFile) -> None:
        self.source = spec.source
        self.case = spec.case
        self.csv = spec.csv
        self.needs_first = any(block.first_of_case for block in spec.touchpoint)
        self.columns: set[str] = {spec.time.column}
        self._time_column = spec.time.column
        with toml_places.at("time"):
            self._parse_time = time_parser(spec.time)
        self._blocks = []
        for number, block in enumerate(spec.touchpoint, start=1):
            with toml_places.at("touchpoint", number - 1):
                self._blocks.append(self._compile(block, number, spec))
        if self.needs_first and spec.case is None:
            raise ValueError("`first_of_case` needs `case`, the column that names a row's case")
        if spec.case is not None:
            self.columns.add(spec.case)
        if not self._blocks:
            raise ValueError("there is no [[touchpoint]] block")

    def has_time(self, row: Row) -> bool:
        """Whether something stands in the column of the time."""
        return bool(row.columns.get(self._time_column))

    def time_ms(self, row: Row) -> int:
        """Event time of a row in milliseconds since the epoch. Raises InputError."""
        text = row.columns.get(self._time_column)
        if text is None:
            raise InputError(
                f"{row.place}: no column {self._time_column!r}, which is to have the time, among {row.names}:"
                " correct the mapping's `time`, or of a CSV file `csv.delimiter`"
            )
        if not text:
            raise InputError(f"{row.place}: the column {self._time_column!r}, which is to have the time, is empty")
        try:
            return self._parse_time(text)
        except (ValueError, OverflowError) as exc:
            raise InputError(f"{row.place}: the time {text!r} cannot be read: {exc}") from exc

    def events(self, row: Row, *, first_of_case: bool = False) -> Iterator[Event]:
        """The touchpoints of one row. Raises InputError for a time that cannot be read."""
        time_ms: int | None = None
        columns = row.columns
        for number, block in enumerate(self._blocks):
            if block.first_of_case and not first_of_case:
                continue
            if any(columns.get(column) not in values for column, values in block.conditions):
                continue
            if time_ms is None:
                time_ms = self.time_ms(row)
            yield self._event(block, row, time_ms, number)

    def _event(self, block: _Compiled, row: Row, time_ms: int, number: int) -> Event:
        event: dict[str, Any] = {
            "id": f"{row.position}.{number + 1}",
            "source": self.source,
            "type": block.type,
            "time": rfc3339(time_ms),
            "sequence": row.position * len(self._blocks) + number,
        }
        for path, value_of in block.fields:
            value = value_of(row.columns)
            if value is None:
                continue
            target = event
            for name in path[:-1]:
                target = target.setdefault(name, {})
            target[path[-1]] = value
        customer, visitor = (str(event[name]) if event.get(name) else None for name in ("customer_id", "anonymous_id"))
        key = key_of(block.type, customer, visitor)
        try:
            return Event(time_ms, (row.position, number), key.encode() if key else None, _encode(event))
        except UnicodeEncodeError as exc:
            raise InputError(f"{row.place}: has half of a character that takes two: is `csv.encoding` right?") from exc

    def _compile(self, block: Block, number: int, spec: MappingFile) -> _Compiled:
        where = f"touchpoint {number} ({block.type})"
        fields = {}
        for path, value in _leaves(block.fields):
            name = ".".join(path)
            with toml_places.at("touchpoint", number - 1, "fields", *path):
                if name not in FIELDS:
                    raise ValueError(f"{where}: unknown field {quoted(name)}; {hint(name, FIELDS, _REFERENCE)}")
                if (place := tuple(name.split("."))) in fields:
                    raise ValueError(f"{where}: the field {quoted(name)} is given twice")
                fields[place] = self._value(value, FIELDS[name], f"{where}: {name}", spec)
        if ("customer_id",) not in fields and ("anonymous_id",) not in fields:
            raise ValueError(f"{where}: needs the field customer_id or anonymous_id")
        channel = block.fields.get("channel")
        if channel is None or (isinstance(channel, str) and "{" not in channel and channel not in CHANNELS):
            raise ValueError(f"{where}: the field channel must be one of {', '.join(CHANNELS)}")
        self.columns.update(block.when)
        conditions = [(column, frozenset([value] if isinstance(value, str) else value)) for column, value in block.when.items()]
        return _Compiled(block.type, conditions, block.first_of_case, list(fields.items()))

    def _value(self, value: Any, kind: type[object], where: str, spec: MappingFile) -> Callable[[Mapping[str, str]], Scalar | None]:
        if isinstance(value, dict):
            lookup = msgspec.convert(value, Lookup)
            if lookup.table not in spec.tables:
                raise ValueError(f"{where}: unknown table {quoted(lookup.table)}; {hint(lookup.table, spec.tables)}")
            self.columns.add(lookup.column)
            table, column, default = spec.tables[lookup.table], lookup.column, lookup.default
            _check_constants((*table.values(), default), kind, where)
            return lambda columns: table.get(columns.get(column, ""), default)
        if isinstance(value, str):
            template = self._template(value, where)
            if not _PLACEHOLDER.search(value):
                _check_constants((_read(value, kind),), kind, where)
            return lambda columns: _read(template(columns), kind)
        if isinstance(value, (bool, int, float)):
            _check_constants((value,), kind, where)
            return lambda _: value
        raise ValueError(f"{where}: expected text, a number, true, false or {{ column, table }}")

    def _template(self, text: str, where: str) -> Callable[[Mapping[str, str]], str | None]:
        """Text with `{column}` replaced; the field is left out when one of its columns is empty or absent."""
        names = _PLACEHOLDER.findall(text)
        if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
            raise ValueError(f"{where}: {quoted(text)} has a brace that is not of a pair around a column's name, as in {{column}}")
        self.columns.update(names)
        if not names:
            return lambda _: text
        if text == f"{{{names[0]}}}":
            column = names[0]
            return lambda columns: columns.get(column) or None

        def interpolate(columns: Mapping[str, str]) -> str | None:
            if not all(columns.get(name) for name in names):
                return None
            return _PLACEHOLDER.sub(lambda match: columns[match[1]], text)

        return interpolate


def load(path: Path) -> HistoryMapping:
    """The mapping of a file. Raises InputError with one sentence: which file, where in it, what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{path}: the mapping file cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{path}: is not UTF-8") from exc
    try:
        return HistoryMapping(msgspec.convert(toml_places.parse_toml(text), MappingFile))
    except ValueError as exc:  # msgspec's own errors are ValueErrors
        raise InputError(toml_places.sentence(path, text, exc)) from exc


def _leaves(fields: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, value) of each field; `{ column, table }` is a value, every other table holds fields."""
    for name, value in fields.items():
        if isinstance(value, dict) and "column" not in value:
            yield from _leaves(value, (*prefix, name))
        else:
            yield (*prefix, name), value


def _check_constants(values: Iterable[Scalar | None], kind: type[object], where: str) -> None:
    """Raises ValueError for a value that no event may have there, and for a number that JSON cannot write."""
    for value in values:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where}: expected a finite number, got {value}")
        if value is not None and not _KINDS[kind][1](value):
            raise ValueError(f"{where}: expected {_KINDS[kind][0]}, got {quoted(str(value))}")


def _read(text: str | None, kind: type[object]) -> Scalar | None:
    """A column's text as a number, true or false; what is none stays text, and its event becomes a dead letter that says so."""
    if text is not None and kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if text is not None and kind is int and (whole := _WHOLE.fullmatch(text)):
        return int(whole[1])
    if text is not None and kind is float and _NUMBER.fullmatch(text):
        return msgspec.Raw(text.encode())  # with all its digits
    return text
