"""The chapters of the catalogue in the definitions file: a chapter is on if its table is there, even an empty one.

What is not written has the value given here; [H] marks a house default where the field has no standard.
"""

from __future__ import annotations

from streamer.durations import Duration, Part

_HOUR: int = 3_600_000
_DAY: int = 24 * _HOUR


class Surveys(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers to surveys (S0-S4).

    attribute_within: an answer that names nothing belongs to the last touchpoint no older than this [H]. latest_within: of a customer's
    answers to one instrument and scope only the latest of so long counts. satisfied_share: an answer on another scale than 1-5 is
    satisfied from this share of the scale upwards; 0.75 is 4 of 1-5.
    """

    attribute_within: Duration = Duration(72 * _HOUR)
    latest_within: Duration = Duration(28 * _DAY)
    satisfied_share: float = 0.75
