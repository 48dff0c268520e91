"""Surveys: what customers say (S0-S4). Scores of different scope or CES version are never pooled: each has counters of its own."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

SCOPES: Final = ("experience", "relationship", "benchmark")
# Where a smaller share of invitations is answered, scores are of the few who choose to answer (S0).
RESPONSE_RATE_LOW: Final = 0.05


def _of(prefix: str, *names: str) -> dict[str, tuple[Counter, ...]]:
    """The counters of each scope."""
    return {scope: tuple(Counter[f"{prefix}_{scope.upper()}_{name}"] for name in names) for scope in SCOPES}


NPS: Final = _of("NPS", "PROMOTERS", "DETRACTORS", "ANSWERS")
CSAT: Final = _of("CSAT", "ANSWERS", "SATISFIED", "RATED", "POINTS", "POINTS_SQUARED")
CES: Final = _of("CES", "ANSWERS", "AGREED", "POINTS", "POINTS_SQUARED")
CES1: Final = _of("CES1", "ANSWERS", "EASY", "POINTS")


def _nps(scope: str) -> Metric:
    promoters, detractors, answers = NPS[scope]
    return Metric(
        f"nps_{scope}",
        f"cx_nps_{scope}_points",
        "difference",
        (promoters,),
        (answers,),
        f"share of 9-10 less share of 0-6, of customers' latest answers of `latest_within` to {scope} surveys in the window, in points",
        False,
        "S1 Reichheld 2003; latest answer per customer and scope [H]",
        scale=100,
        unit="points",
        minus=(detractors,),
    )


def _share(id_: str, gauge: str, k: Counter, n: Counter, formula: str, source: str) -> Metric:
    return Metric(id_, f"cx_{gauge}_ratio", "ratio", (k,), (n,), formula, False, source, at_once=True)


def _mean(id_: str, gauge: str, total: Counter, n: Counter, squares: Counter | None, formula: str, source: str) -> Metric:
    return Metric(id_, f"cx_{gauge}_points", "mean", (total,), (n,), formula, False, source, squares=squares, scale=100, unit="points")


def _csat(scope: str) -> tuple[Metric, ...]:
    answers, satisfied, rated, points, squares = CSAT[scope]
    return (
        _share(
            f"csat_t2b_{scope}",
            f"csat_satisfied_{scope}",
            satisfied,
            answers,
            f"satisfied answers / answers to {scope} CSAT surveys; satisfied: 4 or 5 of 1-5, `satisfied_share` of another scale",
            "S2 top two boxes of 1-5; other scales by share [H]",
        ),
        _mean(
            f"csat_mean_{scope}",
            f"csat_mean_{scope}",
            points,
            rated,
            squares,
            f"mean of the answers to {scope} CSAT surveys, of those on 1-5 only",
            "S2 as a mean; answers on other scales are left out [H]",
        ),
    )


def _ces(scope: str) -> tuple[Metric, ...]:
    answers, agreed, points, squares = CES[scope]
    answers1, easy, points1 = CES1[scope]
    return (
        _share(
            f"ces_agree_{scope}",
            f"ces_agree_{scope}",
            agreed,
            answers,
            f"answers of 5 or more / answers to {scope} CES 2.0 surveys (1-7, high is good)",
            "S3 CES 2.0",
        ),
        _mean(
            f"ces_mean_{scope}",
            f"ces_mean_{scope}",
            points,
            answers,
            squares,
            f"mean of the answers to {scope} CES 2.0 surveys (1-7, high is good)",
            "S3 CES 2.0",
        ),
        _share(
            f"ces1_easy_{scope}",
            f"ces_one_easy_{scope}",
            easy,
            answers1,
            f"answers of 2 or less / answers to {scope} CES 1.0 surveys (1-5, low is good)",
            "S3 CES 1.0; the two lowest boxes [H]",
        ),
        _mean(
            f"ces1_mean_{scope}",
            f"ces_one_mean_{scope}",
            points1,
            answers1,
            None,
            f"mean of the answers to {scope} CES 1.0 surveys (1-5, low is good)",
            "S3 CES 1.0, Dixon et al. 2010",
        ),
    )


METRICS: Final = (
    *(_nps(scope) for scope in SCOPES),
    *(metric for scope in SCOPES for metric in _csat(scope)),
    *(metric for scope in SCOPES for metric in _ces(scope)),
    _mean(
        "loyalty_index",
        "loyalty_index",
        Counter.LOYALTY_POINTS,
        Counter.LOYALTY_ANSWERS,
        Counter.LOYALTY_POINTS_SQUARED,
        "mean of the answers in `loyalty_scope` to the questions on satisfaction, repurchase and recommendation, each rescaled to 0-100",
        "S4 [H]",
    )._replace(version=2),
    _share(
        "survey_response_rate",
        "survey_response",
        Counter.INVITATIONS_ANSWERED,
        Counter.INVITATIONS,
        "answered invitations / invitations to surveys in the window",
        "S0; an answer answers the oldest open invitation of its instrument [H]",
    ),
)

SIGNALS: Final = {
    "nps_lowest": "the lowest of the customer's latest NPS answers of each scope, 10 without any",
    "csat_lowest": "the lowest of the customer's latest CSAT answers of each scope, other scales stretched to 1-5 [H], 5 without any",
    "ces_lowest": "the lowest of the customer's latest CES 2.0 answers of each scope, 7 without any",
    "ces1_highest": "the highest of the customer's latest CES 1.0 answers of each scope, 1 without any",
}
