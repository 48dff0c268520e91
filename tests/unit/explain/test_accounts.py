"""An account through the commands that look at history: backtest, explain, replay and tests of rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.errors import InputError
from tests.history_support import event

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

RULES = """\
revision = 1
windows = ["1h"]
[[slice]]
by = []
[[rule]]
id = "busy"
on = "account"
metric = "contacts"
windows = ["1h"]
when = "value >= 3"
[[rule]]
id = "often"
on = "customer"
when = "contacts >= 2"
"""
LABEL = {"incident": "bill-run", "start": "2026-03-02T08:00:00Z", "end": "2026-03-02T09:00:00Z",
         "metrics": [{"metric": "contacts", "direction": "up"}]}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "rules.toml").write_text(RULES)
    who = [("ann", "acme"), ("ben", "acme"), ("cleo", "globex"), ("ann", "acme"), ("dora", None)]
    of = [{"account_id": account} if account else {} for _, account in who]
    # Within a second, which is what rules are decided for.
    events = [event(n + 0.007, name, "contact.started", "phone", **of[n]) for n, (name, _) in enumerate(who)]
    events.append(event(200, "dora", "page.viewed"))
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    (tmp_path / "labels.jsonl").write_text(json.dumps(LABEL) + "\n")
    return [str(tmp_path / "history.jsonl"), "--definitions", str(tmp_path / "rules.toml")]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.application(arguments[0]), list(arguments))


def told(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_backtest_tells_the_account_and_judges_it_by_incidents(files: list[str], tmp_path: Path) -> None:
    found = told("backtest", files[2], files[0], "--labels", str(tmp_path / "labels.jsonl"))
    fired = [(row["about"], row["time"], row["incidents"]) for row in found["firings"] if row["rule"] == "busy"]
    assert fired == [({"account": "acme"}, "2026-03-02T08:03:00.000Z", ["bill-run"])]


@pytest.mark.parametrize("id_", ["alert_id", "fingerprint"])
def test_its_alert_is_explained_by_the_accounts_own_series(id_: str, files: list[str]) -> None:
    (fired,) = [row for row in told("backtest", files[2], files[0])["firings"] if row["rule"] == "busy"]
    found = told("explain", fired[id_], *files)
    assert (found["kind"], found["alert"]["entity"]) == ("alert", {"account_id": "acme"})
    assert [(one["series"], one["status"], one["windows"][0]["value"]) for one in found["series"]] == [({"account": "acme"}, "firing", 3)]
    assert [(one["state"], one["series"]) for one in found["told"]] == [("firing", {"account": "acme"})]
    assert "busy on account acme: firing since 2026-03-02T08:03:00.000Z" in run("explain", fired[id_], *files).stdout


def test_an_account_is_explained_by_its_name_and_the_rule_by_its_accounts(files: list[str]) -> None:
    at = ("--at", "2026-03-02T08:30:00Z")
    found = told("explain", "account:globex", *files, *at)
    assert (found["kind"], found["told"]) == ("account", [])
    (series,) = found["series"]
    assert (series["rule"], series["status"]) == ("busy", "ok")
    assert series["counterfactual"] == "It would have fired with `value` over 1h at 3 or more (it was 1)."
    assert [one["series"] for one in told("explain", "rule:busy", *files, *at)["series"]] == [{"account": "acme"}, {"account": "globex"}]


def test_what_is_said_of_a_customer_names_the_account(files: list[str]) -> None:
    found = told("explain", "ann", *files)
    assert (found["accounts"], [row["rule"] for row in found["rules"]]) == (["acme"], ["often"])
    assert "Of the account acme, whose rules `streamer explain account:acme` explains." in run("explain", "ann", *files).stdout
    assert told("explain", "dora", *files)["accounts"] == []


def test_an_account_that_is_not_there_and_definitions_without_such_a_rule(files: list[str], tmp_path: Path) -> None:
    assert str(run("explain", "account:none", *files).exception) == "nothing in this log is called 'none' (looked for: account)"
    (tmp_path / "rules.toml").write_text(RULES.replace('on = "account"\n', ""))
    missing = run("explain", "account:acme", *files).exception
    assert isinstance(missing, InputError)
    assert str(missing) == "the definitions have no rule on accounts"


def test_a_replay_has_its_alerts_and_no_number_of_an_account(files: list[str]) -> None:
    found = told("replay", *files)
    assert found["alerts"]["by_rule"]["busy"] == {"firing": 1, "resolved": 1}
    assert {tuple(metric["slice"]) for metric in found["metrics"]} == {()}
    assert "acme" not in json.dumps(found)


def test_tests_of_rules_expect_an_account(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(
        'definitions = "rules.toml"\n[[test]]\nname = "three"\n'
        """events = ['10:0{1..3}:00 c-{1..3} contact.started {"channel": "phone", "account_id": "acme"}']\n"""
        'expect = [{ rule = "busy", account = "acme", at = "10:03:00" }]\n'
    )
    done = run("rules", "test", str(tmp_path / "t.toml"))
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "1 test, 0 failed")
    (tmp_path / "t.toml").write_text((tmp_path / "t.toml").read_text().replace('account = "acme", at', 'account = "globex", at'))
    assert 'not expected: rule "busy" firing, warning, at 10:03:00, account acme' in run("rules", "test", str(tmp_path / "t.toml")).stdout
