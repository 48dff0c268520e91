"""A webhook: the record as JSON, signed so that the receiver knows whom it is from and that it is fresh.

`X-Streamer-Signature` is `sha256=` and, in hexadecimal, the HMAC-SHA256 of `<X-Streamer-Timestamp>.<body>` with the shared secret.
docs/how-to/forward-alerts.md has the receiver's side.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Final

from streamer.sinks import http
from streamer.sinks.sink import Sink

if TYPE_CHECKING:
    from streamer.alerts.alert import Alert
    from streamer.sinks.config import Webhook

TIMESTAMP: Final = "X-Streamer-Timestamp"
SIGNATURE: Final = "X-Streamer-Signature"
# The same in each repetition: who has seen it may answer 200 without doing anything.
ALERT_ID: Final = "X-Streamer-Alert-Id"


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of `X-Streamer-Signature`."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class WebhookSink(Sink):
    """Posts each transition, one at a time and in order."""

    def __init__(self, config: Webhook, secret: str) -> None:
        self._url = config.url
        self._secret = secret.encode()
        self._client = http.session(config.ca_file, config.name)

    async def deliver(self, alert: Alert, data: bytes) -> None:
        """Post the record's bytes, signed as of now."""
        now = time.time()
        timestamp = str(int(now))
        headers = {
            "Content-Type": "application/json",
            ALERT_ID: alert.alert_id,
            TIMESTAMP: timestamp,
            SIGNATURE: signature(self._secret, timestamp, data),
        }
        await http.post(self._client, self._url, data, headers, now=now)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
