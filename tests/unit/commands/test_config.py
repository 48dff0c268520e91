from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer import cli, settings
from streamer.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


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
@pytest.mark.parametrize("url", ["redis://user:canary@host:6379/0", "redis://:canary@host/0", "redis://u:cana@ry:canary/@host/0"])
def test_no_password_is_shown(url: str, form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_REDIS_URL", url)
    monkeypatch.setenv("STREAMER_KAFKA_PASSWORD", "canary")
    result = run("show", *form)
    assert result.exit_code == 0
    assert "cana" not in result.stdout
    assert "host" in result.stdout


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
    with pytest.raises(SettingsError, match="is no setting"):
        settings.load()


@pytest.mark.parametrize("content", [b"partitions = = 4\n", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_one_sentence(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer.toml").write_bytes(content)
    monkeypatch.setenv("STREAMER_SETTINGS_FILE", str(tmp_path / "streamer.toml"))
    result = run("check")
    assert result.exit_code == 2
    assert str(tmp_path / "streamer.toml") in result.stderr


@pytest.mark.parametrize("name", ["STREAMER_SETTINGS_FILE", "STREAMER_SECRETS_DIR"])
def test_a_named_file_or_directory_that_is_missing_is_an_error_and_not_silence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/nonexistent")
    with pytest.raises(SettingsError, match=f"{name} names /nonexistent, which is not there"):
        settings.load()


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
