"""How every Kafka client of the product connects: one place for addresses, TLS and SASL, and for what a refusal means.

aiokafka reports a wrong password, an unknown authority and a broker that is away in the same words. `refusal` tells them
apart: what waiting does not mend is an AccessError, a sentence with the setting to look at.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from aiokafka import errors
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import SaslHandShakeRequest

from streamer.engine import records
from streamer.errors import AccessError, SettingsError, StreamerError, UnreachableError
from streamer.network import certificate_problem, client_context, speaks_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from streamer.settings import Settings

records.install()

MECHANISM: Final = "SCRAM-SHA-512"
PROBE_MS: Final = 5_000
# Of the listener and what it is shown; `denial` knows those of what a user may do.
LOGIN_REFUSALS: Final = (
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.IllegalSaslStateError,
    errors.SaslAuthenticationFailed,
    errors.SecurityDisabled,
    errors.UnsupportedSaslMechanismError,
)
DENIALS: Final = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
)


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for an aiokafka consumer, producer or admin client. TLS always checks the host name.

    Raises:
        SettingsError: the file of CA certificates cannot be used.
    """
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka_bootstrap, "security_protocol": settings.kafka_security}
    if settings.kafka_security in ("SSL", "SASL_SSL"):
        options["ssl_context"] = client_context(settings.kafka_ca_file, "kafka_ca_file")
    if settings.kafka_security.startswith("SASL") and settings.kafka_password is not None:
        options["sasl_mechanism"] = MECHANISM
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return options


def denial(error: BaseException) -> StreamerError | None:
    """The sentence for an error that trying again does not mend, itself or as the cause of what aiokafka makes of it: the user lacks a
    permission, or the broker does not take a setting.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DENIALS):
            return AccessError(f"Kafka denies the user an operation ({cause}): grant what docs/how-to/secure.md lists")
        if isinstance(cause, errors.InvalidSessionTimeoutError):
            return SettingsError(
                "session_timeout_seconds is not within what the broker takes: its group.min.session.timeout.ms (6 s unless it says"
                " otherwise) to its group.max.session.timeout.ms (30 minutes)"
            )
        cause = cause.__cause__
    return None


async def refusal(settings: Settings) -> AccessError | None:
    """Why no connection can be had although a broker is there; None if it is only away, or takes the connection after all."""
    for host, port, _ in collect_hosts(settings.kafka_bootstrap):
        if (reason := await _refusal(settings, host, port)) is not None:
            return AccessError(f"Kafka at {host}:{port} {reason}")
    return None


async def _refusal(settings: Settings, host: str, port: int) -> str | None:
    options = client_options(settings)
    del options["bootstrap_servers"]
    try:
        with quiet():
            connection = await create_conn(host, port, request_timeout_ms=PROBE_MS, **options)
    except errors.SaslAuthenticationFailed:
        return "rejects the user or the password: check kafka_username and kafka_password"
    except (errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError):
        return f"does not offer {MECHANISM}: check kafka_security, or the listener's sasl.enabled.mechanisms"
    except (KafkaError, OSError, TimeoutError) as exc:
        if (problem := certificate_problem(exc)) is not None:
            return (
                f"shows a certificate that is not accepted ({problem}): set kafka_ca_file to the file of its CA, and kafka_bootstrap to a"
                " name in the certificate"
            )
        return await _mismatch(settings, host, port)
    try:
        wants_name = "sasl_mechanism" not in options and await _wants_a_name(connection)
    finally:
        connection.close()
    return "wants a user and a password: set kafka_security to SASL_SSL, and kafka_username and kafka_password" if wants_name else None


async def _mismatch(settings: Settings, host: str, port: int) -> str | None:
    """A connection that broke off at once: TLS on one side only?"""
    if settings.kafka_security in ("PLAINTEXT", "SASL_PLAINTEXT"):
        return "speaks TLS: set kafka_security to SSL or SASL_SSL" if await speaks_tls(host, port) else None
    try:
        with quiet():
            (await create_conn(host, port, request_timeout_ms=PROBE_MS)).close()
    except (KafkaError, OSError, TimeoutError):
        return None
    return "does not speak TLS: connect to the port that does; it is not used without, as kafka_security says"


async def _wants_a_name(connection: Any) -> bool:
    """Whether the listener is one with SASL; others answer a handshake with an error."""
    try:
        answer = await connection.send(SaslHandShakeRequest(MECHANISM))
    except (KafkaError, TimeoutError):
        return False
    return errors.for_code(answer.error_code) in (errors.NoError, errors.UnsupportedSaslMechanismError)


@contextmanager
def quiet() -> Iterator[None]:
    """What is raised becomes one sentence; the client would log each attempt as well."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@asynccontextmanager
async def kafka_errors(settings: Settings) -> AsyncIterator[None]:
    """Kafka's errors as one sentence each.

    Raises:
        AccessError: a broker refuses the certificate, the user, the password or an operation.
        UnreachableError: no broker answered; also when one stops answering meanwhile.
        StreamerError: a broker answered and refused.
    """
    try:
        with quiet():
            yield
    except (KafkaError, TimeoutError, OSError) as exc:
        raise await explain(exc, settings) from exc


async def explain(error: Exception, settings: Settings) -> StreamerError:
    """The sentence for an error of a Kafka client."""
    if (denied := denial(error)) is not None:
        return denied
    reason = _reason(error)
    # aiokafka calls a timeout not retriable: it does not know what the caller may repeat.
    if isinstance(error, KafkaError) and not error.retriable and not isinstance(error, errors.KafkaTimeoutError):
        fix = "check user, password and ACLs" if isinstance(error, LOGIN_REFUSALS) else "the broker's log may say more"
        return StreamerError(f"Kafka at {settings.kafka_bootstrap} refused ({reason}): {fix}")
    try:
        refused = await refusal(settings)
    except SettingsError as exc:
        return exc
    return refused or UnreachableError(f"Kafka at {settings.kafka_bootstrap} does not answer ({reason}): start it or set kafka_bootstrap")


def _reason(error: Exception) -> str:
    """What the error says beside the addresses, which the client writes as Python does."""
    if isinstance(error, errors.KafkaConnectionError):
        return "no connection"
    return str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}".removesuffix(": ")
