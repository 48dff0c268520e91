"""TOML texts, and where their keys stand. The standard parser does not say, and messages need it.

`locate` needs a text that `parse_toml` accepts: then a small scan is enough, because nothing in it has to be judged.
"""

from __future__ import annotations

import re
import sys
import tomllib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

# Some editors begin a file with it, to say that it is UTF-8.
_BYTE_ORDER_MARK: Final = "\ufeff"
# Nobody writes so many tables or lists into each other, and what walks through them by calling itself gets to their end.
_DEPTH_MAX: Final = 100
_TOO_DEEP: Final = "no TOML that can be read: it is nested too deeply"

# From the root: keys of tables, indexes of lists. `("rule", 3, "when")` is the key `when` of the fourth [[rule]].
Path = tuple[str | int, ...]

_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY_STRING: Final = re.compile(r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'")
# The three quotes that end a text of several lines may follow one or two that belong to it.
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")|' + r"'''.*?'{3,5}(?!')|" + r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_PLAIN: Final = re.compile(r"[^,\]}#\r\n]+")
# How msgspec ends a message: "... - at `$.sink[0].labels[...]`". Of a key that nobody knows it names the table around it.
_STATED: Final = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")


class Place(NamedTuple):
    """Both from 1; of a key, a table's header or an element of a list."""

    line: int
    column: int


class UnreadableError(ValueError):
    """A text is no TOML, or none that can be read; from `place` on."""

    def __init__(self, message: str, place: Place) -> None:
        self.place = place
        super().__init__(message)


def parse_toml(text: str) -> dict[str, Any]:
    """The content of a TOML text, which a byte order mark may precede. Raises UnreadableError."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        content = tomllib.loads(text)
    except RecursionError as exc:
        raise UnreadableError(_TOO_DEEP, Place(1, 1)) from exc
    except ValueError as exc:
        raise _unreadable(text, exc) from exc
    if _is_deep(content):
        raise UnreadableError(_TOO_DEEP, Place(1, 1))
    return content


def _is_deep(content: dict[str, Any]) -> bool:
    level: list[Any] = [content]
    for _ in range(_DEPTH_MAX):
        level = [
            part for value in level for part in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        ]
    return bool(level)


def locate(text: str) -> dict[Path, Place]:
    """The places of all tables, keys and elements of lists. `text` must have been accepted by `parse_toml`."""
    scan = _Scan(text.removeprefix(_BYTE_ORDER_MARK))
    scan.document()
    return scan.found


def nearest_place(places: dict[Path, Place], path: Path) -> Place:
    """The place of a path, or of the nearest table around it that was written down; else the first line."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return Place(1, 1)


class PlacedError(ValueError):
    """What is wrong with the part of a file that is at `path`."""

    def __init__(self, message: str, path: Path) -> None:
        self.path = path
        super().__init__(message)


@contextmanager
def at(*path: str | int) -> Iterator[None]:
    """A ValueError in here is about what is at `path`, unless it says so of another place."""
    try:
        yield
    except PlacedError:
        raise
    except ValueError as exc:
        raise PlacedError(str(exc), path) from exc


def sentence(file: object, text: str, error: ValueError) -> str:
    """`file:line: what is wrong`, of an error of `parse_toml`, of msgspec, or of `at`."""
    if isinstance(error, UnreadableError):
        return f"{file}:{error.place.line}: {error}"
    path = error.path if isinstance(error, PlacedError) else _stated(str(error))
    return f"{file}:{nearest_place(locate(text), path).line}: {error}"


def _unreadable(text: str, error: ValueError) -> UnreadableError:
    """The parser's error, which has the place in the end of its message, for people."""
    if "integer string conversion" in str(error):  # the parser passes on what `int` says of more digits than Python reads
        digits = re.search(rf"[0-9_]{{{sys.get_int_max_str_digits()},}}", text)
        line = text.count("\n", 0, digits.start()) + 1 if digits else 1
        return UnreadableError("no TOML that can be read: a number has thousands of digits", Place(line, 1))
    found = re.fullmatch(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
    if found is None:
        return UnreadableError(f"no TOML: {error}", Place(1, 1))
    line = int(found[2] or text.count("\n") + 1)
    column = int(found[3] or len(text) - text.rfind("\n"))
    return UnreadableError(f"no TOML: {found[1][:1].lower()}{found[1][1:]}", Place(line, column))


def _stated(message: str) -> Path:
    found = _STATED.search(message)
    steps = _STEP.findall(found["path"]) if found else []
    return (*(key or int(index) for key, index in steps), *_UNKNOWN.findall(message))


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, Place] = {}
        self._lists: dict[Path, int] = {}
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> None:
        table: Path = ()
        self._skip(_SPACE)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Go past what the pattern matches here, and return it."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"the text at character {self.at} is no TOML")
        self.at = match.end()
        return match[0]

    def _note(self, path: Path, at: int) -> None:
        line = bisect_right(self._starts, at)
        self.found.setdefault(path, Place(line, at - self._starts[line - 1] + 1))

    def _header(self) -> Path:
        start = self.at
        doubled = self.text.startswith("[[", self.at)
        self.at += 2 if doubled else 1
        path: Path = ()
        keys = self._keys()
        for number, (key, _) in enumerate(keys):
            path = (*path, key)
            if doubled and number == len(keys) - 1:
                self._lists[path] = self._lists.get(path, -1) + 1
                self._note(path, start)
            if path in self._lists:
                path = (*path, self._lists[path])
            self._note(path, start)
        self.at += 2 if doubled else 1
        return path

    def _keys(self) -> list[tuple[str, int]]:
        """A dotted key's parts, and where each begins."""
        keys = []
        while True:
            self._skip(_BLANK)
            start = self.at
            if self.text[self.at] in "\"'":
                quoted = self._skip(_KEY_STRING)
                keys.append((next(iter(tomllib.loads(f"{quoted} = 0"))), start))
            else:
                keys.append((self._skip(_BARE_KEY), start))
            self._skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def _pair(self, table: Path) -> None:
        path = table
        for key, start in self._keys():
            path = (*path, key)
            self._note(path, start)
        self.at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        match self.text[self.at]:
            case "[":
                self._list(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_PLAIN)

    def _list(self, path: Path) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_SPACE)
            if self.text[self.at] == "]":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._note((*path, index), self.at)
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while True:
            self._skip(_SPACE)
            if self.text[self.at] == "}":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
