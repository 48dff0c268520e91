"""The locator knows the places of exactly the keys that the parser knows."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.definitions import default_text
from streamer.toml_places import Path, Place, UnreadableError, locate, nearest_place, parse_toml

ODD = """\
a.b."c.d" = [1, # x ] , "
 [2,"]"], {x=1, y.z="}"}]
'k'="\\"# no comment"
[[q.r]]
k=\"\"\"a"b
"" \\\"\" \"\"\"
m='''x
'''''
n=\"\"\"\"\"\"
[q.r.s]
t=1979-05-27 07:32:00 # c
[[q.r]]
[q.w]
z='' \r
"\\u00e4"=[ [ ] , ]
last=\"\""""


def paths(value: Any, before: Path = ()) -> Iterator[Path]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*before, key)
        yield from paths(inner, (*before, key))


def test_it_knows_every_key_of_the_default_file_and_its_line() -> None:
    text = default_text()
    places, lines = locate(text), text.splitlines()
    assert set(places) == set(paths(tomllib.loads(text)))
    for path, place in places.items():
        rest = lines[place.line - 1][place.column - 1 :]
        if isinstance(path[-1], str):
            assert rest.lstrip("[").partition(" ")[0].rstrip("]").endswith(path[-1]), path


def test_it_is_not_misled_by_brackets_and_quotes() -> None:
    places = locate(ODD)
    assert set(places) == set(paths(tomllib.loads(ODD)))
    assert places["a", "b", "c.d", 1, 0] == Place(2, 3)
    assert places["q", "r", 0, "m"].line == 7
    assert places["q", "r", 1].line == 12
    assert places["q", "w", "last"].line == 16


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse_toml("\ufeffa = 1\nb = 2") == {"a": 1, "b": 2}
    assert locate("\ufeffa = 1\nb = 2") == {("a",): Place(1, 1), ("b",): Place(2, 1)}
    with pytest.raises(UnreadableError) as caught:
        parse_toml("\ufeffa = ")
    assert caught.value.place == Place(1, 5)


@pytest.mark.parametrize("text", ["a = " + "[" * 99 + "]" * 99, "a." * 98 + "b = 1", "a = " + "{b = " * 98 + "1" + "}" * 98])
def test_what_is_nested_as_deep_as_anybody_may_is_found(text: str) -> None:
    assert set(locate(text)) == set(paths(parse_toml(text)))


@pytest.mark.parametrize("depth", [150, 470, 3_000])
def test_what_is_nested_deeper_is_refused(depth: int) -> None:
    for text in ("a = " + "[" * depth + "]" * depth, "a." * depth + "b = 1"):
        with pytest.raises(UnreadableError, match="nested too deeply"):
            parse_toml(text)


def test_of_what_was_not_written_it_is_the_nearest_table_around() -> None:
    places = locate("a = 1\n[b]\nc = 2\n")
    assert nearest_place(places, ("b", "d")) == Place(2, 1)
    assert nearest_place(places, ("x",)) == Place(1, 1)


KEYS = st.text(alphabet='ab."\\#[]= \té', max_size=4)
TEXTS = st.text(alphabet="ab\"'\\#[]{},=\n\té", max_size=8)


def string(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" if c in '"\\\n\t' else c for c in text) + '"'


def forms(text: str) -> list[str]:
    found = [string(text), '"""' + string(text)[1:-1] + '"""']
    if "'" not in text and "\n" not in text:
        found.append(f"'{text}'")
    if "'''" not in text and not text.endswith("'"):
        found.append(f"'''{text}'''")
    return found


SCALARS = st.one_of(
    TEXTS.flatmap(lambda text: st.sampled_from(forms(text))),
    st.sampled_from(["1", "-1.5e3", "true", "1979-05-27T07:32:00Z", "07:32:00", "inf"]),
)
SPACES = st.sampled_from(["", " ", "\n", " # ] \" '\n"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.tuples(SPACES, inner, SPACES), max_size=3).map(lambda items: "[" + ",".join("".join(item) for item in items) + "]"),
        st.dictionaries(KEYS, inner, max_size=2).map(
            lambda table: "{" + ", ".join(f"{string(key)} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=5,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    tables = draw(st.lists(st.tuples(st.booleans(), st.lists(KEYS, min_size=1, max_size=2)), max_size=4))
    for doubled, header in [(False, None), *tables]:
        if header is not None:
            name = ".".join(map(string, header))
            lines.append(f"[[{name}]]" if doubled else f"[ {name} ] # ]")
        lines += [f"{string(key)} = {value}" for key, value in draw(st.dictionaries(KEYS, VALUES, max_size=2)).items()]
    return "\n".join(lines)


@given(documents())
@settings(max_examples=150, deadline=None)
def test_it_agrees_with_the_parser_about_any_document(text: str) -> None:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a table twice, a newline in an inline table
        return
    assert set(locate(text)) == set(paths(raw))
