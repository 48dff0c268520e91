"""The file that names the sinks: what it may say, and the sentence for everything else."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from streamer.cli import app
from streamer.errors import SettingsError
from streamer.sinks import config as sinks
from streamer.sinks.make import make
from tests.sink_support import SECRET, write_config

if TYPE_CHECKING:
    from pathlib import Path

CRM = 'name = "crm"\nkind = "webhook"\nurl = "https://crm.example.com/in?key=x"\nsecret_file = "crm.secret"\n'
PAGER = 'name = "pager"\nkind = "alertmanager"\nurl = "http://127.0.0.1:9093"\n'
TEAM = 'name = "team"\nkind = "apprise"\nurl_env = "TEAM_URL"\n'


def test_secrets_come_from_files_beside_it_or_the_environment_and_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_URL", "slack://tokens")
    monkeypatch.setenv("PASSWORD", "pass")
    pager = f'{PAGER}username = "u"\npassword_env = "PASSWORD"\n'
    found = sinks.load(write_config(tmp_path, CRM, pager, TEAM))
    assert [sink.secret for sink in found] == [SECRET, "pass", "slack://tokens"]
    shown = repr(found) + CliRunner().invoke(app, ["alerts", "forward", "--config", str(tmp_path / "sinks.toml"), "--check"]).stdout
    assert [secret for secret in (SECRET, "pass\n", "slack://tokens", "key=x") if secret in shown] == []


def test_defaults_are_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_URL", "slack://x")
    webhook, pager, team = (sink.config for sink in sinks.load(write_config(tmp_path, CRM, PAGER, TEAM)))
    assert (webhook.severity, webhook.rules, webhook.timeout, webhook.give_up_after, webhook.start) == ("info", (), 10_000, 900_000, "new")
    assert webhook.states == pager.states == ("firing", "amended", "resolved", "retracted")
    assert team.states == ("firing", "resolved", "retracted")


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ([], "names no sink|missing required field `sink`"),
        ([CRM, CRM], "two sinks are called crm"),
        ([CRM + "rules = " + "[" * 3_000 + "]" * 3_000], "sinks.toml:1: no TOML that can be read: it is nested too deeply"),
        ([CRM + 'urll = "x"\n'], "unknown field `urll` - at `\\$.sink\\[0\\]`"),
        ([CRM.replace("webhook", "web")], "Invalid value 'web' - at `\\$.sink\\[0\\].kind`"),
        ([CRM.replace('"crm"', '"Crm x"')], "matching regex .* at `\\$.sink\\[0\\].name`"),
        ([CRM.replace("https://crm.example.com", "http://crm.example.com")], "sink crm leads to crm.example.com in the clear"),
        ([CRM.replace("https://", "https://u:p@")], "has a user or password in it"),
        ([CRM.replace("https://", "ftp://")], "look like https://host/path"),
        ([CRM.replace("https://crm.example.com", "https://[x")], "its url cannot be one"),
        ([CRM.replace('secret_file = "crm.secret"\n', "")], "without secret_file or secret_env"),
        ([CRM.replace("crm.secret", "other")], "secret_file names other, which cannot be read: No such file"),
        ([CRM + 'secret_env = "X"\n'], "secret_file and secret_env exclude each other"),
        ([CRM.replace('secret_file = "crm.secret"', 'secret_env = "SHORT"')], "fewer than 16 characters"),
        ([CRM.replace('secret_file = "crm.secret"', 'secret_env = "NOT_SET"')], "names something empty"),
        ([CRM + 'timeout = "soon"\n'], "expected a duration such as 30s"),
        ([CRM + 'timeout = "1h"\n'], "timeout is to be from 0.1 s to 60 s"),
        ([CRM + "timeout = 10\n"], "expected a text, got 10"),
        ([CRM + 'give_up_after = "30d"\n'], "give_up_after is to be from 1 s to 86400 s"),
        ([CRM + 'severity = "bad"\n'], "Invalid enum value 'bad'"),
        ([CRM + 'states = ["fired"]\n'], "Invalid enum value 'fired'"),
        ([CRM + "states = []\n"], "states names none"),
        ([CRM + 'rules = [""]\n'], "rules has an empty name"),
        ([PAGER.replace("http://127", "http://127.0.0.1/ http://127")], "look like https://host/path"),
        ([PAGER.replace("9093", "9093\\n")], "look like https://host/path"),
        ([CRM.replace('secret_file = "crm.secret"', 'secret_env = "LATIN"')], "LATIN, which is not text in UTF-8"),
        ([PAGER.replace("9093", "99999")], "its url cannot be one"),
        ([PAGER.replace("http://127.0.0.1:9093", "https://a..b")], "its url cannot be one"),
        ([PAGER + 'username = "corp:bob"\npassword_env = "SHORT"\n'], "username has a colon in it"),
        ([PAGER + 'ca_file = "x"\n'], "ca_file has no effect with http"),
        ([PAGER + 'username = "u"\n'], "username goes with password_file or password_env"),
        ([PAGER + 'resend = "1ms"\n'], "resend is to be from 1 s"),
        ([PAGER + 'labels = { "a b" = "c" }\n'], "'a b' is no name for a label"),
        ([PAGER + 'labels = { severity = "page" }\n'], "the label severity is each alert's own"),
        *(([PAGER.replace("9093", f"9093/{rest}")], "is the base address alone") for rest in ("#/alerts", "?x=1", "?", "#")),
        *(([PAGER + f'generator_url = "{url}"\n'], "generator_url is to look like") for url in ("no url", "/d", "ftp://h/d", "http://[x")),
        ([PAGER.replace("http", "https") + 'ca_file = "a\\u0000b"\n'], "a path has no NUL in it"),
        ([TEAM.replace('url_env = "TEAM_URL"', "")], "url_file or url_env is missing"),
        (["name = 'x"], "no TOML: expected \"'\""),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: list[str], sentence: str) -> None:
    monkeypatch.setenv("SHORT", "short")
    monkeypatch.setenv("LATIN", b"no\xefl of sixteen bytes".decode(errors="surrogateescape"))
    path = write_config(tmp_path, *tables)
    with pytest.raises(SettingsError, match=sentence) as caught:
        sinks.load(path)
    assert re.match(f"{re.escape(str(path))}:[0-9]+: ", str(caught.value))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "line"), [(PAGER + 'resend = "1ms"\n', 7), (PAGER + 'urll = "x"\n', 11), (PAGER.replace("pager", "Pager"), 8), (CRM, 7)]
)
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, wrong: str, line: int) -> None:
    path = write_config(tmp_path, CRM, wrong)
    with pytest.raises(SettingsError, match=f"sinks.toml:{line}: "):
        sinks.load(path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        sinks.load(tmp_path / "sinks.toml")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("json://chat.example.com/x", "in the clear"),
        ("mailto://u:p@mail.example.com", "in the clear"),
        ("mailtos://u:p@mail.example.com?mode=insecure", "in the clear"),
        ("mailtos://u:p@mail.example.com?verify=no", "verify=no"),
        ("jsons://chat.example.com/x?verify=no", "verify=no"),
        ("jsons://chat.example.com/x?redirect=yes", "redirect=yes"),
        ("gibberish", "apprise does not know its URL"),
    ],
)
def test_a_chat_that_leads_elsewhere_in_the_clear_or_is_unknown_is_refused(tmp_path: Path, url: str, sentence: str) -> None:
    (tmp_path / "url").write_text(url)
    table = TEAM.replace('url_env = "TEAM_URL"', 'url_file = "url"')
    [configured] = sinks.load(write_config(tmp_path, table))
    with pytest.raises(SettingsError, match=f"sink team: .*{sentence}") as caught:
        make(configured)
    assert url not in str(caught.value), "it is a secret"


@pytest.mark.parametrize(
    "url", ["json://127.0.0.1:1/x", "mailtos://u:p@mail.example.com", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"]
)
def test_encrypted_and_local_services_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TEAM_URL", url)
    [configured] = sinks.load(write_config(tmp_path, TEAM))
    asyncio.run(make(configured).close())
    [insecure] = sinks.load(write_config(tmp_path, f"{TEAM}allow_insecure = true\n"))
    monkeypatch.setenv("TEAM_URL", "json://chat.example.com")
    asyncio.run(make(insecure).close())


def test_check_says_what_the_file_means(tmp_path: Path) -> None:
    path = write_config(tmp_path, CRM + 'rules = ["a", "b"]\nseverity = "critical"\n', PAGER)
    words = ["alerts", "forward", "--config", str(path), "--check"]
    assert CliRunner().invoke(app, words).stdout.splitlines() == [
        "crm: webhook https://crm.example.com/in, a, b, critical or worse, firing, amended, resolved, retracted",
        "pager: alertmanager http://127.0.0.1:9093, all rules, info or worse, firing, amended, resolved, retracted",
    ]
    printed = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert printed["sinks"][0] == {
        "name": "crm", "kind": "webhook", "address": "https://crm.example.com/in", "group": "sink-crm", "severity": "critical",
        "rules": ["a", "b"], "states": ["firing", "amended", "resolved", "retracted"],
    }  # fmt: skip
