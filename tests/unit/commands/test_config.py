from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer import cli, settings
from streamer.alerts.connection import connect
from streamer.engine import topic_admin
from streamer.errors import DeliveryError, SettingsError

if TYPE_CHECKING:
    from typer.testing import Result


METRICS_FILES = ("metrics_cert_file", "metrics_key_file", "metrics_ca_file")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("STREAMER_"):
            monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application("config"), ["config", *arguments])


def test_environment_wins_over_file_wins_over_secrets_wins_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer.toml").write_text('partitions = 8\nrollup_partitions = 2\nredis_prefix = "file:"\n')
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "streamer_redis_password").write_text("from the secret")
    (secrets / "streamer_redis_prefix").write_text("secret:")
    monkeypatch.setenv("STREAMER_SETTINGS_FILE", str(tmp_path / "streamer.toml"))
    monkeypatch.setenv("STREAMER_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("STREAMER_PARTITIONS", "4")
    loaded = settings.load()
    assert (loaded.partitions, loaded.rollup_partitions, loaded.redis_prefix, loaded.app) == (4, 2, "file:", "cx")
    assert loaded.redis_password is not None
    assert loaded.redis_password.get_secret_value() == "from the secret"
    shown = json.loads(run("show", "--json").stdout)["settings"]
    wanted = {
        "partitions": "environment",
        "rollup_partitions": "file",
        "redis_prefix": "file",
        "redis_password": "secret",
        "app": "default",
    }
    assert {name: shown[name]["origin"] for name in wanted} == wanted


def test_values_of_the_command_line_win_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_PARTITIONS", "4")
    assert settings.load(partitions=2).partitions == 2


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("url", ["redis://user:canary@host:6379/0", "redis://:canary@host/0", "redis://u:cana@ry:canary@host/0"])
def test_no_password_is_shown(url: str, form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_REDIS_URL", url)
    monkeypatch.setenv("STREAMER_ALLOW_INSECURE", "true")
    monkeypatch.setenv("STREAMER_KAFKA_SECURITY", "SASL_SSL")
    monkeypatch.setenv("STREAMER_KAFKA_USERNAME", "cx-worker")
    monkeypatch.setenv("STREAMER_KAFKA_PASSWORD", "canary")
    result = run("show", *form)
    assert result.exit_code == 0
    assert "cana" not in result.stdout
    assert "host" in result.stdout


def test_the_password_of_a_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_REDIS_URL", "rediss://redis/0?ssl_keyfile=/key.pem&ssl_password=canary&health_check_interval=5")
    shown = run("show").stdout
    assert "rediss://redis/0?ssl_keyfile=/key.pem&ssl_password=**********&health_check_interval=5" in shown


def test_each_thing_wrong_is_one_sentence_with_the_variable_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_PARTITIONS", "0")
    monkeypatch.setenv("STREAMER_KAFKA_SECURITY", "TLS")
    result = run("check")
    assert result.exit_code == 2
    assert sorted(result.stderr.splitlines()) == [
        (
            "error: kafka_security: input should be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL', not 'TLS'"
            " (environment: STREAMER_KAFKA_SECURITY)"
        ),
        "error: partitions: input should be greater than or equal to 1, not '0' (environment: STREAMER_PARTITIONS)",
    ]
    assert len(json.loads(run("check", "--json").stdout)["errors"]) == 2


def test_an_insecure_combination_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_KAFKA_SECURITY", "SASL_PLAINTEXT")
    with pytest.raises(SettingsError, match=r"^SASL_PLAINTEXT sends the password in the clear: use SASL_SSL, or set allow_insecure$"):
        settings.load()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kafka_bootstrap": "127.0.0.1:1,kafka-2:9092"}, "kafka_bootstrap leads to kafka-2 in the clear"),
        ({"kafka_bootstrap": "[fd00::1]:9092"}, "kafka_bootstrap leads to fd00::1 in the clear"),
        *(
            ({"kafka_bootstrap": addresses}, f"kafka_bootstrap: {wrong!r} is no address: write host:port")
            for addresses, wrong in {
                "": "",
                ",": "",
                "127.0.0.1:abc": "127.0.0.1:abc",
                "127.0.0.1:99999": "127.0.0.1:99999",
                "127.0.0.1:0": "127.0.0.1:0",
                "127.0.0.1:": "127.0.0.1:",
                "127.0.0.1:9092, a b:1": "a b:1",
                "::1": "::1",
                "[::1:2": "[::1:2",
                "[one]:2": "[one]:2",
                "kafka://127.0.0.1:9092": "kafka://127.0.0.1:9092",
                "kafka..svc:9092": "kafka..svc:9092",
                f"{'k' * 64}.svc:9092": f"{'k' * 64}.svc:9092",
            }.items()
        ),
        ({"kafka_username": "u"}, "kafka_username and kafka_password have no effect with PLAINTEXT"),
        ({"kafka_password": "canary"}, "kafka_username and kafka_password have no effect with PLAINTEXT"),
        ({"kafka_security": "SSL", "kafka_password": "canary"}, "kafka_username and kafka_password have no effect with SSL"),
        ({"kafka_security": "SASL_SSL", "kafka_username": "u"}, "SASL_SSL needs kafka_username and kafka_password"),
        ({"kafka_security": "SASL_SSL", "kafka_username": "u", "kafka_password": ""}, "SASL_SSL needs kafka_username and kafka_password"),
        ({"kafka_ca_file": "/ca.pem"}, "kafka_ca_file has no effect with PLAINTEXT"),
        ({"redis_ca_file": "/ca.pem"}, "redis_ca_file has no effect with redis://"),
        *(({"metrics_host": host}, "metrics_host names no host: between the dots") for host in ("a..b", "h" * 64)),
        *(({"redis_url": f"redis://u:canary@{host}:1/0"}, "redis_url names no host: between the dots") for host in ("a..b", "h" * 64)),
        ({"redis_url": "redis://u:canary@redis:6379/0"}, "redis_url leads to redis in the clear"),
        *(
            ({"redis_url": f"{scheme}://u:canary{special}more@redis:6379/0"}, "redis_url is no address: percent-encode what is special")
            for scheme in ("redis", "rediss")
            for special in "/?#[]"
        ),
        *(
            (
                {"redis_url": f"{scheme}://{place}"},
                "redis_url is no address: it looks like redis://host:6379/0, with a port from 1 to 65535",
            )
            for scheme in ("redis", "rediss")
            for place in (
                "127.0.0.1:99999/0",
                "127.0.0.1:0/0",
                "127.0.0.1:6379/x",
                "127.0.0.1:x",
                "u:canary@127.0.0.1:99999/0",
                "[::1/0",
                "h#0",
            )
        ),
        *(({"topic_prefix": prefix}, "topic_prefix: string should match pattern") for prefix in ("a b", "a/", "ä.")),
        *(({name: "x" * 231}, f"{name}: string should have at most 230 characters") for name in ("topic_prefix", "app")),
        ({"redis_url": "rediss://?canary@redis:6379/0"}, "redis_url is no address: percent-encode what is special"),
        ({"redis_url": "rediss://u:12?canary@redis:6379/0"}, "redis_url is no address: percent-encode what is special"),
        *(
            ({"redis_url": url}, "redis_url is no address of a Redis: it begins with redis://, rediss:// or unix://")
            for url in ("", "foo", "http://u:canary@redis:6379/0", "redis:canary@redis", "REDISS://u:canary@redis/0")
        ),
        ({"metrics_cert_file": "/cert.pem"}, "metrics_cert_file, metrics_key_file and metrics_ca_file go together"),
        (dict.fromkeys(METRICS_FILES, "/absent.pem"), "metrics_ca_file names /absent.pem, which is not there"),
        ({"metrics_host": "0.0.0.0"}, "metrics_host 0.0.0.0 can be reached from other machines"),  # noqa: S104
        ({"redis_url": "rediss://u:canary@redis/0?ssl_cert_reqs=none"}, "redis_url sets ssl_cert_reqs"),
        ({"redis_url": "rediss://u:canary@redis/0?ssl_check_hostname=false"}, "redis_url sets ssl_check_hostname"),
        *(
            ({"redis_url": url}, "redis_url has a password among its options (after ?), where it would be shown: use redis_password")
            for url in (
                "unix:///run/redis.sock?db=0&password=canary",
                "redis://127.0.0.1:6379/0?username=u&%70assword=canary",
                "rediss://redis/0?password=canary",
            )
        ),
    ],
)
def test_what_would_be_open_or_without_effect_is_refused(values: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"STREAMER_{name.upper()}", value)
    result = run("check")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {sentence}")
    assert "canary" not in result.output


@pytest.mark.parametrize(
    "values",
    [
        {"kafka_bootstrap": "kafka-2:9092", "redis_url": "redis://redis:6379/0", "allow_insecure": "true"},
        {"kafka_bootstrap": "kafka-2:9092", "kafka_security": "SSL", "redis_url": "rediss://redis:6379/0"},
        {"kafka_bootstrap": "localhost:1, [::1]:2,127.0.0.1,[::1]", "redis_url": "redis://localhost:6379/0"},
        {"redis_url": "unix:///run/redis.sock"},
    ],
)
def test_what_is_encrypted_or_stays_on_this_machine_or_was_allowed_is_accepted(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"STREAMER_{name.upper()}", value)
    assert run("check").exit_code == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "which is not there"), (b"", "which holds no certificate in PEM"), (b"nonsense", "which holds no certificate in PEM")],
)
def test_a_ca_file_that_cannot_be_used_is_found_before_anything_connects(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("STREAMER_KAFKA_SECURITY", "SSL")
    monkeypatch.setenv("STREAMER_KAFKA_CA_FILE", str(file))
    monkeypatch.setenv("STREAMER_REDIS_URL", "rediss://redis:6379/0")
    monkeypatch.setenv("STREAMER_REDIS_CA_FILE", str(file))
    result = run("check")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"error: {name} names {file}, {reason}" for name in ("kafka_ca_file", "redis_ca_file")]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("timeout=5", "the Redis URL has an option that there is not (timeout): leave it out"),
        ("socket_timeout=soon", "the Redis URL is not usable: it looks like redis://host:6379/0"),
        ("decode_responses=true", "the Redis URL has the option decode_responses"),
    ],
)
def test_an_option_of_redis_that_there_is_not_is_found_before_anything_connects(
    option: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMER_REDIS_URL", f"redis://:canary@127.0.0.1:6379/0?{option}")
    result = run("check")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {sentence}")
    assert "canary" not in result.output


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_cert_reqs=", "ssl_check_hostname=false"])
def test_programs_that_connect_by_themselves_check_certificates_too(option: str) -> None:
    url = f"rediss://u:canary@redis/0?{option}"
    with pytest.raises(DeliveryError, match=f"sets {option.partition('=')[0]}: a certificate that is not checked") as caught:
        _ = connect(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("alert_stream_age_seconds", "10000000000"), ("alert_stream_length", "10000000000000000000")])
def test_bounds_that_redis_would_refuse_after_the_first_write_are_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"STREAMER_{name.upper()}", value)
    result = run("check")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {name}: input should be less than or equal to")


def test_the_longest_names_of_topics_are_as_long_as_kafka_takes() -> None:
    names = [spec.name for spec in topic_admin.specs(settings.Settings(app="x" * 230, topic_prefix="X" * 230))]
    assert max(len(name) for name in names if name.startswith("x")) == 249
    assert max(len(name) for name in names if name.startswith("X")) == 249


def test_a_path_that_is_set_to_nothing_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optional = [name for name, info in settings.Settings.model_fields.items() if info.annotation == Path | None]
    assert "definitions" in optional
    for name in optional:
        monkeypatch.setenv(f"STREAMER_{name.upper()}", "")
    assert run("check").exit_code == 0
    assert [getattr(settings.load(), name) for name in optional] == [None] * len(optional)


def test_a_secret_that_may_not_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *_args: object, **_kwargs: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))  # the user of the tests may be root, who may read all

    (tmp_path / "streamer_kafka_password").write_text("canary")
    monkeypatch.setenv("STREAMER_SECRETS_DIR", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.read_text", denied)
    with pytest.raises(SettingsError, match=r"streamer_kafka_password cannot be read: Permission denied$"):
        settings.load()


def test_a_wrong_secret_is_not_repeated_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer.toml").write_text('redis_password = ["canary"]\nredis_url = ["canary"]\n')
    monkeypatch.setenv("STREAMER_SETTINGS_FILE", str(tmp_path / "streamer.toml"))
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert "redis_password" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["partition = 4\n", "[kafka]\nbootstrap = 'x'\n"])
def test_a_misspelt_key_of_the_file_is_an_error(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer.toml").write_text(text)
    monkeypatch.setenv("STREAMER_SETTINGS_FILE", str(tmp_path / "streamer.toml"))
    with pytest.raises(SettingsError, match=r"^.*/streamer.toml:1: \w+ is no setting"):
        settings.load()


def test_a_number_of_the_file_that_python_does_not_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "streamer.toml"
    file.write_text("\npartitions = " + "9" * 5_000)
    monkeypatch.setenv("STREAMER_SETTINGS_FILE", str(file))
    with pytest.raises(SettingsError, match=rf"^{file}:2: no TOML that can be read: a number has thousands of digits$"):
        settings.load()


def test_a_wrong_value_is_told_with_its_line_if_it_comes_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "streamer.toml"
    file.write_text('app = "cx"\n\npartitions = 0\nrollup_partitions = 0\n')
    monkeypatch.setenv("STREAMER_SETTINGS_FILE", str(file))
    monkeypatch.setenv("STREAMER_ROLLUP_PARTITIONS", "-1")
    assert run("check").stderr.splitlines() == [
        f"error: {file}:3: partitions: input should be greater than or equal to 1, not 0",
        "error: rollup_partitions: input should be greater than or equal to 1, not '-1' (environment: STREAMER_ROLLUP_PARTITIONS)",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\npartitions = = 4\n", ":2: no TOML: invalid value"),
        (b"\xff\xfe", ": not text in UTF-8"),
        (b"x = " + b"[" * 3_000 + b"]" * 3_000, ":1: no TOML that can be read: it is nested too deeply"),
        (b"\xef\xbb\xbf\npartitions = 0\n", ":2: partitions: "),
    ],
)
def test_a_file_that_is_no_toml_is_one_sentence(content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer.toml").write_bytes(content)
    monkeypatch.setenv("STREAMER_SETTINGS_FILE", str(tmp_path / "streamer.toml"))
    result = run("check")
    assert result.exit_code == 2
    assert f"{tmp_path}/streamer.toml{said}" in result.stderr


@pytest.mark.parametrize("name", ["STREAMER_SETTINGS_FILE", "STREAMER_SECRETS_DIR"])
def test_a_named_file_or_directory_that_is_missing_is_an_error_and_not_silence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/nonexistent")
    with pytest.raises(SettingsError, match=f"{name} names /nonexistent, which is not there"):
        settings.load()


@pytest.mark.parametrize(("name", "kind"), [("STREAMER_SETTINGS_FILE", "file"), ("STREAMER_SECRETS_DIR", "directory")])
def test_a_directory_is_no_file_and_a_file_no_directory(name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").touch()
    path = tmp_path if kind == "file" else tmp_path / "f"
    monkeypatch.setenv(name, str(path))
    result = run("check")
    assert (result.exit_code, result.stderr) == (2, f"error: {name} names {path}, which is no {kind}\n")


def test_a_secret_that_is_a_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer_kafka_password").mkdir()
    monkeypatch.setenv("STREAMER_SECRETS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"/streamer_kafka_password cannot be read: found a directory instead$"):
        settings.load()


def test_a_misspelt_secret_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer_kafka_pasword").write_text("canary")
    (tmp_path / "another_programs").write_text("canary")
    monkeypatch.setenv("STREAMER_SECRETS_DIR", str(tmp_path))
    result = run("check")
    assert (result.exit_code, result.stderr) == (0, f"warning: {tmp_path}/streamer_kafka_pasword is no setting and has no effect\n")


def test_a_misspelt_variable_is_a_warning_because_platforms_set_some_of_our_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_PARTITION", "4")
    result = run("check")
    assert result.exit_code == 0
    assert result.stderr == "warning: STREAMER_PARTITION is no setting and has no effect\n"
    assert result.stdout == "settings and definitions hold together\n"


def test_definitions_that_do_not_hold_together_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "definitions.toml").write_text("revision = 'seven'")
    monkeypatch.setenv("STREAMER_DEFINITIONS", str(tmp_path / "definitions.toml"))
    result = run("check")
    assert result.exit_code == 2
    assert "definitions.toml" in result.stderr
