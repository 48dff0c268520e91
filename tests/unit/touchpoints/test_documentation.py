"""docs/reference/touchpoint.md says what is so: its examples are run, its lists are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from streamer.touchpoints import form, model
from streamer.touchpoints.catalogue import CHANNELS, TYPES
from streamer.touchpoints.check import ADVICE, check
from streamer.touchpoints.touchpoint import Reason

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "touchpoint.md").read_text()
EXAMPLES = re.findall(r"```json(?: rejected=(\w+))?\n(.*?)```", PAGE, re.DOTALL)
ARRIVAL_MS = 1_795_256_104_000  # 2026-11-21T10:15:04Z


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_.]+)`", text))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize(("reason", "event"), EXAMPLES)
def test_every_example_is_what_the_page_says(reason: str, event: str) -> None:
    assert check(event.encode(), ARRIVAL_MS).reason == (reason or "ok")


def test_every_field_of_the_model_is_on_the_page() -> None:
    parts: list[type[model.Closed]] = [model.FlatEvent, model.CloudEvent, *model.Closed.__subclasses__()]
    assert {name for part in parts for name in part.__struct_fields__} - names_in(PAGE) == set()


def test_exactly_the_fields_in_use_are_bold() -> None:
    table = PAGE.partition("## Data")[2].partition("**Amounts**")[0].partition("|---|")[2]
    bold = set(re.findall(r"\*\*`([a-z_]+)`\*\*", table))
    used = set(form.Data.__struct_fields__) | {
        name
        for field in msgspec.structs.fields(form.Data)
        for kind in get_args(field.type)
        for name in getattr(kind, "__struct_fields__", ())
    }
    assert bold == used | set(form.Line.__struct_fields__) | {"analytics"}


def test_the_reasons_are_all_there() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", PAGE.partition("## What is rejected")[2], re.MULTILINE)
    assert set(rows) == {reason.value for reason in Reason} == {reason.value for reason in ADVICE}


def test_the_types_and_channels_are_all_there() -> None:
    types = PAGE.partition("### Types")[2].partition("##")[0]
    assert names_in(types) == TYPES
    assert set(CHANNELS) <= names_in(PAGE)
