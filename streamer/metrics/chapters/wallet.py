"""Share of wallet (B5): as customers declare it, and as the Wallet Allocation Rule reads it from their ranking of brands."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# kind -> (answers, sum of shares, sum of squares)
SHARES: Final = {
    "declared": (C.WALLETS_DECLARED, C.WALLET_DECLARED, C.WALLET_DECLARED_SQUARES),
    "ranked": (C.WALLETS_RANKED, C.WALLET_RANKED, C.WALLET_RANKED_SQUARES),
}
# A share is counted in parts of so many.
PARTS: Final = 10_000


def _mean(kind: str, formula: str, source: str) -> Metric:
    answers, total, squares = SHARES[kind]
    return Metric(
        f"wallet_{kind}", f"cx_wallet_{kind}_share", "mean", (total,), (answers,), formula, False, source, squares, PARTS, unit="share"
    )


METRICS: Final = (
    _mean(
        "declared",
        "mean of spend with us / (spend with us + with competitors), of customers' latest declarations of `latest_within` in the window",
        "B5; latest answer per customer [H]",
    ),
    _mean(
        "ranked",
        "mean of (1 - rank / (brands + 1)) * 2 / brands, of customers' latest rankings of `latest_within` in the window",
        "B5 Wallet Allocation Rule, Keiningham et al. 2011; latest answer per customer [H]",
    ),
)

SIGNALS: Final = {
    "share_of_wallet": "our share of the customer's spending by the latest declaration, else by the latest ranking, 1 without either",
}
