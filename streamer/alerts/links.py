"""Links from alerts to dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

# What a link shows before and after the moment.
_AROUND_MS: Final = 3_600_000


def link(base: str, from_ms: int, until_ms: int, labels: Mapping[str, str]) -> str:
    """A dashboard's address with the time around the alert and its slice, as Grafana takes them."""
    if not base:
        return ""
    query = {"from": from_ms - _AROUND_MS, "to": until_ms + _AROUND_MS, **{f"var-{name}": value for name, value in labels.items()}}
    return f"{base}{'&' if '?' in base else '?'}{urlencode(query)}"
