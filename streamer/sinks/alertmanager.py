"""Prometheus's Alertmanager, by its API v2: grouping, silences, inhibition and receivers are its own.

Labels are an alert's identity there, the same in each transition: `alertname` and `rule` (the rule's id), `severity`, the slice's
dimensions or, of a customer or an account, `entity` (the fingerprint, which names nobody), and the configured ones. It forgets what it
is not reminded of, so everything that fires is sent again every `resend`; what this process can no longer remind it of ends after four
times that.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from streamer.alerts.times import milliseconds, rfc3339
from streamer.sinks import http
from streamer.sinks.sink import Sink, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.alerts.alert import Alert
    from streamer.sinks.config import Alertmanager

# So many reminders may be missed before an alert is taken for ended, as in Prometheus itself.
REMINDERS: Final = 4


class AlertmanagerSink(Sink):
    """Posts each transition, and regularly all that is firing."""

    def __init__(self, config: Alertmanager, password: str | None) -> None:
        self._config = config
        self._url = config.url.rstrip("/") + "/api/v2/alerts"
        self._headers = {"Content-Type": "application/json"}
        if password is not None:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(config.username, password)
        self._client = http.session(config.ca_file, config.name)
        self.refresh_seconds = config.resend / 1000

    async def deliver(self, alert: Alert, data: bytes) -> None:
        """Post one transition."""
        await self._post([alert])

    async def refresh(self, firing: Sequence[Alert]) -> None:
        """Post some of what is firing."""
        await self._post(firing)

    async def _post(self, alerts: Sequence[Alert]) -> None:
        now = time.time()
        body = msgspec.json.encode([posted(alert, self._config, int(now * 1000)) for alert in alerts])
        await http.post(self._client, self._url, body, self._headers, now=now)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def posted(alert: Alert, config: Alertmanager, now_ms: int) -> dict[str, Any]:
    """One alert as Alertmanager's API wants it. Pure.

    What ended has no `startsAt`: Alertmanager keeps the one it knows, and the latest explicit end wins.
    """
    found: dict[str, Any] = {"labels": labels(alert, config), "annotations": _annotations(alert, ids=config.ids)}
    if config.generator_url:
        found["generatorURL"] = config.generator_url
    if alert.state in ("firing", "amended"):
        found["startsAt"] = rfc3339(min(milliseconds(alert.event_time), now_ms))
        found["endsAt"] = rfc3339(min(milliseconds(alert.expires_at), now_ms + REMINDERS * config.resend))
    else:  # an end in the future, by a clock that is ahead, would be none
        found["endsAt"] = rfc3339(min(milliseconds(alert.detected_at), now_ms))
    return found


def labels(alert: Alert, config: Alertmanager) -> dict[str, str]:
    """The identity: bounded values, except `entity`, and nothing that names a customer."""
    if alert.entity is not None:
        subject = {"entity": alert.fingerprint, "journey": alert.entity.journey}
    else:
        subject = {_name(dimension): value for dimension, value in (alert.slice or {}).items()}
    own = {"alertname": alert.rule.id, "rule": alert.rule.id, "severity": alert.severity}
    return {name: value for name, value in {**config.labels, **subject, **own}.items() if value}


def _annotations(alert: Alert, *, ids: bool) -> dict[str, str]:
    entity = alert.entity
    found = {
        "summary": f"{alert.rule.id}: {sentence(alert, ids=ids)}",
        "condition": alert.rule.text,
        "action": alert.suggested_action,
        "owner": alert.owner_team,
        "runbook_url": alert.runbook,
        "state": alert.state,
    }
    if entity is not None and ids:
        found |= {
            "customer": entity.canonical_id,
            "journey_id": entity.journey_id,
            "issue_id": entity.issue_id,
            "account": entity.account_id,
        }
    return {name: text for name, text in found.items() if text}


def _name(dimension: str) -> str:
    """A label's name: Alertmanager takes letters, digits and underscores."""
    return re.sub(r"\W", "_", dimension, flags=re.ASCII)
