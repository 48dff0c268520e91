"""Every metric has a worked example in the documentation, and it is true."""

from __future__ import annotations

import pytest

from streamer.metrics import catalogue_page
from streamer.metrics.catalogue import METRICS
from tests.chapters import examples

PAGE = examples.FOLDER.parent / "catalogue.md"


@pytest.mark.parametrize("metric_id", [metric.id for metric in METRICS])
def test_the_example_of_a_metric_is_true(metric_id: str) -> None:
    example = examples.load(metric_id)
    found = examples.measured(example, metric_id)
    assert example.wanted, "an example without a result"
    assert {name: found[name] for name in example.wanted} == pytest.approx(example.wanted, rel=1e-5)


def test_there_is_no_example_of_what_does_not_exist() -> None:
    assert {path.stem for path in examples.FOLDER.glob("*.toml")} == {metric.id for metric in METRICS}


def test_the_page_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == catalogue_page.markdown(examples.FOLDER), (
        "run python -m streamer.metrics.catalogue_page docs/reference/examples > docs/reference/catalogue.md"
    )


def test_no_cell_of_the_page_is_empty() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(rows) > len(METRICS)
    assert not [row for row in rows if any(not cell.strip() for cell in row.strip("|").split("|"))]
