"""How the product connects to Redis, what its keys are called, and what each of its refusals means."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, ConnectionError, RedisError, TimeoutError  # noqa: A004  the library's names

from streamer.errors import DeliveryError
from streamer.network import certificate_problem, client_context, speaks_plain, speaks_tls, unchecked_tls

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.settings import Settings

# A server that does not answer a call of a few milliseconds within this is treated as gone; a BUSY one answers at once.
TIMEOUT_SECONDS: Final = 5.0

# Refusals that pass by themselves or by an operator's hand: with these, alerts wait in Kafka.
_PASSING: Final = {
    "LOADING": "is loading its data",
    "BUSY": "is busy running a script (SCRIPT KILL or FUNCTION KILL ends it)",
    "OOM": "is out of memory: raise maxmemory, or lower alert_stream_length",
    "READONLY": "is a read-only replica: point redis_url at the primary",
    "MISCONF": "cannot write its data to disk: look at its log",
    "NOREPLICAS": "has too few replicas to accept writes",
    "MASTERDOWN": "is a replica that has lost its primary",
    "CLUSTERDOWN": "is a cluster with slots that nobody serves",
    "TRYAGAIN": "is a cluster that is moving slots",
    "UNKILLABLE": "is running a script that cannot be stopped",
    "UNBLOCKED": "has become a replica, or lost the stream, while we waited for alerts",
}
# Refusals that only a change of the configuration ends.
_LASTING: Final = {
    "NOAUTH": "wants a password: set redis_password",
    "WRONGPASS": "rejects the user or the password: check redis_url and redis_password",
    "NOPERM": "denies the user a command or key: compare its ACL with docs/reference/alerts.md",
    "WRONGTYPE": "holds a key of another type under our prefix: another program uses it; change redis_prefix",
    "CROSSSLOT": "is a cluster: put the prefix in braces, such as redis_prefix = '{cx}:', so that all keys share a slot",
    "MOVED": "is a cluster and this is not the node that has our keys: point redis_url at the one that has",
}


class RedisUnavailableError(DeliveryError):
    """Redis cannot take alerts now; the same call succeeds once it is back."""


@dataclass(frozen=True)
class Keys:
    """The keys of one installation; `redis.lua` documents each."""

    prefix: str = "cx:"

    @property
    def stream(self) -> str:
        """The stream of alert transitions."""
        return f"{self.prefix}alerts"

    @property
    def active(self) -> str:
        """Hash of what is firing: fingerprint -> record."""
        return f"{self.prefix}alerts:active"

    @property
    def storms(self) -> str:
        """Hash: rule id -> what it has fired lately."""
        return f"{self.prefix}alerts:storms"

    @property
    def expiry(self) -> str:
        """Sorted set: fingerprint -> expires_at in milliseconds."""
        return f"{self.prefix}alerts:expiry"

    @property
    def applied(self) -> str:
        """Hash: topic id and partition -> offset of the last record applied."""
        return f"{self.prefix}alerts:applied"

    @property
    def wake(self) -> str:
        """Channel that hints at new entries."""
        return f"{self.prefix}alerts:wake"

    @property
    def outcomes(self) -> str:
        """Hash: episode id -> what was said of it."""
        return f"{self.prefix}alerts:outcomes"

    @property
    def outcomes_age(self) -> str:
        """Sorted set: episode id -> milliseconds of the last word on it."""
        return f"{self.prefix}alerts:outcomes:age"

    @property
    def dead(self) -> str:
        """Stream of deliveries that consumers gave up."""
        return f"{self.prefix}alerts:dead"


def connect(
    url: str, password: str | None = None, *, ca_file: Path | None = None, timeout_seconds: float | None = TIMEOUT_SECONDS,
    allow_insecure: bool = False,
) -> redis.asyncio.Redis:  # fmt: skip
    """A client that does not retry by itself: who calls knows what may be repeated. Opens no connection yet.

    TLS (`rediss://`) always checks the server's certificate and its name, against `ca_file` or else the system's authorities; options
    of the URL that say otherwise need `allow_insecure`.

    Raises:
        DeliveryError: a malformed URL, or an option that cannot be.
        SettingsError: the file of CA certificates cannot be used.
    """
    if not allow_insecure and (unchecked := unchecked_tls(url)):
        raise DeliveryError(f"the Redis URL sets {unchecked}: a certificate that is not checked protects nothing; name its CA instead")
    options: dict[str, Any] = {} if password is None else {"password": password}
    if ca_file is not None:
        client_context(ca_file, "redis_ca_file")  # the library would look at it only when it connects
        options["ssl_ca_certs"] = str(ca_file)
    if not url.startswith("unix://"):
        options["socket_keepalive"] = True
    try:
        client = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # one shape of each reply, whatever the server's version
            **options,
        )
        # Opens none; what is wrong with an option would come to light with the first.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        if client.connection_pool.connection_kwargs.get("decode_responses"):
            raise DeliveryError("the Redis URL has the option decode_responses, but what is kept there are bytes: leave it out")
    except TypeError as exc:
        raise DeliveryError(f"the Redis URL has an option that there is not ({_quoted_in(exc)}): leave it out") from None
    except (ValueError, RedisError):
        # What the library says may quote a part of the password.
        raise DeliveryError(
            "the Redis URL is not usable: it looks like redis://host:6379/0 or rediss://user@host:6379/0, and a password in it is"
            " percent-encoded"
        ) from None
    return client


def _quoted_in(error: TypeError) -> str:
    """The name that Python says is not expected; nothing of the values."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return found[1] if found else "its value is of a wrong kind"


def connect_as(settings: Settings) -> redis.asyncio.Redis:
    """A client with the address, user, password and certificates of the settings. Raises what `connect` raises."""
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    return connect(settings.redis_url, password, ca_file=settings.redis_ca_file, allow_insecure=settings.allow_insecure)


# How the client library begins what was refused within a transaction.
_IN_TRANSACTION: Final = re.compile(r"^Command # \d+ \(.*?\) of pipeline caused error: ", re.DOTALL)
# Of these the name in the URL may lead elsewhere by now, while a connection stays where it is.
MOVED_ON: Final = frozenset({"READONLY", "UNBLOCKED"})


def code_of(exc: RedisError) -> str:
    """The error's first word as Redis sent it, such as READONLY."""
    code: object = getattr(exc, "status_code", None)
    return str(code) if code else _IN_TRANSACTION.sub("", str(exc)).split(" ", 1)[0]


REFUSALS: Final = ("unreachable", *sorted(code.lower() for code in (*_PASSING, *_LASTING)), "other")


def reason_of(exc: RedisError | OSError) -> str:
    """Why a command failed, one of `REFUSALS`: fit for a label."""
    code = code_of(exc).lower() if isinstance(exc, RedisError) else ""
    if code in REFUSALS:
        return code
    return "unreachable" if isinstance(exc, ConnectionError | TimeoutError | OSError) else "other"


def explain(exc: RedisError | OSError, where: str) -> DeliveryError:
    """What an error of the Redis client means, as a sentence: RedisUnavailableError if it passes, DeliveryError if not.

    where: the server, without its password.
    """
    if isinstance(exc, RedisError):
        code = code_of(exc)
        if code in _PASSING:
            return RedisUnavailableError(f"Redis at {where} {_PASSING[code]}")
        if code in _LASTING:
            return DeliveryError(f"Redis at {where} {_LASTING[code]} ({exc})")
        if isinstance(exc, AuthenticationError | AuthorizationError):
            return DeliveryError(f"Redis at {where} {_LASTING['WRONGPASS']} ({exc})")
        if not isinstance(exc, ConnectionError | TimeoutError):
            return DeliveryError(f"Redis at {where} refused a command: {exc}")
    if (problem := certificate_problem(exc)) is not None:
        return DeliveryError(
            f"Redis at {where} shows a certificate that is not accepted ({problem}): set redis_ca_file to the file of its CA, and"
            " redis_url to a name in the certificate"
        )
    return RedisUnavailableError(
        f"Redis at {where} cannot be reached ({_no_connection(exc)}): start it or set redis_url and redis_password"
    )


def _no_connection(exc: RedisError | OSError) -> str:
    """Why there is none, without the addresses, which the libraries write as Python does."""
    cause = exc if isinstance(exc, OSError) else exc.__context__
    if not isinstance(cause, OSError) or isinstance(cause, ssl.SSLError) or not cause.errno:
        return str(exc).rstrip(".")
    return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)  # below 0: of a name that cannot be looked up


async def diagnose(exc: RedisError | OSError, client: redis.asyncio.Redis) -> DeliveryError:
    """Like `explain`, and tells a server that speaks TLS where we do not, or the other way round, from one that is away.

    The one hangs up on us, the other waits for a line that never comes.
    """
    problem = explain(exc, address_of(client))
    kind = client.connection_pool.connection_class
    options = client.connection_pool.connection_kwargs
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    if not isinstance(problem, RedisUnavailableError):
        return problem
    if kind is redis.asyncio.Connection and ("closed" in str(exc) or "reset" in str(exc)) and await speaks_tls(host, port):
        return DeliveryError(f"Redis at {host}:{port} speaks TLS: use rediss:// in redis_url")
    if kind is redis.asyncio.SSLConnection and isinstance(exc, TimeoutError) and await speaks_plain(host, port, b"PING\r\n"):
        return DeliveryError(f"Redis at {host}:{port} does not speak TLS: connect to the port that does; rediss:// is not used without")
    return problem


def address_of(client: redis.asyncio.Redis) -> str:
    """`host:port` of a client, fit for messages: no user, no password."""
    options = client.connection_pool.connection_kwargs
    return str(options["path"]) if "path" in options else f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
