"""From a sink's configuration to the sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.sinks.alertmanager import AlertmanagerSink
from streamer.sinks.chat import ChatSink
from streamer.sinks.config import Alertmanager, Webhook
from streamer.sinks.webhook import WebhookSink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.sinks.config import Configured
    from streamer.sinks.sink import Sink


def make(configured: Configured) -> Sink:
    """The sink; opens no connection yet, but wants a running event loop. Raises SettingsError."""
    config, secret = configured.config, configured.secret
    if isinstance(config, Webhook):
        return WebhookSink(config, secret or "")
    if isinstance(config, Alertmanager):
        return AlertmanagerSink(config, secret)
    return ChatSink(config, secret or "")


async def try_out(configured: Iterable[Configured]) -> None:
    """Make each sink and throw it away: what is wrong with one is known before any of them runs. Raises SettingsError."""
    for one in configured:
        await make(one).close()
