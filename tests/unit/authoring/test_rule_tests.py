"""`streamer rules test`: the notation, what is compared, and the tests of the default rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.authoring import notation, rule_tests
from streamer.authoring.rule_tests import RuleTests
from streamer.definitions import default
from streamer.errors import DefinitionsError, InputError

if TYPE_CHECKING:
    from typer.testing import Result

ROOT = Path(__file__).parents[3]
DEFAULT = ROOT / "streamer" / "default.rules-test.toml"
RULES = """\
revision = 1
windows = ["1h"]
[[rule]]
id = "twice"
on = "customer"
when = "contacts >= 2"
[[rule]]
id = "many"
metric = "contacts"
windows = ["1h"]
when = "value >= 4"
"""
TEST = """\
definitions = "rules.toml"
[[test]]
name = "two contacts"
events = [
  '10:00:00 c-1 contact.started {"channel": "phone"}',
  '10:05:00 c-1 contact.started {"channel": "phone"}',
]
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application("rules"), ["rules", "test", *arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(RULES)
    return tmp_path


def outcome_of(here: Path, expectation: str, *arguments: str) -> Result:
    (here / "t.toml").write_text(TEST + expectation)
    return run("t.toml", *arguments)


def test_the_default_rules_do_what_their_tests_say() -> None:
    done = run(str(DEFAULT))
    assert [line for line in done.stdout.splitlines() if not line.endswith(": OK")] == ["69 tests, 0 failed"]
    assert done.exit_code == 0


def test_every_default_rule_is_tested_firing_and_not_firing() -> None:
    tests = rule_tests.load(DEFAULT.read_text())
    assert isinstance(tests, RuleTests)
    rules = {rule.id for rule in default().rule}
    fires = {one.rule for test in tests.test for one in test.expect}
    # Of a rule that is expected no other firing may come: then one customer fires and another does not.
    among_others = {one.rule for test in tests.test for one in test.expect if one.customer and "c-2" in str(notation.arrivals(test.events))}
    assert fires == rules
    assert among_others | {rule for test in tests.test for rule in test.none} == rules


@pytest.mark.parametrize(
    "expectation",
    [
        'expect = [{ rule = "twice" }]',
        'expect = [{ rule = "twice", state = "firing", at = "10:05:00", customer = "c-1", severity = "warning" }]',
        'expect = [{ rule = "twice", at = "2026-11-21T10:05:00Z" }]\nnone = ["many"]',
        'none = ["many"]',
        'expect = [{ rule = "twice" }]\nuntil = "10:05:01"',
        'expect = [{ rule = "twice", state = "resolved" }, { rule = "twice" }]\nuntil = "2026-11-25T10:00:00"',
    ],
)
def test_what_is_as_expected_is_ok(expectation: str, here: Path) -> None:
    done = outcome_of(here, expectation)
    assert (done.exit_code, done.stdout) == (0, "t.toml:2: two contacts: OK\n1 test, 0 failed\n")


@pytest.mark.parametrize(
    ("expectation", "lines"),
    [
        (
            'expect = [{ rule = "twice", at = "10:06:00" }]',
            [
                '    expected: rule "twice" firing, at 10:06:00',
                '    not expected: rule "twice" firing, warning, at 10:05:00, customer c-1',
                '    got: rule "twice" firing, warning, at 10:05:00, customer c-1',
            ],
        ),
        (
            'none = ["twice"]',
            [
                '    not expected: rule "twice" firing, warning, at 10:05:00, customer c-1',
                '    got: rule "twice" firing, warning, at 10:05:00, customer c-1',
            ],
        ),
        ('expect = [{ rule = "many" }]', ['    expected: rule "many" firing', "    got: nothing of these rules"]),
        (
            'expect = [{ rule = "twice" }, { rule = "twice" }]',
            ['    expected: rule "twice" firing', '    got: rule "twice" firing, warning, at 10:05:00, customer c-1'],
        ),
        ('expect = [{ rule = "twice" }]\nuntil = "10:04:00"', ['    expected: rule "twice" firing', "    got: nothing of these rules"]),
    ],
)
def test_what_is_not_as_expected_is_told(expectation: str, lines: list[str], here: Path) -> None:
    done = outcome_of(here, expectation)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == ["t.toml:2: two contacts: FAILED", *lines, "1 test, 1 failed"]


def test_an_aggregate_rule_is_told_by_its_slice_and_second(here: Path) -> None:
    (here / "t.toml").write_text(
        'definitions = "rules.toml"\n[[test]]\nname = "four"\n'
        "events = ['10:0{0..3}:00 c-{1..1} contact.started']\n"
        'expect = [{ rule = "many", slice = {}, at = "10:03:00" }]\n'
    )
    done = run("t.toml", "--json")
    assert done.exit_code == 0
    (test,) = json.loads(done.stdout)["tests"]
    assert test["told"][0] == {"rule": "many", "state": "firing", "severity": "warning", "at": "10:03:00", "slice": {}}


def test_the_expectation_that_says_more_takes_its_pick_first(here: Path) -> None:
    (here / "t.toml").write_text(TEST.replace("c-1", "c-{1..2}") + 'expect = [{ rule = "twice" }, { rule = "twice", customer = "c-1" }]\n')
    assert run("t.toml").exit_code == 0


def test_only_tests_of_a_name_and_other_definitions(here: Path) -> None:
    (here / "other.toml").write_text(RULES.replace("contacts >= 2", "contacts >= 3"))
    assert outcome_of(here, 'none = ["twice"]', "--definitions", "other.toml").exit_code == 0
    assert outcome_of(here, 'none = ["twice"]', "--name", "two").stdout.endswith("1 test, 1 failed\n")


@pytest.mark.parametrize(("name", "said"), [("nothing", "known are two contacts"), ("two contact ", 'did you mean "two contacts"?')])
def test_a_name_that_no_test_has_is_refused(name: str, said: str, here: Path) -> None:
    error = outcome_of(here, 'none = ["twice"]', "--name", name).exception
    assert isinstance(error, InputError)
    assert str(error) == f"--name {name!r}: no test of t.toml has this in its name: {said}"


def test_a_file_without_a_test_is_refused(here: Path) -> None:
    (here / "t.toml").write_text('definitions = "rules.toml"\ntest = []\n')
    error = run("t.toml").exception
    assert isinstance(error, InputError)
    assert str(error) == "t.toml: there is no test in it"


@pytest.mark.parametrize(
    ("expectation", "sentence"),
    [
        ("", 't.toml:2: test "two contacts": expects nothing: it needs `expect` or `none`'),
        ('none = ["twic"]', 't.toml:2: test "two contacts": no rule is called "twic": did you mean "twice"?'),
        ('expect = [{ rule = "twice", at = "10:05" }]', 't.toml:8: test "two contacts": `at`: expected a time such as 10:00:00'),
        ('expect = [{ rule = "twice", custmer = "c" }]', 't.toml:8: test "two contacts": unknown key "custmer": did you mean "customer"?'),
        ('expect = [{ rule = "twice", state = "fired" }]', "`state`: expected one of"),
        ('none = ["many"]\nuntil = "noon"', 't.toml:9: test "two contacts": `until`: expected a time such as 10:00:00'),
        ('none = ["many"]\n[[test]]\nname = "b"\nevents = []\nnone = ["many"]', 't.toml:11: test "b": `events` is empty'),
        (
            'none = ["many"]\n[[test]]\nname = "b"\nnone = ["many"]\nevents = [\n"10:00:00 c-1",\n"10:00:00 c-1 x {a}",\n"10 c-1 x"]',
            't.toml:13: test "b": expected `time customer type {...}`, got \'10:00:00 c-1\'; t.toml:14: test "b": expected',
        ),
        (
            'none = ["many"]\n[[test]]\nname = "b"\nnone = ["many"]\nevents = [\'10:00:00 c-1 contact.started {"chanel": "web"}\']',
            "is read in part: Object contains unknown field `chanel`",
        ),
        (
            'none = ["many"]\n[[test]]\nname = "b"\nnone = ["many"]\nevents = [\'10:00:00 c-1 contact.started {"time": "noon"}\']',
            "would be a dead letter",
        ),
        (
            'none = ["many"]\n[[test]]\nname = "b"\nnone = ["many"]\nevents = ["10:00:00 c-{5..1} contact.started"]',
            "{5..1} is no range of 1 to 10000 numbers",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_where(expectation: str, sentence: str, here: Path) -> None:
    exception = outcome_of(here, expectation).exception
    assert isinstance(exception, InputError)
    assert sentence in str(exception)


def test_definitions_that_cannot_be_used_are_an_error(here: Path) -> None:
    (here / "rules.toml").write_text("revision = 1\nx = 1")
    assert isinstance(outcome_of(here, 'none = ["many"]').exception, DefinitionsError)
    assert isinstance(outcome_of(here, 'none = ["many"]', "--definitions", "absent.toml").exception, DefinitionsError)


def test_ranges_are_combined_and_the_same_range_is_the_same_number() -> None:
    found = notation.arrivals(['10:00:00 c-{1..2} x.y {"issue": {"issue_id": "i-{1..2}-{3..4}"}}'])
    events = [json.loads(one.value or b"") for one in found]
    assert [(event["customer_id"], event["issue"]["issue_id"]) for event in events] == [
        ("c-1", "i-1-3"), ("c-1", "i-1-4"), ("c-2", "i-2-3"), ("c-2", "i-2-4"),
    ]  # fmt: skip
    assert len({event["id"] for event in events}) == 4


def test_an_event_may_arrive_later_than_it_happened() -> None:
    first, second = notation.arrivals(["10:00:00@10:20:00 c-1 x.y", "10:10:00 c-1 x.y"])
    assert [notation.shown(one.arrival_ms) for one in (first, second)] == ["10:10:00", "10:20:00"]
    assert json.loads(second.value or b"")["time"] == "2026-11-21T10:00:00Z"


@pytest.mark.parametrize("text", ["10:00:00", "10:00:00.250", "2026-11-22T10:00:00"])
def test_a_time_is_shown_as_it_is_written(text: str) -> None:
    assert notation.shown(notation.time_ms(text)) == text
