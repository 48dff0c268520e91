"""`streamer rules check`: everything wrong at once, with its line. tests/data/rules/*.txt are what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.authoring.advice import warnings
from streamer.definitions import Definitions, default_text, examine, parse
from streamer.errors import DefinitionsError, InputError
from streamer.validation import Problem

if TYPE_CHECKING:
    from typer.testing import Result

DATA = Path(__file__).parents[2] / "data" / "rules"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application("rules"), ["rules", *arguments])


def check(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(DATA)
    return run("check", *arguments)


def problems(text: str) -> list[Problem]:
    found = examine(text)
    assert isinstance(found, list), "nothing is wrong"
    return found


@pytest.mark.parametrize(("name", "code"), [("broken", 2), ("doubtful", 0)])
def test_the_output_is_what_it_was(name: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = check(monkeypatch, f"{name}.toml")
    assert printed.exit_code == code
    assert printed.stdout == (DATA / f"{name}.txt").read_text(), f"cd tests/data/rules && streamer rules check {name}.toml > {name}.txt"


def test_as_json_every_problem_has_its_line_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = check(monkeypatch, "broken.toml", "--json")
    told = json.loads(printed.stdout)
    assert (printed.exit_code, told["ok"], told["warnings"]) == (2, False, [])
    lines = (DATA / "broken.toml").read_text().splitlines()
    wrong = next(one for one in told["errors"] if "item 2" in one["message"])
    assert lines[wrong["line"] - 1][wrong["column"] - 1 :] == "3]"
    assert len(told["errors"]) == len((DATA / "broken.txt").read_text().splitlines()) - 1


def test_the_default_file_is_without_error_and_warning() -> None:
    printed = run("check", str(Path(__file__).parents[3] / "streamer" / "default.toml"), "--json")
    told = json.loads(printed.stdout)
    assert (printed.exit_code, told["ok"], told["errors"], told["warnings"]) == (0, True, [], [])
    assert told["digest"] == parse(default_text()).digest


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    assert isinstance(run("check", str(tmp_path / "absent.toml")).exception, InputError)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    assert isinstance(run("check", str(tmp_path / "latin.toml")).exception, InputError)


@pytest.mark.parametrize(
    ("text", "line", "column", "sentence"),
    [
        ("revision = 1\nx = ", 2, 5, "no TOML: invalid value"),
        ("revision = 1\n[a]\n[a]", 3, 3, "no TOML: cannot declare ('a',) twice"),
        ('revision = 1\nwindows = ["5m"', 2, 16, "no TOML: unclosed array"),
        ("[" * 10_000, 1, 3, "no TOML"),
        ("revision = 1\nrule = " + "[" * 3_000 + "]" * 3_000, 1, 1, "no TOML that can be read: it is nested too deeply"),
        ("", 1, 1, "`revision` is missing"),
        ("revision = true", 1, 1, "`revision`: expected a whole number, got true"),
        ("revision = 1\n[rule]\nid = 'x'", 2, 1, "[rule]: `rule`: expected a table [[rule]], got a table"),
        ("revision = 1\nrule = [1]", 2, 9, "`rule`, item 1: expected a table, got 1"),
        ("revision = 1\ncontacts = []", 2, 1, "`contacts`: expected a table, got a list"),
        ("revision = 1\nwindows = '5m'", 2, 1, "`windows`: expected a list, each a text, got \"5m\""),
        ("revision = 1\ndigest = 'x'", 2, 1, 'unknown key "digest": '),
        ("revision = 1\n[contacts.channel_groups]\nweb = 1", 3, 1, "[contacts]: `web`: expected a text, got 1"),
        ("revision = 1\n[commerce]\ncurrency = 'eur'", 3, 1, "[commerce]: `currency`: expected a text that matches ^[A-Z]{3}$"),
        ("revision = 1\n[effort]\nhigh = nan", 3, 1, "[effort]: `high`: expected a finite number, got nan"),
        ("revision = 1\n[effort]\nping_pong = -1", 3, 1, "[effort]: `ping_pong`: expected a number from 0 to 1000, got -1"),
        ("revision = 1\n[value]\ngoals_per_customer = 0", 3, 1, "[value]: `goals_per_customer`: expected a whole number of"),
    ],
)  # fmt: skip
def test_each_problem_says_where_and_what_was_expected(text: str, line: int, column: int, sentence: str) -> None:
    (found,) = problems(text)
    assert found.message.startswith(sentence)
    assert (found.line, found.column) == (line, column)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("9223372036854775808", "got 9223372036854775808: at most 9223372036854775807 can be kept"),
        ("-9223372036854775809", "got -9223372036854775809: at least -9223372036854775808 can be kept"),
        ("0x" + "f" * 5_000, "got a far larger one: at most 9223372036854775807 can be kept"),
    ],
    ids=["too large", "too small", "more digits than python writes"],
)
def test_a_revision_that_the_state_cannot_hold_is_refused(number: str, sentence: str) -> None:
    assert problems(f"revision = {number}\n") == [Problem(1, 1, f"`revision`: expected a whole number, {sentence}")]


def test_a_revision_that_the_state_can_hold_is_taken() -> None:
    assert parse(f"revision = {2**63 - 1}\n").revision == 2**63 - 1


def test_a_number_that_python_does_not_read_is_told_with_its_line() -> None:
    text = "windows = ['5m']\nrevision = " + "9" * 5_000
    assert problems(text) == [Problem(2, 1, "no TOML that can be read: a number has thousands of digits")]


def test_a_duration_of_thousands_of_digits_is_too_long() -> None:
    [problem] = problems(f'revision = 1\nwindows = ["{"9" * 5_000}s"]\n')
    assert problem.message.endswith(" is longer than 3650 days")
    assert parse(f'revision = 1\nwindows = ["{"0" * 5_000}5m"]\n').windows


def test_mistyped_types_and_journeys_that_cannot_end_are_warned_of() -> None:
    text = """revision = 1
windows = ["5m"]
[[journey]]
id = "a"
start = []
complete = []
[[journey]]
id = "b"
start = ["checkout.started"]
complete = ["checkout.started"]
[contacts]
started = ["contact.strated"]
[[pattern]]
id = "p"
events = ["chekout.started"]
within = "1h"
without = ["chekout.*"]
[[slice]]
by = []
[[rule]]
id = "r"
metric = "abandon_rate"
windows = ["5m"]
min_n = 50
when = "lower > 0.5"
clear = "channel == 'x'"
runbook = "x"
action = "y"
"""
    found = {(one.line, one.message) for one in warnings(parse(text))}
    assert found == {
        (5, 'journey "a": `start` is empty: it never begins'),
        (6, 'journey "a": `complete` is empty: whoever begins it abandons it or fails'),
        (10, 'journey "b": "checkout.started" both starts and completes it: none is ever completed by it'),
        (12, 'contacts: "contact.strated" is no known type: did you mean "contact.started"?'),
        (15, 'pattern "p": "chekout.started" is no known type: did you mean "checkout.started"?'),
        (17, 'pattern "p": no known type begins with "chekout.": did you mean "checkout.*"?'),
        (26, 'rule "r": `clear` "channel" is not in `by`, so it is always empty'),
    }


def test_what_is_wrong_already_is_not_said_again_of_what_depends_on_it() -> None:
    rule = '[[rule]]\nid = "a"\nmetric = "abandon_rate"\nby = ["journey"]\nwindows = ["5m"]\nwhen = "lower > 0.5"\n'
    assert [one.message for one in problems('revision = 1\nwindows = ["x"]\n[[slice]]\nby = ["journe"]\n' + rule)] == [
        '`windows`: expected a duration such as 30s, 30m, 24h or 7d, got "x"',
        'slice 1: unknown dimension "journe": did you mean "journey"?',
        'rule "a": uses the window "5m", which is not among `windows`: known are x',
    ]


def test_a_rule_with_a_wrong_key_is_still_looked_at_for_everything_else() -> None:
    text = 'revision = 1\n[[rule]]\nid = "a"\non = "customer"\nwhen = "contact >= 2"\nseverity = "bad"\ncooldown = 5\n'
    assert [(one.line, one.message.partition(":")[2].partition(":")[0].strip()) for one in problems(text)] == [
        (5, 'unknown name "contact" in "contact >= 2"'),
        (6, "`severity`"),
        (7, "`cooldown`"),
    ]


ACCOUNTS = 'accounts are customer data and never become labels of gauges: a rule that looks at them has `on = "account"` and a `metric`'
OF_ACCOUNTS = 'revision = 1\n[[rule]]\nid = "a"\non = "account"\nmetric = "contacts"\nwindows = ["5m"]\nwhen = "value > 1"\n'


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ('revision = 1\n[[slice]]\nby = ["account"]\n', 3, f"slice 1: {ACCOUNTS}"),
        ('revision = 1\n[[slice]]\nby = ["journey", "account"]\n', 3, f"slice 1: {ACCOUNTS}"),
        (OF_ACCOUNTS.replace('on = "account"', 'by = ["account"]'), 4, f'rule "a": {ACCOUNTS}'),
        (OF_ACCOUNTS.replace('on = "account"', 'group_by = ["account"]'), 4, f'rule "a": {ACCOUNTS}'),
        (OF_ACCOUNTS + 'by = ["journey"]\n', 8, 'rule "a": is on accounts, each by itself: leave out `by`'),
        (OF_ACCOUNTS + "group_by = []\n", 8, 'rule "a": is on accounts, each by itself: leave out `group_by`'),
        (OF_ACCOUNTS + 'show = ["n"]\n', 8, 'rule "a": is an aggregate rule: `show` is for entity rules'),
        (OF_ACCOUNTS + 'quiet = ["22:00"]\n', 8, 'rule "a": quiet hours are written as 22:00-07:00'),
        (
            OF_ACCOUNTS.replace('on = "account"\n', "") + 'cooldown = "1h"\n',
            7,
            'rule "a": is an aggregate rule: `cooldown` is for entity rules',
        ),
        (OF_ACCOUNTS.replace("value > 1", "account == 'acme'"), 7, 'rule "a": unknown name "account" in'),
        (OF_ACCOUNTS.replace("value > 1", "channel == 'web'"), 7, 'rule "a": unknown name "channel" in'),
        (OF_ACCOUNTS.replace('"account"', '"customer"'), 4, 'rule "a": needs either `metric` (aggregate rule) or `on` (entity rule)'),
        (OF_ACCOUNTS.replace('metric = "contacts"\nwindows = ["5m"]\n', ""), 4, 'rule "a": is on accounts and needs a `metric`: '),
        (OF_ACCOUNTS + "[limits]\naccounts = 0\n", 9, "[limits]: `accounts`: expected a whole number of at least 1, got 0"),
    ],
)
def test_accounts_are_for_rules_on_them_only(text: str, line: int, sentence: str) -> None:
    (found,) = problems(text)
    assert found.message.startswith(sentence)
    assert found.line == line
    assert isinstance(examine(OF_ACCOUNTS), Definitions)


def test_a_key_that_is_wrong_is_not_held_against_the_others_as_its_default() -> None:
    (found,) = problems('revision = 1\n[operations]\nkeep_for = "x"\ncadence = "80d"\n')
    assert found.message.startswith("[operations]: `keep_for`: expected a duration")


def test_the_worker_is_refused_the_same_problems_as_one_sentence() -> None:
    text = (DATA / "broken.toml").read_text()
    with pytest.raises(DefinitionsError) as caught:
        parse(text, "rules.toml")
    first, second, third = problems(text)[:3]
    assert str(caught.value) == (
        f"rules.toml:{first.line}: {first.message}; rules.toml:{second.line}: {second.message}; rules.toml:{third.line}: {third.message}"
        f"; and {len(problems(text)) - 3} more: `streamer rules check FILE` lists all"
    )


def test_a_file_that_is_right_is_read() -> None:
    found = examine(default_text())
    assert isinstance(found, Definitions)
    assert found == parse(default_text())
