"""Readers of history files: XES (IEEE 1849), CSV and JSON lines, each also gzipped, as plain rows of text. `-` is standard input.

A row is a flat dictionary from column to text. Columns of XES: the event's attributes by their key, the trace's as `case:<key>`.
Columns of JSON lines: nested objects joined with dots. Rows come in the file's order; reading needs memory for one trace or line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import sys
import zlib
from collections import Counter
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Final, NamedTuple, cast

import msgspec
from lxml import etree

from streamer.errors import InputError
from streamer.suggestions import LISTED_MAX, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS: Final = {".xes": "xes", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
# Longer lines and texts are refused: the product's own limit for an event is 1 MiB.
LINE_BYTES_MAX: Final = 16 << 20
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_VALUE_TAGS: Final = frozenset({"string", "date", "int", "float", "boolean", "id"})


class Row(NamedTuple):
    """One row of a history file. position: its number, from 1. place: for messages: file and line, of XES file and number."""

    position: int
    columns: dict[str, str]
    place: str

    @property
    def names(self) -> str:
        """Its columns, for messages."""
        return ", ".join(map(quoted, islice(self.columns, LISTED_MAX))) + (", ..." if len(self.columns) > LISTED_MAX else "")


def kind_of(path: Path) -> str:
    """`xes`, `csv` or `jsonl`, by the file's name; standard input has JSON lines. Raises InputError for any other."""
    if is_stdin(path):
        return "jsonl"
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = KINDS.get(suffixes[-1]) if suffixes else None
    if kind is None and path.is_dir():
        raise InputError(f"{path} is a directory: name a file")
    if kind is None:
        raise InputError(f"{path}: unknown kind of file; known are .xes, .csv, .jsonl, .ndjson and .json, each also with .gz")
    return kind


def is_stdin(path: Path) -> bool:
    """Whether `-` was given as the file: it can be read once."""
    return str(path) == "-"


def read_rows(path: Path, *, delimiter: str = ",", encoding: str = "utf-8-sig") -> Iterator[Row]:
    """The rows of a file, in its order. delimiter, encoding: of a CSV file. Raises InputError with the place of what cannot be read."""
    kind = kind_of(path)
    if kind == "xes":
        return _xes_rows(path)
    if kind == "csv":
        return _csv_rows(path, delimiter, encoding)
    return (_flat_row(path, number, line) for number, line in read_lines(path))


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line without its end) of each line that is not blank; a byte order mark is no part of it. Raises InputError."""
    with _opened(path) as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            if len(line) > LINE_BYTES_MAX:
                raise InputError(f"{path}:{number}: the line is longer than {LINE_BYTES_MAX >> 20} MiB")
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if stripped := line.strip():
                yield number, stripped


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unzipped. Errors of the operating system and of gzip become InputError."""
    if is_stdin(path):
        if sys.stdin is None:
            raise InputError("-: standard input is closed: name a file, or send the lines there")
        yield sys.stdin.buffer
        return
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast("IO[bytes]", file)
    except (OSError, EOFError, zlib.error) as exc:  # BadGzipFile is an OSError
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise InputError(f"{path}: cannot be read: {reason}") from exc


def _flat_row(path: Path, number: int, line: bytes) -> Row:
    columns: dict[str, str] = {}
    try:
        line.decode()  # the strings that are skipped are not looked into
        _flatten(_members(line), "", columns)
    except msgspec.ValidationError as exc:
        raise InputError(f"{path}:{number}: expected a JSON object per line") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}:{number}: is not JSON: {exc}") from exc
    except RecursionError as exc:
        raise InputError(f"{path}:{number}: objects are nested too deep") from exc
    return Row(number, columns, f"{path}:{number}")


def _flatten(members: dict[str, msgspec.Raw], prefix: str, columns: dict[str, str]) -> None:
    """A number keeps its text: ids may have more digits than a float."""
    for key, raw in members.items():
        name, text = prefix + key, bytes(raw)
        if text.startswith(b"{"):
            _flatten(_members(text), f"{name}.", columns)
        elif text.startswith(b'"'):
            columns[name] = msgspec.json.decode(text, type=str)
        elif text != b"null":
            columns[name] = _written(text)


def _written(text: bytes) -> str:
    """A value as JSON writes it, without spaces and escapes; its numbers keep their digits."""
    if text.startswith(b"["):
        return f"[{','.join([_written(bytes(item)) for item in _items(text)])}]"
    if text.startswith(b"{"):
        return f"{{{','.join([f'{_quoted(name)}:{_written(bytes(item))}' for name, item in _members(text).items()])}}}"
    return _quoted(msgspec.json.decode(text, type=str)) if text.startswith(b'"') else text.decode()


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _csv_rows(path: Path, delimiter: str, encoding: str) -> Iterator[Row]:
    csv.field_size_limit(LINE_BYTES_MAX)  # the mail in a ticket is soon larger than the 128 KiB that are preset
    with _opened(path) as file, _text(path, file, encoding) as lines:
        reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
        try:
            _check_header(path, reader)
            for number, columns in enumerate(reader, start=1):
                if None in columns or None in columns.values():
                    raise InputError(f"{path}:{reader.line_num}: the row has not as many fields as the header")
                yield Row(number, columns, f"{path}:{reader.line_num}")
        except csv.Error as exc:
            raise InputError(f"{path}:{reader.line_num}: {exc}") from exc
        except UnicodeDecodeError as exc:
            raise InputError(f"{path}: is not {exc.encoding} (after line {reader.line_num}): name its encoding in the mapping") from exc


def _check_header(path: Path, reader: csv.DictReader[str]) -> None:
    """Columns without a name, which separators at the end of lines make, may be several: nothing can refer to them."""
    twice = [name for name, times in Counter(reader.fieldnames).items() if name and times > 1]
    if twice:
        raise InputError(
            f"{path}:{reader.line_num}: the header has the column {quoted(twice[0])} more than once: give each a name of its own"
        )


def _text(path: Path, file: IO[bytes], encoding: str) -> io.TextIOWrapper:
    try:
        return io.TextIOWrapper(file, encoding=encoding, newline="")
    except (LookupError, ValueError) as exc:
        raise InputError(f"{path}: unknown encoding {encoding!r}") from exc


def _xes_rows(path: Path) -> Iterator[Row]:
    """Rows of an XES log, one trace in memory at a time. A document type is refused: entities are how XML bombs are built."""
    position = 0
    with _opened(path) as file:
        parser = etree.iterparse(
            file, events=("end",), tag="{*}trace", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
        )
        try:
            for _, trace in parser:
                log = trace.getparent()
                if log is None or log.getparent() is not None:
                    raise InputError(f"{path}: is not an XES log: a <trace> stands elsewhere than in the <log>")
                if log.getroottree().docinfo.doctype:
                    raise InputError(f"{path}: a document type declaration is not accepted in an XES file")
                for columns in _trace_rows(trace):
                    position += 1
                    yield Row(position, columns, f"{path}: row {position}")
                trace.clear()
                while trace.getprevious() is not None:  # what the parser has left behind may go, the current element may not
                    del log[0]
        except etree.XMLSyntaxError as exc:
            raise InputError(f"{path}: is not well-formed XML: {exc}") from exc


def _trace_rows(trace: etree._Element) -> Iterator[dict[str, str]]:
    case = {f"case:{key}": value for key, value in _attributes(trace)}
    for child in trace:
        if _local(child) == "event":
            yield case | dict(_attributes(child))


def _attributes(element: etree._Element) -> Iterator[tuple[str, str]]:
    for child in element:
        if _local(child) in _VALUE_TAGS:
            key, value = child.get("key"), child.get("value")
            if key is not None and value is not None:
                yield key, value


def _local(element: etree._Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""  # a comment's tag is a function
