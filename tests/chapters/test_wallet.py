"""The chapter wallet: B5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.journeys.chapters.wallet import declared_share, ranked_share
from streamer.metrics.chapters.wallet import METRICS
from streamer.metrics.metric import counters_of
from streamer.touchpoints.details import Details
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
)
from tests.journeys_support import Story

if TYPE_CHECKING:
    from random import Random

DEFINITIONS = (
    SLICES
    + """
[wallet]
latest_within = "2h"
[[rule]]
id = "elsewhere"
on = "customer"
when = "share_of_wallet < 0.3"
"""
)


def answer(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    if random.random() < 0.5:
        wallet = {"own": random.choice([0, 10, "33.33", -1]), "competitors": random.choice([0, "66.67", 20, 10**12])}
        if random.random() < 0.2:
            del wallet[random.choice(["own", "competitors"])]
        return {"type": "wallet.declared", "wallet": wallet, "commerce": {"currency": random.choice(["EUR", "JPY"])}}
    survey = {"instrument": "other", "brands": random.choice([0, 1, 2, 3, 7, 100, 101]), "rank": random.choice([0, 1, 2, 3, 7])}
    if random.random() < 0.2:
        del survey["rank"]
    return {"type": "survey.responded", "survey": survey}


HISTORIES = (Histories(DEFINITIONS, answer),)


def test_the_recount_is_equal() -> None:
    assert_recount_is_equal(DEFINITIONS, answer, RECOUNTED, {counter.name for metric in METRICS for counter in counters_of(metric)})


@pytest.mark.parametrize(
    ("rank", "brands", "share"), [(1, 1, 10_000), (1, 2, 6_667), (2, 2, 3_333), (1, 3, 5_000), (3, 3, 1_667), (0, 2, -1), (3, 2, -1)]
)
def test_a_rank_is_a_share_by_the_published_rule(rank: int, brands: int, share: int) -> None:
    assert ranked_share(rank, brands) == share


@pytest.mark.parametrize("brands", range(1, 101))
def test_the_shares_of_all_ranks_are_the_whole_wallet(brands: int) -> None:
    assert abs(sum(ranked_share(rank, brands) for rank in range(1, brands + 1)) - 10_000) <= brands / 2


@pytest.mark.parametrize(
    ("own", "others", "share"), [(1, 2, 3_333), (2, 1, 6_667), (0, 5, 0), (5, 0, 10_000), (0, 0, -1), (-1, 5, -1), (None, 5, -1)]
)
def test_a_declaration_is_our_part_of_the_sum(own: int | None, others: int, share: int) -> None:
    assert declared_share(Details(own_minor=own, competitors_minor=others)) == share


def test_only_the_latest_answer_of_each_kind_counts_until_the_earlier_one_is_forgotten() -> None:
    story = Story(DEFINITIONS)
    for seconds, own in ((0, 10), (7199, 20), (7199 + 7200, 30)):
        story.event("wallet.declared", seconds, wallet={"own": own, "competitors": 100 - own})
    assert (story.run.total("WALLETS_DECLARED"), story.run.total("WALLET_DECLARED")) == (2, 5000)


def test_a_declaration_goes_before_a_ranking_in_rules() -> None:
    story = Story(DEFINITIONS)
    story.event("survey.responded", 0, survey={"brands": 5, "rank": 5})
    assert story.states == ["firing"]
    story.event("wallet.declared", 1, wallet={"own": 1, "competitors": 1})
    assert story.states == ["firing", "resolved"]
