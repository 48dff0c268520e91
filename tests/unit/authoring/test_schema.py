"""The schema for editors: committed as generated, valid, and of one mind with what is read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from streamer.authoring.definitions_schema import json_schema, schema_text
from streamer.definitions import default, default_text
from streamer.durations import Duration, parse_duration, written

ROOT = Path(__file__).parents[3]
CHECKER = jsonschema.Draft202012Validator(json_schema())


def test_the_committed_schema_is_the_generated_one() -> None:
    committed = (ROOT / "schemas" / "definitions.schema.json").read_bytes()
    assert schema_text() == committed, "regenerate it: streamer rules schema > schemas/definitions.schema.json"


def test_the_schema_is_valid_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_default_file_is_valid() -> None:
    CHECKER.validate(tomllib.loads(default_text()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        'revision = "1"',
        "revision = 1\nwindos = []",
        'revision = 1\nwindows = ["1 hour"]',
        'revision = 1\n[[slice]]\nby = ["journy"]',
        'revision = 1\n[[rule]]\nid = "a"',
        'revision = 1\n[[rule]]\nid = "a"\nwhen = "k > 1"\nmetric = "abandon_rat"',
        'revision = 1\n[[rule]]\nid = "a"\nwhen = "k > 1"\nseverity = "bad"',
        "revision = 1\n[limits]\nlabel_values = 0",
        'revision = 1\ndigest = "x"',
        'revision = 1\n[[journey]]\nid = "a"\nstart = ["b"]\ncomplete = []\ndeadline = 30',
    ],
)
def test_what_is_refused_for_its_form_is_invalid(text: str) -> None:
    assert not CHECKER.is_valid(tomllib.loads(text))


def test_every_default_value_is_one_that_its_key_takes() -> None:
    schema = json_schema()
    for table in (schema, *schema["$defs"].values()):
        for key, part in table["properties"].items():
            if "default" in part:
                errors = CHECKER.evolve(schema={**part, "$defs": schema["$defs"]}).iter_errors(part["default"])
                assert list(errors) == [], key


def test_editors_show_what_a_key_means() -> None:
    rule = json_schema()["$defs"]["Rule"]["properties"]
    assert {name for name, part in rule.items() if not part.get("description")} == set()
    assert rule["min_n"]["description"] == "Below this sample nothing is known."


@pytest.mark.parametrize("text", ["0s", "1ms", "90s", "30m", "36h", "7d"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert written(parse_duration(text)) == text


def test_default_durations_are_whole_numbers_of_a_unit() -> None:
    assert written(default().contacts.window) == "3d"
    assert written(Duration(0)) == "0s"
