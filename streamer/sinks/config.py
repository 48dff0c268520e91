"""The file that names the sinks, `sinks.toml`. Secrets are not in it: it names the files or variables that hold them.

[[sink]]
name = "crm"                    # its consumer group is sink-crm, and its label in metrics
kind = "webhook"                # or "alertmanager", "apprise"
url = "https://crm.example.com/alerts"
secret_file = "crm.secret"      # or secret_env; relative to this file
severity = "warning"            # at least; without it all
rules = ["renewal-at-risk"]     # only these; without it all

All fields: docs/how-to/forward-alerts.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from streamer import toml_places
from streamer.alerts.alert import State
from streamer.durations import Duration, parse_duration
from streamer.errors import SettingsError
from streamer.network import check_name, is_loopback

# Shorter ones can be found by trying.
SECRET_LENGTH_MIN: Final = 16
REQUEST_MS: Final = (100, 60_000)
GIVE_UP_MS: Final = (1_000, 24 * 3_600_000)
RESEND_MS: Final = (1_000, 3_600_000)
# Labels that each alert has of its own in Alertmanager.
_RESERVED: Final = frozenset({"alertname", "entity", "rule", "severity"})

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every sink has.

    severity: at least. rules: only these, empty for all. states: only these transitions. timeout: of one attempt. give_up_after: an alert
    that was not taken for so long goes to the dead letters. start: where a sink begins that is new: with what is new, or with all that the
    stream still has.
    """

    name: Name
    severity: Literal["info", "warning", "critical"] = "info"
    rules: tuple[str, ...] = ()
    states: tuple[State, ...] = ("firing", "amended", "resolved", "retracted")
    timeout: Duration = Duration(10_000)
    give_up_after: Duration = Duration(15 * 60_000)
    start: Literal["new", "all"] = "new"
    allow_insecure: bool = False

    @property
    def address(self) -> str:
        """Where it leads, as far as that is no secret."""
        return ""


class Webhook(Common, frozen=True, kw_only=True, tag="webhook"):
    """A signed POST of each record."""

    url: str
    secret_file: Path | None = None
    secret_env: str = ""
    ca_file: Path | None = None

    @property
    def address(self) -> str:
        """The URL without its query."""
        return self.url.partition("?")[0]


class Alertmanager(Common, frozen=True, kw_only=True, tag="alertmanager"):
    """Prometheus's Alertmanager. ids: customer, journey and issue in annotations, never in labels."""

    url: str
    username: str = ""
    password_file: Path | None = None
    password_env: str = ""
    ca_file: Path | None = None
    resend: Duration = Duration(60_000)
    ids: bool = False
    labels: dict[str, str] = {}
    generator_url: str = ""

    @property
    def address(self) -> str:
        """The URL without its query."""
        return self.url.partition("?")[0]


class Chat(Common, frozen=True, kw_only=True, tag="apprise"):
    """A service of the library apprise; its URL has tokens in it and is therefore a secret as a whole. ids: customers in messages."""

    url_file: Path | None = None
    url_env: str = ""
    ids: bool = False
    states: tuple[State, ...] = ("firing", "resolved", "retracted")

    @property
    def address(self) -> str:
        """Masked."""
        return "**********"


SinkConfig = Webhook | Alertmanager | Chat


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sink: tuple[SinkConfig, ...]


@dataclass(frozen=True)
class Configured:
    """One sink of the file, with its secret, if it has one."""

    config: SinkConfig
    secret: str | None

    def __repr__(self) -> str:
        return f"Configured({self.config.name})"


def load(path: Path) -> list[Configured]:
    """The sinks of a file.

    Raises:
        SettingsError: the file, or a file or variable that it names, cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path}: is not UTF-8") from exc
    try:
        found = msgspec.convert(toml_places.parse_toml(text), _File, dec_hook=_hook, strict=True)
        if not found.sink:
            raise ValueError("names no sink: add one as [[sink]]")
        return [_only(number, found, path.parent) for number in range(len(found.sink))]
    except ValueError as exc:  # msgspec's own errors are ValueErrors
        raise SettingsError(toml_places.sentence(path, text, exc)) from exc


def _only(number: int, file: _File, directory: Path) -> Configured:
    """The sink of this number, if no other before it has its name. Raises ValueError."""
    config = file.sink[number]
    with toml_places.at("sink", number):
        if config.name in [other.name for other in file.sink[:number]]:
            raise ValueError(f"two sinks are called {config.name}")
        return _checked(config, directory)


def _hook(kind: type, value: Any) -> Any:
    if kind is Duration and isinstance(value, str):
        return parse_duration(value)
    if kind is Path and isinstance(value, str):
        if "\0" in value:
            raise ValueError("a path has no NUL in it")
        return Path(value)
    raise ValueError(f"expected a text, got {value!r}")


def _checked(config: SinkConfig, directory: Path) -> Configured:
    """The sink with its secret. Raises ValueError with the sentence to print after the file's name."""
    where = f"sink {config.name}"
    _within(f"{where}: timeout", config.timeout, REQUEST_MS)
    _within(f"{where}: give_up_after", config.give_up_after, GIVE_UP_MS)
    if "" in config.rules:
        raise ValueError(f"{where}: rules has an empty name, which no rule has")
    if not config.states:
        raise ValueError(f"{where}: states names none, so that it would get no alert: leave it out for all")
    if not isinstance(config, Chat):
        _check_url(config, where)
        if config.ca_file is not None:
            config = msgspec.structs.replace(config, ca_file=directory / config.ca_file)
    if isinstance(config, Webhook):
        secret = _secret(where, "secret", config.secret_file, config.secret_env, directory)
        if secret is None:
            raise ValueError(f"{where}: receivers cannot tell whom alerts are from without secret_file or secret_env")
        if len(secret) < SECRET_LENGTH_MIN:
            raise ValueError(f"{where}: its secret has fewer than {SECRET_LENGTH_MIN} characters: try `openssl rand -hex 32`")
        return Configured(config, secret)
    if isinstance(config, Chat):
        url = _secret(where, "url", config.url_file, config.url_env, directory)
        if url is None:
            raise ValueError(f"{where}: url_file or url_env is missing")
        return Configured(config, url)
    _within(f"{where}: resend", config.resend, RESEND_MS)
    if {"?", "#"} & set(config.url):
        raise ValueError(f"{where}: its url is the base address alone, without ? and #: the path of the API is added to it")
    if config.generator_url:
        _check_link(config.generator_url, where)
    for name in config.labels:
        if name in _RESERVED:
            raise ValueError(f"{where}: the label {name} is each alert's own: call yours otherwise")
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
            raise ValueError(f"{where}: {name!r} is no name for a label: letters, digits and underscores are")
    password = _secret(where, "password", config.password_file, config.password_env, directory)
    if (password is None) != (config.username == ""):
        raise ValueError(f"{where}: username goes with password_file or password_env")
    if ":" in config.username:
        raise ValueError(f"{where}: its username has a colon in it, where basic authentication begins the password")
    return Configured(config, password)


def _check_link(text: str, where: str) -> None:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and text.isprintable() and " " not in text
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{where}: its generator_url is to look like https://host/path")


def _within(what: str, value: Duration, bounds: tuple[int, int]) -> None:
    if not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"{what} is to be from {bounds[0] / 1000:g} s to {bounds[1] / 1000:g} s")


def _check_url(config: Webhook | Alertmanager, where: str) -> None:
    try:
        url = urlsplit(config.url)
        host = url.hostname or ""
        _ = url.port  # raises if it is none
        check_name(host)
    except ValueError as exc:
        raise ValueError(f"{where}: its url cannot be one ({exc})") from exc
    if not host or url.scheme not in ("http", "https") or any(char.isspace() or not char.isprintable() for char in config.url):
        raise ValueError(f"{where}: its url is to look like https://host/path")
    if url.username is not None or url.password is not None:
        raise ValueError(f"{where}: its url has a user or password in it, which belong into a file or the environment")
    if url.scheme == "http" and not is_loopback(host) and not config.allow_insecure:
        raise ValueError(f"{where} leads to {host} in the clear: use https, or set allow_insecure")
    if url.scheme == "http" and config.ca_file is not None:
        raise ValueError(f"{where}: ca_file has no effect with http: use https")


def _secret(where: str, what: str, file: Path | None, variable: str, directory: Path) -> str | None:
    """The text of a file or variable; None if neither is named."""
    if file is not None and variable:
        raise ValueError(f"{where}: {what}_file and {what}_env exclude each other")
    if file is not None:
        try:
            found = (directory / file).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise ValueError(f"{where}: {what}_file names {file}, which cannot be read: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise ValueError(f"{where}: {what}_file names {file}, which is not text in UTF-8") from exc
    elif variable:
        found = os.environ.get(variable, "").strip()
        try:
            found.encode()
        except UnicodeEncodeError as exc:  # what Python makes of other bytes
            raise ValueError(f"{where}: {what}_env names {variable}, which is not text in UTF-8") from exc
    else:
        return None
    if not found:
        raise ValueError(f"{where}: {what}_file or {what}_env names something empty")
    return found
