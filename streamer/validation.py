"""From parsed TOML to structures, with everything that is wrong rather than the first thing.

A structure's own `__post_init__` says what is wrong with it by `ValueError`, or by `PartError` if it is several things or is about
one of its keys.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from streamer.durations import Duration, Part, parse_duration
from streamer.errors import DefinitionsError
from streamer.suggestions import hint, quoted
from streamer.toml_places import Path, UnreadableError, locate, nearest_place, parse_toml

P = TypeVar("P", bound=Part)
_WRONG: Final = object()  # in place of a value
# Python writes no number of more than 4,300 digits, and nobody reads one.
_SHOWN_BITS_MAX: Final = 1_000
_64_BITS: Final = (-(2**63), 2**63 - 1)


class Remark(NamedTuple):
    """One thing that is wrong. key: of the structure, if it is about one. part: the structure, if not the one that says so.

    element: its number, if the key is a list. given: a key of the file by which this is judged: if that one is wrong itself, nothing
    can be said.
    """

    message: str
    key: str = ""
    part: Part | None = None
    given: str = ""
    element: int | None = None

    def under(self, path: Path) -> Path:
        """Where it is, of a structure that is at `path`."""
        keyed = (*path, self.key) if self.key else path
        return keyed if self.element is None else (*keyed, self.element)


class PartError(ValueError):
    """What is wrong with a structure, all of it."""

    def __init__(self, remarks: Iterable[Remark]) -> None:
        self.remarks = list(remarks)
        super().__init__("; ".join(remark.message for remark in self.remarks))


def refuse(remarks: Iterator[Remark]) -> None:
    """Raise `PartError` if there is a remark."""
    found = list(remarks)
    if found:
        raise PartError(found)


class Fault(NamedTuple):
    """A remark about a place in the file."""

    path: Path
    message: str


class Problem(NamedTuple):
    """Something wrong, and where in the file."""

    line: int
    column: int
    message: str


class Reader:
    """Makes structures of one file; `faults` are all that was wrong so far."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._paths: dict[int, Path] = {}

    def fields(self, kind: type[Part], raw: dict[str, Any], path: Path = (), hidden: tuple[str, ...] = ()) -> dict[str, Any]:
        """The values of those fields that are right; of a list of tables those that are. hidden: fields that are no keys."""
        known = {field.encode_name: field for field in _fields(kind) if field.name not in hidden}
        values = {}
        for key, value in raw.items():
            field = known.get(key)
            if field is None:
                self._fault((*path, key), f"unknown key {quoted(key)}: {hint(key, known)}")
                continue
            found = self._value(field.type, value, (*path, key))
            if found is not _WRONG:
                values[field.name] = found
        for key, field in known.items():
            if field.required and key not in raw:
                self._fault(path, f"`{key}` is missing")
        return values

    def remarks(self, remarks: Iterable[Remark], path: Path = ()) -> None:
        """Take over what a structure at `path` says of itself or of its parts."""
        wrong = {fault.path[0] for fault in self.faults if fault.path}
        for remark in remarks:
            if remark.given not in wrong:
                at = path if remark.part is None else self._paths.get(id(remark.part), path)
                self._fault(remark.under(at), remark.message)

    def _fault(self, path: Path, message: str) -> None:
        self.faults.append(Fault(path, message))

    def _value(self, kind: Any, value: Any, path: Path) -> Any:
        kind = without_none(kind)
        if isinstance(kind, type) and issubclass(kind, Part):
            return self._part(kind, value, path)
        if get_origin(kind) is tuple:
            return self._list(get_args(kind)[0], value, path)
        if get_origin(kind) is dict:
            return self._mapping(get_args(kind)[1], value, path)
        if isinstance(value, float) and not math.isfinite(value):
            self._fault(path, f"{_name(path)}: expected a finite number, got {value}")
            return _WRONG
        try:
            if kind is Duration and isinstance(value, str):
                return parse_duration(value)
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            wanted = msgspec.inspect.type_info(kind)
            self._fault(path, f"{_name(path)}: expected {_described(wanted)}, got {_shown(value)}{_meant(wanted, value)}")
        except ValueError as exc:
            self._fault(path, f"{_name(path)}: {exc}")
        return _WRONG

    def _part(self, kind: type[Part], raw: Any, path: Path) -> Any:
        if not isinstance(raw, dict):
            self._fault(path, f"{_name(path)}: expected a table, got {_shown(raw)}")
            return _WRONG
        before = len(self.faults)
        values = self.fields(kind, raw, path)
        broken = {fault.path[len(path)] for fault in self.faults[before:] if len(fault.path) > len(path)}
        if any(field.required and field.name not in values for field in _fields(kind)):
            return _WRONG
        try:
            # What is broken has its default for now, so that what else is wrong is said too.
            part = kind(**values)
        except PartError as exc:
            self.remarks((remark for remark in exc.remarks if remark.key not in broken), path)
        except (ValueError, DefinitionsError) as exc:
            key = _key_named(str(exc), raw)
            if not broken or (key and broken.isdisjoint(key)):
                self._fault((*path, *key), str(exc))
        else:
            if len(self.faults) > before:
                return _WRONG
            self._paths[id(part)] = path
            return part
        return _WRONG

    def _list(self, kind: Any, raw: Any, path: Path) -> Any:
        tables = isinstance(kind, type) and issubclass(kind, Part)
        if not isinstance(raw, list):
            what = f"a table [[{path[-1]}]]" if tables else f"a list, each {_described(msgspec.inspect.type_info(kind))}"
            self._fault(path, f"{_name(path)}: expected {what}, got {_shown(raw)}")
            return _WRONG
        values = [self._value(kind, value, (*path, index)) for index, value in enumerate(raw)]
        right = tuple(value for value in values if value is not _WRONG)
        return right if tables or len(right) == len(values) else _WRONG

    def _mapping(self, kind: Any, raw: Any, path: Path) -> Any:
        if not isinstance(raw, dict):
            self._fault(path, f"{_name(path)}: expected a table, got {_shown(raw)}")
            return _WRONG
        values = {key: self._value(kind, value, (*path, key)) for key, value in raw.items()}
        return _WRONG if _WRONG in values.values() else values


def read(kind: type[P], text: str, *, given: dict[str, Any] | None = None, meanwhile: dict[str, Any] | None = None) -> P | list[Problem]:
    """The structure of a whole TOML text, or everything that is wrong with it, from top to bottom.

    given: fields that are no keys of the file. meanwhile: values for required keys that are wrong, so that what the other parts
    contradict is said as well.
    """
    try:
        raw = parse_toml(text)
    except UnreadableError as exc:
        return [Problem(*exc.place, str(exc))]
    reader = Reader()
    values = {**(meanwhile or {}), **reader.fields(kind, raw, hidden=tuple(given or ())), **(given or {})}
    if all(field.name in values for field in _fields(kind) if field.required):
        try:
            made = kind(**values)
        except PartError as exc:
            reader.remarks(exc.remarks)
        else:
            if not reader.faults:
                return made
    return placed(text, raw, reader.faults)


def placed(text: str, raw: dict[str, Any], faults: Iterable[Fault]) -> list[Problem]:
    """Faults with the places they are about, in their order. raw: the parsed text."""
    places = locate(text)
    return sorted({Problem(*nearest_place(places, fault.path), _labelled(raw, fault)) for fault in faults})


def _labelled(raw: dict[str, Any], fault: Fault) -> str:
    """The message, after whose it is: `rule "checkout-abandonment": ...`."""
    message = fault.message
    match fault.path:
        case [str(table), int(index), *_]:
            part = raw[table][index]
            if not isinstance(part, dict):
                return message
            name = part.get("id") or part.get("name")
            if not isinstance(name, str):
                return f"{table} {index + 1}: {message}"
            message = message.removeprefix(f"{table} {name!r}").removeprefix(f"{table} {quoted(name)}").removeprefix(":").lstrip()
            return f"{table} {quoted(name)}: {message}"
        case [str(table), *_] if isinstance(raw.get(table), dict):
            return f"[{table}]: {message.removeprefix(f'{table}: ')}"
        case _:
            return message


@cache
def _fields(kind: type[Part]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def without_none(kind: Any) -> Any:
    """TOML has no null: what may be None may be left out."""
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [member for member in get_args(kind) if member is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _name(path: Path) -> str:
    """The key that a message is about: `` `windows`, item 2 ``."""
    if isinstance(path[-1], int) and len(path) > 1:
        return f"`{path[-2]}`, item {path[-1] + 1}"
    return f"`{path[-1]}`"


def _key_named(message: str, raw: dict[str, Any]) -> tuple[str, ...]:
    """The first of the table's keys that a message has in backticks."""
    named = [word for word in message.split("`")[1::2] if word in raw]
    return tuple(named[:1])


def _meant(kind: msgspec.inspect.Type, value: Any) -> str:
    if isinstance(kind, msgspec.inspect.LiteralType) and isinstance(value, str):
        return f": {near}" if (near := hint(value, map(str, kind.values))).startswith("did you") else ""
    whole = isinstance(kind, msgspec.inspect.IntType) and (kind.ge, kind.le) == _64_BITS
    if whole and isinstance(value, int) and value.bit_length() > 63:
        return f": at most {2**63 - 1} can be kept" if value > 0 else f": at least {-(2**63)} can be kept"
    return ""


def _shown(value: Any) -> str:
    """A value of the file, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS_MAX:
        return "a far larger one"
    return "a list" if isinstance(value, list) else str(value)


def _described(kind: msgspec.inspect.Type) -> str:
    """What a key takes, in words."""
    match kind:
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(quoted(str(value)) for value in values)
        case msgspec.inspect.CustomType(cls=cls) if cls is Duration:
            return 'a duration such as "30s", "30m", "24h" or "7d"'
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType(ge=least, le=most) if (least, most) == _64_BITS:
            return "a whole number"  # nobody means a larger one
        case msgspec.inspect.IntType(ge=least, le=most):
            return "a whole number" + _bounds(least, most)
        case msgspec.inspect.FloatType(ge=least, le=most):
            return "a number" + _bounds(least, most)
        case msgspec.inspect.StrType(pattern=pattern):
            return "a text" if pattern is None else f"a text that matches {pattern}"
        case _:
            return "something else"


def _bounds(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least is not None else f" of at most {most}" if most is not None else ""
