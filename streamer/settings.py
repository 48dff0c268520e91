"""Settings of a worker and of the commands: from the environment (`STREAMER_...`), a TOML file, a secrets directory, defaults.

The first of these that has a value wins, in this order. The file is named by `STREAMER_SETTINGS_FILE`, the directory (one file
per secret, e.g. `streamer_kafka_password`) by `STREAMER_SECRETS_DIR`. Units are last in the names. Insecure combinations are
refused, secrets are masked in every output. Commands call `load()`.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as SourceError,
)

from streamer import toml_places, topics
from streamer.errors import SettingsError
from streamer.metrics.families import FORWARDER, ROLES, SUPERVISOR
from streamer.network import check_name, host_of, is_loopback, unchecked_tls

PREFIX: Final = "STREAMER_"
SETTINGS_FILE: Final = f"{PREFIX}SETTINGS_FILE"
SECRETS_DIR: Final = f"{PREFIX}SECRETS_DIR"
# What a process does is no setting of the installation: the option `--role` in another place.
ROLE: Final = f"{PREFIX}ROLE"
_REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://")
# What Kafka's 249 characters leave beside the longest names: `aggregate-alerts.v1` and `-journeys-changelog`.
_PREFIX_LENGTH_MAX: Final = 230
# Where a password is whole: nothing before the @ ends it too early.
_WHOLE_PASSWORD: Final = re.compile(r"[a-z]+://(?:[^/?#\[\]@]*@)?[^@]*")


class Settings(BaseSettings):
    """Everything that can differ between installations; each field is `STREAMER_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix="STREAMER_", extra="forbid", frozen=True, validate_default=True)

    app: str = Field(
        "cx",
        description="Name of the application: prefix of consumer groups, changelogs and transactional ids.",
        pattern=r"^[a-z][a-z0-9_-]*$",
        max_length=_PREFIX_LENGTH_MAX,
    )
    topic_prefix: str = Field(
        "cx.",
        description="Prefix of the topics that producers and consumers share: letters, digits, `.`, `_` and `-`.",
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=_PREFIX_LENGTH_MAX,
    )
    definitions: Path | None = Field(
        None, description="Definitions file, looked at again while a worker runs; without it the documented default is in force."
    )

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port each, comma separated.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol towards Kafka."
    )
    kafka_username: str | None = Field(None, description="SASL user.")
    kafka_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_ca_file: Path | None = Field(
        None, description="CA certificates that Kafka's certificate is checked against; without it the system's."
    )
    allow_insecure: bool = Field(False, description="Accept SASL without TLS, and plain connections to and from other machines.")

    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis for alerts; rediss:// for TLS.")
    redis_password: SecretStr | None = Field(None, description="Redis password, if not in the URL's place.")
    redis_ca_file: Path | None = Field(
        None, description="CA certificates that Redis' certificate is checked against; without it the system's."
    )
    redis_prefix: str = Field("cx:", description="Prefix of the keys in Redis.")
    alert_stream_length: int = Field(100_000, ge=100, le=10**9, description="Alerts kept in the Redis stream, about.")
    alert_stream_age_seconds: int = Field(
        7 * 86_400, ge=60, le=10 * 365 * 86_400, description="Age up to which alerts are kept in the Redis stream, about."
    )
    alert_storm_limit: int = Field(
        10_000, ge=0, description="Firings of one rule told one by one in Redis within a span; then one summary alert. 0: no limit."
    )
    alert_storm_seconds: int = Field(600, ge=1, le=86_400, description="Length of that span.")

    partitions: int = Field(16, ge=1, le=1024, description="Partitions of the source topic; fixed at creation.")
    rollup_partitions: int = Field(1, ge=1, le=64, description="Partitions of the deltas topic.")
    replication_factor: int = Field(1, ge=1, le=7, description="Replication factor of created topics.")
    accept_create_time: bool = Field(False, description="Accept a source topic with CreateTime instead of LogAppendTime.")

    checkpoint_interval_seconds: float = Field(
        1.0, gt=0, le=60, description="A checkpoint at least this often while there is something to write."
    )
    checkpoint_events: int = Field(20_000, ge=1, description="A checkpoint at the latest after this many events.")
    checkpoint_size_bytes: int = Field(4 << 20, ge=1 << 16, description="A checkpoint at the latest after this much output.")
    state_rows_per_checkpoint: int = Field(
        256,
        ge=1,
        description="Changed rows written with each checkpoint; while more change, the rest is written later.",
    )
    state_replay_events: int = Field(
        100_000, ge=1, description="Events per partition after which changed rows are due; a restore folds up to twice as many again."
    )
    state_customers_in_use: int = Field(
        25_000, ge=1, description="Customers per partition in memory as objects, about; the rest is packed, which takes a quarter."
    )
    alert_linger_seconds: float = Field(0.05, ge=0, le=10, description="An alert waits at most this long for its checkpoint.")
    transaction_timeout_seconds: float = Field(5.0, gt=0, le=60, description="After this the broker aborts a dead owner's transaction.")
    session_timeout_seconds: float = Field(10.0, ge=1, le=300, description="After this without heartbeats a worker's partitions move.")
    rebalance_timeout_seconds: float = Field(30.0, ge=3, le=600, description="Time for a worker to hand over its partitions.")
    fetch_max_records: int = Field(5_000, ge=1, description="Records per fetched batch.")
    fetch_max_wait_seconds: float = Field(0.02, ge=0, le=5, description="How long a fetch waits for data at the broker.")
    on_data_loss: Literal["refuse", "skip"] = Field("refuse", description="What to do when retention has passed the offset needed.")
    # With the time between two looks and that for the last log line, a process that hangs is gone within 30 s.
    watchdog_seconds: float = Field(25.0, gt=1, le=600, description="Without progress for this long the process ends.")

    metrics_host: str = Field("127.0.0.1", description="Address of the health and metrics endpoint.")
    metrics_port: int = Field(
        9463,
        ge=0,
        le=65_000,
        description="Port of the supervisor's endpoint; the roles take the next three, the forwarder the one after (0: any free).",
    )

    metrics_cert_file: Path | None = Field(None, description="The endpoint's certificate, for mTLS; with its key and the clients' CA.")
    metrics_key_file: Path | None = Field(None, description="Key of the endpoint's certificate.")
    metrics_ca_file: Path | None = Field(None, description="CA certificates that the endpoint's clients are checked against.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level of the program's own log entries.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Log entries as JSON or as readable lines; auto: readable on a terminal."
    )

    @field_validator(
        "definitions", "kafka_ca_file", "redis_ca_file", "metrics_cert_file", "metrics_key_file", "metrics_ca_file", mode="before"
    )
    @classmethod
    def _set_to_nothing(cls, value: Any) -> Any:
        """Compose sets a variable that is not there to nothing, which as a path would be the working directory."""
        return None if value == "" else value

    @model_validator(mode="after")
    def _fail_closed(self) -> Settings:
        if self.kafka_security == "SASL_PLAINTEXT" and not self.allow_insecure:
            raise ValueError("SASL_PLAINTEXT sends the password in the clear: use SASL_SSL, or set allow_insecure")
        if self.kafka_security.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError(f"{self.kafka_security} needs kafka_username and kafka_password")
        if not self.kafka_security.startswith("SASL") and (self.kafka_username or self.kafka_password):
            raise ValueError(f"kafka_username and kafka_password have no effect with {self.kafka_security}: use SASL_SSL")
        if self.kafka_ca_file and not self.kafka_security.endswith("SSL"):
            raise ValueError(f"kafka_ca_file has no effect with {self.kafka_security}: use SASL_SSL or SSL")
        others = ", ".join(host for host in _broker_hosts(self.kafka_bootstrap) if not is_loopback(host))
        if self.kafka_security == "PLAINTEXT" and not self.allow_insecure and others:
            raise ValueError(f"kafka_bootstrap leads to {others} in the clear: use SASL_SSL or SSL, or set allow_insecure")
        _check_host("metrics_host", self.metrics_host)
        self._redis_fails_closed()
        return self

    def _redis_fails_closed(self) -> None:
        url = _redis_parts(self.redis_url)
        _check_host("redis_url", url.hostname or "")
        if "password" in parse_qs(url.query):
            raise ValueError("redis_url has a password among its options (after ?), where it would be shown: use redis_password")
        if url.scheme == "rediss":
            unchecked = unchecked_tls(self.redis_url)
            if unchecked and not self.allow_insecure:
                raise ValueError(f"redis_url sets {unchecked}: a certificate that is not checked protects nothing; set redis_ca_file")
            return
        if self.redis_ca_file:
            raise ValueError(f"redis_ca_file has no effect with {url.scheme}://: use rediss://")
        if url.scheme == "redis" and not self.allow_insecure and not is_loopback(url.hostname or "localhost"):
            raise ValueError(f"redis_url leads to {url.hostname} in the clear: use rediss://, or set allow_insecure")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Init, environment, TOML file, secrets directory."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if file := os.environ.get(SETTINGS_FILE):
            sources.append(InitSettingsSource(settings_cls, toml_places.parse_toml(_text(file))))
        if directory := os.environ.get(SECRETS_DIR):
            sources.append(SecretsSettingsSource(settings_cls, secrets_dir=directory))
        return tuple(sources)

    def topic(self, logical: str) -> str:
        """The name in Kafka of a logical topic."""
        return topics.kafka_name(logical, self.topic_prefix)

    def metrics_port_of(self, role: str) -> int:
        """The port of a process's endpoint: the supervisor has `metrics_port`, then come the roles and the forwarder; 0: any free."""
        return self.metrics_port and self.metrics_port + (SUPERVISOR, *ROLES, FORWARDER).index(role)


def _broker_hosts(addresses: str) -> list[str]:
    """The host of each address. Raises ValueError: the clients would end with a traceback."""
    found = []
    for address in addresses.split(","):
        try:
            found.append(host_of(address.strip()))
        except ValueError:
            raise ValueError(
                f"kafka_bootstrap: {address.strip()!r} is no address: write host:port with a port from 1 to 65535, an IPv6 address in"
                " brackets, and a comma between brokers"
            ) from None
    return found


def _check_host(field: str, host: str) -> None:
    """Raises ValueError, which does not quote it: where a password is cut in the wrong place, a part of it stands there."""
    try:
        check_name(host)
    except ValueError:
        raise ValueError(f"{field} names no host: between the dots of a name stand 1 to 63 characters") from None


def _redis_parts(text: str) -> SplitResult:
    """Of the URL. Raises ValueError, which quotes nothing of it, where a password has cut it in the wrong place, or it is another's."""
    if not text.startswith(_REDIS_SCHEMES):
        raise ValueError("redis_url is no address of a Redis: it begins with redis://, rediss:// or unix://")
    try:
        url = urlsplit(text)
        if url.scheme == "unix" or (url.port != 0 and "@" not in url.query and not url.fragment and re.fullmatch(r"/?[0-9]*", url.path)):
            return url
    except ValueError:  # says what it took for the port
        pass
    if _WHOLE_PASSWORD.fullmatch(text):
        raise ValueError(
            "redis_url is no address: it looks like redis://host:6379/0, with a port from 1 to 65535 and the number of a database"
        )
    raise ValueError("redis_url is no address: percent-encode what is special in its password (/ ? # [ ] @), or use redis_password")


def load(**values: Any) -> Settings:
    """The settings of this process; `values` (from the command line) win over everything else.

    Raises:
        SettingsError: one sentence for each thing wrong.
    """
    loaded = attempt(**values)
    if isinstance(loaded, Settings):
        return loaded
    raise SettingsError("; ".join(loaded))


def attempt(**values: Any) -> Settings | list[str]:
    """The settings of this process, or one sentence for each thing wrong with them."""
    for name, wanted, kind in ((SETTINGS_FILE, Path.is_file, "file"), (SECRETS_DIR, Path.is_dir, "directory")):
        if (path := os.environ.get(name)) and not wanted(Path(path)):
            return [f"{name} names {path}, which is {f'no {kind}' if Path(path).exists() else 'not there'}"]
    try:
        with warnings.catch_warnings():
            # The library leaves such a secret out, so that a server would be asked without its password.
            warnings.filterwarnings("error", "attempted to load secret file", UserWarning)
            return Settings(**values)
    except ValidationError as exc:
        return sentences(exc)
    except SourceError as exc:
        return [_unreadable(exc.__cause__ or exc, SECRETS_DIR)]
    except (ValueError, OSError) as exc:  # of the parser's as of decoding
        return [_unreadable(exc, SETTINGS_FILE)]


def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def _unreadable(error: BaseException, place: str) -> str:
    """One sentence, without the content: it may be a secret."""
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read: {error.strerror}"
    if isinstance(error, UserWarning):
        file, _, reason = str(error).removeprefix('attempted to load secret file "').rstrip(".").partition('" but ')
        return f"{file} cannot be read: {reason}"
    if isinstance(error, UnicodeDecodeError):
        return f"{os.environ.get(place)}: not text in UTF-8 ({error.reason})"
    if isinstance(error, ValueError) and place == SETTINGS_FILE:
        return toml_places.sentence(os.environ[place], _text(os.environ[place]), error)
    return f"{os.environ.get(place)}: {error}"


def sentences(error: ValidationError) -> list[str]:
    """One sentence for each error, without the values of secrets."""
    found, lines = [], _lines()
    for entry in error.errors(include_url=False, include_context=False):
        if not entry["loc"]:
            found.append(entry["msg"].removeprefix("Value error, "))
            continue
        field = str(entry["loc"][0])
        if entry["type"] == "extra_forbidden":
            found.append(f"{lines.get(field, '')}{field} is no setting; `streamer config show` lists them")
            continue
        shown = "" if is_secret(field) else f", not {entry['input']!r}"
        wrong = f"{field}: {entry['msg'][:1].lower()}{entry['msg'][1:]}{shown}"
        found.append(f"{lines[field]}{wrong}" if field in lines else f"{wrong} (environment: {PREFIX}{field.upper()})")
    return found


def _lines() -> dict[str, str]:
    """`file:line: ` of each setting whose value comes from the file."""
    file = os.environ.get(SETTINGS_FILE)
    if not file:
        return {}
    environment = {name.lower() for name in os.environ}
    places = toml_places.locate(_text(file))
    return {
        str(path[0]): f"{file}:{place.line}: "
        for path, place in places.items()
        if len(path) == 1 and f"{PREFIX}{path[0]}".lower() not in environment
    }


def is_secret(field: str) -> bool:
    """Whether a setting's value may carry a password."""
    return field.endswith(("_password", "_url"))


def origins() -> dict[str, str]:
    """Setting -> where its value comes from: `environment`, `file`, `secret` or `default`. Call it when `load` succeeds."""
    environment = {name.lower() for name in os.environ}
    file, directory = os.environ.get(SETTINGS_FILE), os.environ.get(SECRETS_DIR)
    in_file = set(toml_places.parse_toml(_text(file))) if file else set()
    secrets = {path.name.lower() for path in Path(directory).iterdir()} if directory else set()
    found = {}
    for field in Settings.model_fields:
        name = f"{PREFIX}{field}".lower()
        found[field] = "environment" if name in environment else "file" if field in in_file else "secret" if name in secrets else "default"
    return found


def without_effect() -> list[str]:
    """Variables and secrets with our prefix that are no setting: misspelt, or set by a platform for a service of our name."""
    known = {f"{PREFIX}{field}".upper() for field in Settings.model_fields} | {ROLE}
    directory = os.environ.get(SECRETS_DIR)
    named = [(name, name, known | {SETTINGS_FILE, SECRETS_DIR}) for name in os.environ]
    named += [(path.name, str(path), known) for path in (Path(directory).glob("*") if directory else ())]
    return sorted(shown for name, shown, settings in named if name.upper().startswith(PREFIX) and name.upper() not in settings)


def shown(settings: Settings, field: str) -> str | int | float | bool | None:
    """A setting's value as it may be shown: passwords masked, also those in URLs."""
    value = getattr(settings, field)
    if value is None or isinstance(value, bool | int | float):
        return value
    if field.endswith("_url"):
        unnamed = re.sub(r"(://[^/@:]*:).*@", r"\1**********@", str(value))
        return re.sub(r"([?&][^=&]*password=)[^&]*", r"\1**********", unnamed)  # of a key: ssl_password
    return str(value)  # pydantic masks a SecretStr itself
