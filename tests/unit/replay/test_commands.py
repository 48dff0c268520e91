"""`replay`, `ingest --dry-run` and `simulate --out` from the command line: no server is needed or asked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streamer.cli import app
from streamer.errors import DefinitionsError, InputError
from streamer.metrics.catalogue import METRICS

MAPPING = """
source = "/crm"
time = { column = "at" }
[[touchpoint]]
type = "case.updated"
fields = { customer_id = "{who}", channel = "phone", issue.case_id = "{case}", actor.owner = "{owner}" }
"""
ROWS = "case,at,who,owner\n1,2026-01-02T00:00:00Z,a,x\n1,2026-01-02T01:00:00Z,a,y\n2,2026-01-01T00:00:00Z,,x\n"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_KAFKA_BOOTSTRAP", "127.0.0.1:1")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "h.csv").write_text(ROWS)
    (tmp_path / "m.toml").write_text(MAPPING)
    return [str(tmp_path / "h.csv"), "--mapping", str(tmp_path / "m.toml")]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_replay_tells_input_accounting_counters_metrics_and_alerts(files: list[str]) -> None:
    told = json.loads(run("replay", *files, "--json").stdout)
    assert (told["rows"], told["events"], told["begin"], told["end"]) == (3, 3, "2026-01-01T00:00:00.000Z", "2026-01-02T01:00:00.000Z")
    assert told["counters"]["HANDOFFS"] == told["counters"]["CASES"] == 1
    assert told["put_aside"] == {"dead-letters: missing_customer": 1}
    assert told["accounting"]["dead_lettered"] == 1
    [handoffs] = [m for m in told["metrics"] if (m["metric"], m["window"], m["slice"]) == ("handoffs", "lifetime", {})]
    assert (handoffs["value"], handoffs["gauge"]) == (1, "cx_handoffs")


def test_replay_for_people_has_the_same_numbers(files: list[str]) -> None:
    said = run("replay", *files).stdout
    assert "3 touchpoints of 3 rows" in said
    assert "handoff_rate" in said
    assert "1 records to dead-letters: missing_customer" in said


def test_where_no_terminal_is_nothing_is_cut(files: list[str]) -> None:
    heading, *rows = run("replay", *files).stdout.splitlines()
    assert (
        heading
        == "3 touchpoints of 3 rows, 2026-01-01T00:00:00.000Z to 2026-01-02T01:00:00.000Z: 2 applied, 0 duplicate, 0 late, 1 dead lettered"
    )
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows if row.startswith("│")]
    metrics = {metric.id for metric in METRICS}
    assert {row[1] for row in cells if row[0] in metrics} == {"lifetime"}
    assert all(row[0] in metrics for row in cells)


def test_an_open_replay_shows_the_windows_as_of_the_last_event(files: list[str]) -> None:
    def windows(*options: str) -> set[str]:
        return {metric["window"] for metric in json.loads(run("replay", *files, "--json", *options).stdout)["metrics"]}

    assert windows() == {"lifetime"}
    assert windows("--open") == {"lifetime", "5m", "1h", "24h"}


def test_replay_prints_the_alerts_before_the_report(tmp_path: Path) -> None:
    lines = []
    for number, channel in enumerate(("web", "phone", "email")):
        lines.append(
            {"type": "contact.started", "time": f"2026-01-01T00:0{number}:00Z", "id": str(number), "source": "s", "channel": channel,
             "customer_id": "c", "issue": {"issue_id": "i"}, "actor": {"initiator": "customer"}}
        )  # fmt: skip
    (tmp_path / "h.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    *alerts, told = [json.loads(line) for line in run("replay", str(tmp_path / "h.jsonl"), "--alerts", "--json").stdout.splitlines()]
    assert [(a["rule"]["id"], a["state"]) for a in alerts] == [("channel-switching", "firing"), ("channel-switching", "resolved")]
    assert told["alerts"] == {"transitions": 2, "by_rule": {"channel-switching": {"firing": 1, "resolved": 1}}}


def test_a_dry_run_says_what_would_be_sent_and_rejected_and_sends_nothing(files: list[str]) -> None:
    told = json.loads(run("ingest", *files, "--dry-run", "--json").stdout)
    assert (told["events"], told["rejected"], told["sent"]) == (3, {"missing_customer": 1}, False)
    assert told["closed_at"] > told["end"]
    assert json.loads(run("ingest", *files, "--dry-run", "--open", "--json").stdout)["closed_at"] is None
    said = run("ingest", *files, "--dry-run").stdout
    assert "1 of them will be dead letters: missing_customer, the first of row 3: customer_id and anonymous_id are missing" in said


def test_an_event_that_the_source_topic_does_not_take_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    line = '{"type":"page.viewed","time":"2026-01-01T00:00:02Z","channel":"web","customer_id":"c","props":{"x":"%s"}}'
    (tmp_path / "h.jsonl").write_text(line % "" + "\n" + line % ("x" * (4 << 20)))
    error = run("ingest", str(tmp_path / "h.jsonl"), "--dry-run").exception
    assert isinstance(error, InputError)
    assert str(error).startswith("row 2 of the file makes an event of 4,194,407 bytes")


def test_definitions_that_cannot_be_read_are_one_sentence(files: list[str], tmp_path: Path) -> None:
    assert isinstance(run("replay", *files, "--definitions", str(tmp_path / "absent.toml")).exception, DefinitionsError)
    (tmp_path / "latin.toml").write_bytes(b"# M\xfcller")
    assert isinstance(run("replay", *files, "--definitions", str(tmp_path / "latin.toml")).exception, DefinitionsError)


def test_a_simulated_file_is_the_same_on_every_day_and_replays(tmp_path: Path) -> None:
    options = ["--seed", "4", "--hours", "0.5", "--rate", "2"]
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    told = json.loads(run("simulate", *options, "--out", str(first), "--json").stdout)
    run("simulate", *options, "--out", str(second))
    assert first.read_bytes() == second.read_bytes()
    assert told["events"] == len(first.read_bytes().splitlines())
    replayed = json.loads(run("replay", str(first), "--json").stdout)
    assert replayed["accounting"]["applied"] + replayed["accounting"]["duplicate"] == told["events"]


def test_a_simulated_file_that_is_called_zipped_is_zipped_the_same_way_every_time(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "x.jsonl", tmp_path / "x.jsonl.gz"
    for file in (plain, zipped):
        assert run("simulate", "--hours", "0.1", "--rate", "1", "--out", str(file)).exit_code == 0
    assert gzip.decompress(zipped.read_bytes()) == plain.read_bytes()
    assert zipped.read_bytes()[3:8] == bytes(5)  # no name, no time
    assert run("events", "check", str(zipped)).exit_code == 0


def test_the_places_of_events_and_labels_are_looked_at_before_either_is_written(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    (tmp_path / "link.jsonl").symlink_to("labels.jsonl")
    for out, reason in ((tmp_path / "absent" / "x.jsonl", "there is no directory"), (tmp_path / "link.jsonl", "give them a file each")):
        error = run("simulate", "--hours", "0.1", "--out", str(out), "--labels", str(labels)).exception
        assert isinstance(error, InputError)
        assert reason in str(error)
        assert not labels.exists()


def test_labels_are_written_as_json_lines(tmp_path: Path) -> None:
    incidents = ["--incident", "payment-outage@+10m,5m", "--incident", "payment-outage:platform=android@-5m,1m"]
    run("simulate", "--hours", "0.5", "--rate", "1", *incidents, "--out", str(tmp_path / "l.jsonl"), "--labels", str(tmp_path / "labels"))
    labels = [json.loads(line) for line in (tmp_path / "labels").read_text().splitlines()]
    assert [(label["start"], label["slice"]["platform"]) for label in labels] == [
        ("2026-01-01T00:10:00.000Z", "ios"),
        ("2026-01-01T00:25:00.000Z", "android"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        ["--out", "-", "--live"],
        ["--out", "-", "--seconds", "5"],
        ["--live", "--start", "2026-01-01T00:00:00Z"],
        ["--out", "-", "--start", "soon"],
        ["--out", "/absent/f"],
        ["--out", "-", "--start", "9999-12-31T23:59:00Z"],
        ["--out", "-", "--start", "0001-01-01T00:00:00Z"],
        ["--out", "-", "--incident", "payment-outage@+10h,30m"],
        ["--out", "-", "--incident", "payment-outage@-3h,2h"],
    ],
)
def test_options_that_contradict_each_other_are_refused(options: list[str]) -> None:
    assert isinstance(run("simulate", *options).exception, InputError)


@pytest.mark.parametrize("option", ["--hours", "--rate", "--history-rate", "--seconds"])
@pytest.mark.parametrize("value", ["inf", "nan", "1e300"])
def test_a_simulation_without_bounds_is_refused(option: str, value: str) -> None:
    assert run("simulate", "--hours", "0.1", option, value, "--out", "-").exit_code == 2
