"""Chat, mail and a hundred other services, through the library apprise: one message per transition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.alerts.alert import ENDS
from streamer.errors import SettingsError
from streamer.log import printable
from streamer.network import is_loopback
from streamer.sinks.sink import Sink, TryAgainError, sentence

if TYPE_CHECKING:
    from apprise import Apprise

    from streamer.alerts.alert import Alert
    from streamer.sinks.config import Chat

_KINDS: Final = {"critical": "failure", "warning": "warning"}


class ChatSink(Sink):
    """Sends each transition as a message. Apprise says only whether it could, so every failure may pass."""

    def __init__(self, config: Chat, url: str) -> None:
        self._ids = config.ids
        self._service = service(url, config)

    async def deliver(self, alert: Alert, data: bytes) -> None:
        """Send one message."""
        title, body = message(alert, ids=self._ids)
        kind = "success" if alert.state in ENDS else _KINDS.get(alert.severity, "info")
        if not await self._service.async_notify(body=body, title=title, notify_type=kind, body_format="text"):
            raise TryAgainError("the service did not take the message")

    async def close(self) -> None:
        """Nothing is held open."""


def service(url: str, config: Chat) -> Apprise:
    """The service behind an apprise URL, which is a secret itself: no message shows it.

    Raises:
        SettingsError: apprise is not installed, does not know the URL, or would send in the clear or to whoever answers as another machine.
    """
    try:
        import apprise
    except ImportError as exc:
        raise SettingsError(f"sink {config.name}: it needs the library apprise: pip install 'journey-streamer[sinks]'") from exc

    # Nothing of it is written to disk; and what is answered with a redirect is not taken: it may lead anywhere, and in the clear.
    asset = apprise.AppriseAsset(app_id="journey-streamer", storage_mode="memory", http_redirects=False)
    plugin = apprise.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        raise SettingsError(f"sink {config.name}: apprise does not know its URL (it looks like slack://... or mailtos://...)")
    if plugin.redirects:
        raise SettingsError(f"sink {config.name}: its URL says redirect=yes: alerts go nowhere else: leave it out")
    if plugin.overflow_mode == apprise.OverflowMode.UPSTREAM:
        # A text too long for the service would be refused for ever, and what is behind it would wait.
        plugin.overflow_mode = apprise.OverflowMode.TRUNCATE
    # Parameters of a URL that looks secure can take that back.
    is_plain = getattr(plugin, "secure_mode", "") == "insecure"
    protocols = plugin.protocol if isinstance(plugin.protocol, tuple | list | set) else (plugin.protocol,)
    host = getattr(plugin, "smtp_host", None) or getattr(plugin, "host", None) or ""
    if not config.allow_insecure and not is_loopback(str(host)):
        if is_plain or url.partition("://")[0].lower() in protocols:
            raise SettingsError(
                f"sink {config.name}: its URL leads to another machine in the clear: use the secure form, or allow_insecure"
            )
        if not plugin.verify_certificate:
            raise SettingsError(f"sink {config.name}: its URL says verify=no: a certificate that is not checked protects nothing")
    found = apprise.Apprise(asset=asset)
    found.add(plugin)
    return found


def message(alert: Alert, *, ids: bool) -> tuple[str, str]:
    """Title and body. Pure. Without `ids` nothing in them names a customer."""
    about = " ".join(f"{name}={value}" for name, value in sorted((alert.slice or {}).items()))
    if alert.entity is not None and ids:
        entity = alert.entity
        about = " ".join(part for part in (entity.canonical_id, entity.journey, entity.journey_id, entity.account_id) if part)
    lines = [
        _harmless(sentence(alert, ids=ids)),
        f"About: {_harmless(about)}" if about else "",
        f"Do: {alert.suggested_action}" if alert.suggested_action and alert.state in ("firing", "amended") else "",
        f"Runbook: {alert.runbook}" if alert.runbook else "",
        f"Since: {alert.event_time}" if alert.state == "firing" else "",
        f"Acknowledge: streamer alerts ack {alert.episode_id} --by NAME" if alert.state == "firing" else "",
    ]
    return f"[{alert.state}] {alert.severity}: {alert.rule.id}", "\n".join(line for line in lines if line)


def _harmless(text: str) -> str:
    """What came with events, on one line and calling nobody: with an invisible space behind it `@` begins no mention."""
    return printable(text).replace("@", "@\u200b")
