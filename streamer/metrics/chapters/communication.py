"""Communication: cases in which the customer hears nothing, has to ask, or has nobody (H5, H6)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

METRICS: Final = (
    Metric(
        "silent_case_rate",
        "cx_silent_case_ratio",
        "ratio",
        (C.CASES_SILENT,),
        (C.CASES_ANSWER_DUE,),
        "cases in which the customer had heard nothing for too long, for the first time in the window"
        " / these and cases closed in it in which that has never been",
        True,
        "H5",
        version=2,
    ),
    Metric(
        "silences",
        "cx_silences",
        "count",
        (C.SILENCES,),
        (),
        "open cases in which the customer had heard nothing for too long, at that moment in the window",
        True,
        "H5",
    ),
    Metric(
        "status_inquiry_share",
        "cx_status_inquiry_ratio",
        "ratio",
        (C.CONTACTS_ABOUT_STATUS,),
        (C.CONTACTS_ASKING,),
        "contacts about how things stand / contacts that customers began, in the window",
        True,
        "H5",
    ),
    Metric(
        "unowned_case_rate",
        "cx_unowned_case_ratio",
        "ratio",
        (C.CASES_UNOWNED,),
        (C.CASES_OWNER_DUE,),
        "cases that had had no owner for too long, at that moment in the window"
        " / these and cases that had their first owner in time, or were closed before, in it",
        True,
        "H6",
        version=2,
    ),
    Metric(
        "untold_owner_change_rate",
        "cx_untold_owner_change_ratio",
        "ratio",
        (C.OWNER_CHANGES_UNTOLD,),
        (C.OWNER_CHANGES_DUE,),
        "changes of an open case's owner without a message to the customer in time, when the time was over in the window"
        " / these and changes that he was told of in time, or whose case was closed before, in it",
        True,
        "H6; in time [H]",
        version=2,
    ),
    Metric(
        "missed_due_date_rate",
        "cx_missed_due_date_ratio",
        "ratio",
        (C.DUE_DATES_MISSED,),
        (C.DUE_DATES,),
        "due dates of cases that have come in the window without anything done by the owner since they were told"
        " / due dates that have come, or whose case was closed before",
        True,
        "H6; what the owner does [H]",
    ),
)

SIGNALS: Final = {
    "silent_cases": "the customer's open cases in which he has heard nothing for longer than `silent_after`",
    "unowned_cases": "the customer's open cases that have had no owner for longer than `owner_within`",
    "overdue_cases": "the customer's open cases that are past their due date, and whose owner has done nothing since it was told",
}
