"""Whatever stands in a definitions file: it can be used, or everything wrong with it is told with its line."""

from __future__ import annotations

import tomllib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.authoring import advice
from streamer.definitions import Definitions, default_text, examine
from streamer.journeys.processor import JourneysProcessor
from streamer.rollup.processor import RollupProcessor

LINES = default_text().splitlines()
NUMBERS = ["0", "-1", "1", "9223372036854775808", "1_000", "0.5", "-0.0", "inf", "nan", "1e308", "true"]
TEXTS = [
    '""',
    '"x"',
    '"journey"',
    '"checkout"',
    '"*"',
    '".*"',
    '"case.*"',
    '"a\\u0000b"',
    '"é"',
    '"abandon_rate"',
    '"customer"',
    '"critical"',
]
DURATIONS = ['"30m"', '"0s"', '"0001d"', '"99999999999999999999d"', "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z"]
LISTS = ["[]", "[[]]", '[""]', '["5m", "5m"]', '["journey", "journey"]', '["step"]', "[1, 2.5]", "{}", "{ a = 1 }", '{ web = "x" }']
CONDITIONS = ['"value > 1"', '"value > "', '"1 / 0 > 1"', "'journey == \"x\"'", '"lower > 0.1 and upper < 0.9"']
VALUES = st.sampled_from([*NUMBERS, *TEXTS, *DURATIONS, *LISTS, *CONDITIONS])
ASSIGNMENTS = [number for number, line in enumerate(LINES) if " = " in line and not line.startswith("#")]


def values_of(text: str) -> st.SearchStrategy[str]:
    return st.one_of(VALUES, st.text(max_size=8).map(lambda inner: f"'{inner}'"), st.just(text))


@st.composite
def edited(draw: st.DrawFn) -> str:
    """The default file after some edits: other values, lines gone, doubled, or misspelt."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.sampled_from(ASSIGNMENTS))
        key, _, value = lines[at].partition(" = ")
        match draw(st.integers(0, 7)):
            case 0:
                lines[at] = ""
            case 1:
                lines[at] = f"{key}x = {value}"
            case 2:
                lines[at] = draw(st.text(max_size=20))
            case 3:
                lines[at] = draw(st.sampled_from(LINES))
            case _:
                lines[at] = f"{key} = {draw(values_of(value))}"
    return "\n".join(lines)


@given(edited())
@example(default_text().replace("repeat_contact = 3", "repeat_contact = nan"))
@settings(max_examples=150, deadline=None)
def test_an_edited_file_can_be_used_or_its_faults_are_told(text: str) -> None:
    found = examine(text)
    if isinstance(found, list):
        assert found
        assert all(1 <= problem.line <= text.count("\n") + 1 and problem.message for problem in found), found
        assert found == sorted(found)
        return
    assert isinstance(found, Definitions)
    JourneysProcessor(found, partition=0, partitions=1).restore(())
    RollupProcessor(found, partition=0, partitions=1, build="").restore(())
    assert all(problem.message for problem in advice.warnings(found))


@given(st.one_of(st.text(max_size=200), st.text(alphabet="[]{}=.\"'#\n ab1,", max_size=60)))
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused_with_its_faults(text: str) -> None:
    found = examine(text)
    assert isinstance(found, list), "no such text has a revision"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert len(found) == 1
