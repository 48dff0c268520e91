"""What holds for every chapter: no batch, crash, restore or order of arrival shows in what is counted and told."""

from __future__ import annotations

import pytest

from streamer.metrics.catalogue import CHAPTERS, CORE
from tests.chapters import (
    test_browsing,
    test_causes,
    test_commerce,
    test_communication,
    test_contracts,
    test_digital,
    test_handoffs,
    test_operations,
    test_service,
    test_steps,
    test_surveys,
    test_value,
    test_wallet,
)
from tests.chapters.support import Histories, assert_crashes_change_nothing, assert_order_changes_nothing

HISTORIES = {
    "browsing": test_browsing.HISTORIES, "causes": test_causes.HISTORIES, "commerce": test_commerce.HISTORIES,
    "communication": test_communication.HISTORIES, "contracts": test_contracts.HISTORIES, "digital": test_digital.HISTORIES,
    "handoffs": test_handoffs.HISTORIES, "operations": test_operations.HISTORIES, "service": test_service.HISTORIES,
    "steps": test_steps.HISTORIES, "surveys": test_surveys.HISTORIES, "value": test_value.HISTORIES, "wallet": test_wallet.HISTORIES,
}  # fmt: skip

each = pytest.mark.parametrize(
    ("histories", "seed"),
    [
        pytest.param(histories, seed, id=f"{chapter}-{number}-{seed}")
        for chapter, several in HISTORIES.items()
        for number, histories in enumerate(several)
        for seed in histories.seeds
    ],
)


@each
def test_crashes_and_batches_change_nothing(histories: Histories, seed: int) -> None:
    assert_crashes_change_nothing(histories.definitions, histories.make, seed, span_ms=histories.span_ms)


@each
def test_the_order_of_arrival_changes_nothing(histories: Histories, seed: int) -> None:
    assert_order_changes_nothing(histories.definitions, histories.make, seed, span_ms=histories.span_ms)


def test_every_chapter_is_here() -> None:
    assert HISTORIES.keys() == set(CHAPTERS) - set(CORE)
