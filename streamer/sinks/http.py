"""One request to a receiver, and what its answer means."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp

from streamer import __version__
from streamer.network import certificate_problem, client_context
from streamer.sinks.sink import RefusedError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

USER_AGENT: Final = f"journey-streamer/{__version__}"
# Of the 4xx, what does not say that this alert is not wanted. Who is not let in (401, 403, 407: a credential has run out or been revoked)
# would give up every alert as it comes, and the dead stream has room for some thousands only; timed out, too early, too many pass.
PASSING: Final = frozenset({401, 403, 407, 408, 425, 429})


def session(ca_file: Path | None, name: str) -> aiohttp.ClientSession:
    """Connections of the sink of this name. Certificates are checked; the time that a request may take is the runner's to bound."""
    tls = client_context(ca_file, f"sink {name}: ca_file")
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=4), headers={"User-Agent": USER_AGENT}, timeout=aiohttp.ClientTimeout()
    )


async def post(client: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], *, now: float) -> None:
    """Send a body; returns when the receiver has taken it (2xx). `now`: Unix time. Raises SinkError."""
    try:
        # A redirect would carry the signature and the body to somewhere nobody has configured.
        async with client.post(url, data=body, headers=headers, allow_redirects=False) as response:
            judge(response.status, response.headers.get("Retry-After"), now)
    except (aiohttp.ClientError, OSError) as exc:
        problem = certificate_problem(exc)
        raise TryAgainError(f"certificate not accepted: {problem}" if problem else f"cannot be reached: {type(exc).__name__}") from exc


def judge(status: int, retry_after: str | None, now: float) -> None:
    """What a status means: nothing for 2xx, else SinkError."""
    if 200 <= status < 300:
        return
    if status >= 500 or status in PASSING:
        raise TryAgainError(f"HTTP {status}", _seconds(retry_after, now))
    raise RefusedError(f"HTTP {status}")


def _seconds(retry_after: str | None, now: float) -> float:
    """How long `Retry-After` (seconds or a date) asks to wait; 0 if it says nothing sensible."""
    text = (retry_after or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
