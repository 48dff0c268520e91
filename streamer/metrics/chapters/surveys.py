"""Surveys: what customers say (S0-S4). Scores of different scope are never pooled, so each scope has counters of its own."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# scope -> (promoters, detractors, answers)
NPS: Final = {
    "experience": (C.NPS_EXPERIENCE_PROMOTERS, C.NPS_EXPERIENCE_DETRACTORS, C.NPS_EXPERIENCE_ANSWERS),
    "relationship": (C.NPS_RELATIONSHIP_PROMOTERS, C.NPS_RELATIONSHIP_DETRACTORS, C.NPS_RELATIONSHIP_ANSWERS),
    "benchmark": (C.NPS_BENCHMARK_PROMOTERS, C.NPS_BENCHMARK_DETRACTORS, C.NPS_BENCHMARK_ANSWERS),
}


def _nps(scope: str) -> Metric:
    promoters, detractors, answers = NPS[scope]
    return Metric(
        f"nps_{scope}",
        f"cx_nps_{scope}_points",
        "difference",
        (promoters,),
        (answers,),
        f"share of 9-10 less share of 0-6, of the customers' latest answers to {scope} surveys in the window, in points",
        False,
        "S1 Reichheld 2003; latest answer per customer and scope [H]",
        scale=100,
        unit="points",
        minus=(detractors,),
    )


METRICS: Final = tuple(_nps(scope) for scope in NPS)

SIGNALS: Final = {
    "nps_lowest": "the lowest of the customer's latest NPS answers of each scope, 10 without any",
}
