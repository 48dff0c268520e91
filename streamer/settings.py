"""Settings of a worker and of the commands: from the environment (`STREAMER_...`), a TOML file, a secrets directory, defaults.

Units are last in the names. Insecure combinations are refused, secrets are masked in every output.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic reads the annotation at run time
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamer import topics


class Settings(BaseSettings):
    """Everything that can differ between installations; each field is `STREAMER_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix="STREAMER_", extra="forbid", frozen=True, validate_default=True)

    app: str = Field(
        "cx",
        description="Name of the application: prefix of consumer groups, changelogs and transactional ids.",
        pattern=r"^[a-z][a-z0-9_-]*$",
    )
    topic_prefix: str = Field("cx.", description="Prefix of the topics that producers and consumers share.")
    definitions: Path | None = Field(None, description="Definitions file; without it the documented default is in force.")

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="Kafka brokers, comma separated.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol towards Kafka."
    )
    kafka_username: str | None = Field(None, description="SASL user.")
    kafka_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_ca_file: Path | None = Field(None, description="CA certificates that Kafka's certificate is checked against.")
    allow_insecure: bool = Field(False, description="Accept SASL without TLS, and plain connections to other machines.")

    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis for alerts; rediss:// for TLS.")
    redis_password: SecretStr | None = Field(None, description="Redis password, if not in the URL's place.")
    redis_prefix: str = Field("cx:", description="Prefix of the keys in Redis.")
    alert_stream_length: int = Field(100_000, ge=100, description="Alerts kept in the Redis stream, about.")
    alert_stream_age_seconds: int = Field(7 * 86_400, ge=60, description="Age up to which alerts are kept in the Redis stream, about.")

    partitions: int = Field(16, ge=1, le=1024, description="Partitions of the source topic; fixed at creation.")
    rollup_partitions: int = Field(1, ge=1, le=64, description="Partitions of the deltas topic.")
    replication_factor: int = Field(1, ge=1, le=7, description="Replication factor of created topics.")
    accept_create_time: bool = Field(False, description="Accept a source topic with CreateTime instead of LogAppendTime.")

    checkpoint_interval_seconds: float = Field(
        1.0, gt=0, le=60, description="A checkpoint at least this often while there is something to write."
    )
    checkpoint_events: int = Field(20_000, ge=1, description="A checkpoint at the latest after this many events.")
    checkpoint_size_bytes: int = Field(4 << 20, ge=1 << 16, description="A checkpoint at the latest after this much output.")
    alert_linger_seconds: float = Field(0.05, ge=0, le=10, description="An alert waits at most this long for its checkpoint.")
    transaction_timeout_seconds: float = Field(5.0, gt=0, le=60, description="After this the broker aborts a dead owner's transaction.")
    session_timeout_seconds: float = Field(10.0, ge=1, le=300, description="After this without heartbeats a worker's partitions move.")
    rebalance_timeout_seconds: float = Field(30.0, ge=3, le=600, description="Time for a worker to hand over its partitions.")
    fetch_max_records: int = Field(5_000, ge=1, description="Records per fetched batch.")
    fetch_max_wait_seconds: float = Field(0.02, ge=0, le=5, description="How long a fetch waits for data at the broker.")
    on_data_loss: Literal["refuse", "skip"] = Field("refuse", description="What to do when retention has passed the offset needed.")
    watchdog_seconds: float = Field(30.0, gt=1, le=600, description="Without progress for this long the process ends.")

    metrics_host: str = Field("127.0.0.1", description="Address of the health and metrics endpoint.")
    metrics_port: int = Field(
        9463, ge=0, le=65_000, description="Port of the supervisor's endpoint; the roles take the next three (0: any free)."
    )

    metrics_cert_file: Path | None = Field(None, description="The endpoint's certificate, for mTLS; with its key and the clients' CA.")
    metrics_key_file: Path | None = Field(None, description="Key of the endpoint's certificate.")
    metrics_ca_file: Path | None = Field(None, description="CA certificates that the endpoint's clients are checked against.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level of the program's own log entries.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Log entries as JSON or as readable lines; auto: readable on a terminal."
    )

    @model_validator(mode="after")
    def _fail_closed(self) -> Settings:
        if self.kafka_security == "SASL_PLAINTEXT" and not self.allow_insecure:
            raise ValueError("SASL_PLAINTEXT sends the password in the clear: use SASL_SSL, or set allow_insecure")
        if self.kafka_security.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError(f"{self.kafka_security} needs kafka_username and kafka_password")
        return self

    def topic(self, logical: str) -> str:
        """The name in Kafka of a logical topic."""
        return topics.kafka_name(logical, self.topic_prefix)
