"""TLS towards servers, and whose business an address is: what every client of the product agrees on."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from streamer.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.settings import Settings

# Only whether it is the right kind of server is still open: one that is frozen must not hold up for long.
PROBE_SECONDS: Final = 2.0
_ADDRESS: Final = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?")


class _LateRecords(logging.Filter):
    """asyncio logs, with a traceback, that a server's answer came after our farewell: no reader is left that could miss it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the entry is to be logged."""
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, ssl.SSLError) and error.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY")


_LATE_RECORDS: Final = _LateRecords()


def is_loopback(host: str) -> bool:
    """Whether only this machine is behind the address, or can connect to an endpoint bound to it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """The host of `host`, `host:port` or `[IPv6]:port`. Raises ValueError for anything else."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found["port"] or 1) <= 65_535:
        raise ValueError(f"{address!r} is no address")
    if found["name"]:
        check_name(found["name"])
    return found["name"] or str(ipaddress.IPv6Address(found["ipv6"]))


def check_name(host: str) -> None:
    """Raise ValueError if nobody can look the name up: empty labels and long ones (`a..b`) are tracebacks to every client."""
    host.encode("idna")


def unchecked_tls(redis_url: str) -> str | None:
    """The option of a `rediss://` URL that is about whether the certificate or the name in it is checked, if it has one.

    None of what is no URL at all: who reads it says what is wrong with it.
    """
    try:
        url = urlsplit(redis_url)
    except ValueError:
        return None
    found = {"ssl_cert_reqs", "ssl_check_hostname"} & parse_qs(url.query, keep_blank_values=True).keys()
    return min(found) if found and url.scheme == "rediss" else None


def client_context(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """TLS that checks the server's certificate and its name, against `ca_file` or else the system's authorities.

    Raises:
        SettingsError: the file that the setting names cannot be used.
    """
    logging.getLogger("asyncio").addFilter(_LATE_RECORDS)
    return _trusting(ssl.Purpose.SERVER_AUTH, ca_file, setting)


def endpoint_context(config: Settings, purpose: ssl.Purpose) -> ssl.SSLContext:
    """TLS of the health and metrics endpoint, for itself or for who asks it: its certificate, and the authority of the others'.

    Raises:
        SettingsError: one of its three files is not there or cannot be used.
    """
    context = _trusting(purpose, config.metrics_ca_file, "metrics_ca_file")
    certificate, key = config.metrics_cert_file, config.metrics_key_file
    _check_readable(certificate, "metrics_cert_file")
    _check_readable(key, "metrics_key_file")
    try:
        context.load_cert_chain(str(certificate), str(key))
    except ssl.SSLError as exc:
        raise SettingsError(f"metrics_cert_file {certificate} and metrics_key_file {key} are no certificate in PEM and its key") from exc
    return context


def _trusting(purpose: ssl.Purpose, ca_file: Path | None, setting: str) -> ssl.SSLContext:
    _check_readable(ca_file, setting)
    try:
        return ssl.create_default_context(purpose, cafile=ca_file)
    except ssl.SSLError as exc:
        raise SettingsError(f"{setting} names {ca_file}, which holds no certificate in PEM") from exc


def _check_readable(file: Path | None, setting: str) -> None:
    """The library's own errors name no file. Raises SettingsError."""
    try:
        if file is not None:
            file.open("rb").close()
    except OSError as exc:
        reason = "which is not there" if isinstance(exc, FileNotFoundError) else f"which cannot be read ({exc.strerror})"
        raise SettingsError(f"{setting} names {file}, {reason}") from exc


async def speaks_tls(host: str, port: int) -> bool:
    """Whether a server answers a TLS handshake. Nothing is sent over the connection, so nothing is trusted either."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        return False
    writer.transport.abort()
    return True


async def speaks_plain(host: str, port: int, greeting: bytes) -> bool:
    """Whether a server answers a greeting, which says nothing secret, without TLS."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(greeting)
                return bool(await reader.read(1))
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False


def certificate_problem(error: BaseException) -> str | None:
    """What is wrong with the server's certificate, if that is what the error, or one that led to it, says."""
    cause: BaseException | None = error
    while cause is not None:
        # aiohttp's own error is one too, without the message; the original is its cause.
        if isinstance(cause, ssl.SSLCertVerificationError) and (message := getattr(cause, "verify_message", "")):
            return str(message).rstrip(".")
        cause = cause.__cause__ or cause.__context__
    return None
