"""`streamer verify` on files: its report, its exit code, its metrics."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from streamer.cli import application
from streamer.definitions import default
from streamer.errors import InputError
from streamer.journeys import instances, notices
from tests.journeys_support import CORE_DEFINITIONS

if TYPE_CHECKING:
    from typer.testing import Result

GOLDEN = Path(__file__).parents[2] / "data/verify/report.json"
# Without chapters, so that what is expected does not change with the catalogue.
CORE_ONLY = ("--definitions", str(CORE_DEFINITIONS))
START = "2026-01-01T0"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application("verify" if arguments[0] == "verify" else None), list(arguments))


def told(*arguments: str) -> dict[str, Any]:
    result = run("verify", *arguments, "--json")
    assert result.exit_code in (0, 1), result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["equal"] == (result.exit_code == 0)
    return answer


def simulate(path: Path, seed: int) -> Path:
    """Three hours of the simulated customers, with an outage."""
    options = ["--seed", str(seed), "--hours", "3", "--rate", "0.7", "--customers", "400"]
    assert run("simulate", *options, "--incident", "payment-outage@+20m,30m", "--out", str(path)).exit_code == 0
    return path


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("verify") / "simulated.jsonl", seed=5)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Two checkouts, one of them given up, and a contact that is repeated on another channel."""
    path = tmp_path / "small.jsonl"
    lines: list[dict[str, Any]] = [
        {"type": "checkout.started", "time": "0:00:00Z", "channel": "web", "commerce": {"checkout_id": "k1"}},
        {"type": "payment.failed", "time": "0:01:00Z", "channel": "web", "commerce": {"checkout_id": "k1"}},
        {"type": "checkout.started", "time": "0:02:00Z", "channel": "app", "commerce": {"checkout_id": "k2"}},
        {"type": "order.completed", "time": "0:03:00Z", "channel": "app", "commerce": {"checkout_id": "k2"}},
        {"type": "contact.started", "time": "0:10:00Z", "channel": "web", "issue": {"issue_id": "i1"}},
        {"type": "contact.ended", "time": "0:12:00Z", "channel": "web", "issue": {"issue_id": "i1"}},
        {"type": "contact.started", "time": "1:00:00Z", "channel": "phone", "issue": {"issue_id": "i1"}},
    ]
    events = [{**line, "time": START + line["time"], "id": str(n), "source": "s", "customer_id": "c"} for n, line in enumerate(lines)]
    path.write_text("\n".join(json.dumps(event) for event in [*events, events[0], {"type": "page.viewed", "time": START + "1:00:00Z"}]))
    return str(path)


def test_the_report_has_the_shape_that_programs_rely_on(small: str) -> None:
    answer, golden = told(small, *CORE_ONLY), json.loads(GOLDEN.read_text())
    assert answer["definitions"].keys() == golden["definitions"].keys()
    assert {**answer, "definitions": {}} == {**golden, "definitions": {}}, "if the change is meant, write the new report to the file"


@pytest.fixture(scope="module")
def straight(simulated: Path) -> dict[str, Any]:
    """The simulated customers in the order of their events."""
    return told(str(simulated))


def test_simulated_customers_are_recounted_equal(tmp_path: Path) -> None:
    # A seed whose three hours have detractors and low scores, too.
    answer = told(str(simulate(tmp_path / "simulated.jsonl", seed=12)))
    assert (answer["equal"], answer["mismatches"]) == (True, 0)
    compared = {row["counter"]: row["compared"] for row in answer["counters"]}
    assert compared["ABANDONED"] > 30
    rules = answer["rules"]
    assert {row["rule"] for row in rules} == {rule.id for rule in default().rule if rule.on and not rule.metric}
    assert {row["status"] for row in answer["counters"] + answer["metrics"] + rules} == {"equal"}
    compared = {row["rule"]: row["compared"] for row in rules}
    assert compared["ping-pong"] == 0, "no case goes to and fro twice in three hours"
    assert min(compared[name] for name in ("repeated-contacts", "detractor", "low-score", "silent-case", "overdue-shipments")) > 1


@pytest.mark.parametrize("options", [["--shuffle", "1"], ["--shuffle", "2", "--open"], ["--as-written"]])
def test_so_they_are_in_any_order_of_arrival(simulated: Path, options: list[str]) -> None:
    answer = told(str(simulated), *options)
    assert answer["mismatches"] == 0
    assert {row["status"] for row in answer["rules"]} == {"equal"}
    assert sum(row["compared"] for row in answer["rules"]) > 20


def test_a_permuted_copy_of_the_file_is_recounted_equal_as_it_is_written(simulated: Path, straight: dict[str, Any], tmp_path: Path) -> None:
    """Lines up to 15 minutes from their place, the allowed lateness: corrections, and nothing is late."""
    chance = random.Random(3)
    lines = sorted(simulated.read_text().splitlines(), key=lambda line: json.loads(line)["time"])
    copy = tmp_path / "permuted.jsonl"
    # At most 400 events in 10 minutes, at 0.7 a second.
    copy.write_text("\n".join(line for _, line in sorted((at + chance.randint(0, 400), line) for at, line in enumerate(lines))))
    permuted = told(str(copy), "--as-written")
    assert permuted["equal"]
    assert permuted["records"]["compared"] == straight["records"]["compared"], "something is late"
    assert [row["compared"] for row in permuted["counters"]] == [row["compared"] for row in straight["counters"]]


def test_alerts_that_a_late_event_does_not_correct_are_seen(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "differences", lambda *_: [])
    answer = told(str(simulated), "--shuffle", "2", "--open")
    wrong = [difference for row in answer["rules"] for difference in row["differences"]]
    assert {one["about"] for one in wrong} == {"in force", "told last"}
    assert {str(one["counted"]) for one in wrong if one["about"] == "in force"} == {"None", "{'fires': True}"}, (
        "some are not told, some not taken back"
    )
    assert {row["status"] for row in answer["counters"]} == {"equal"}


def test_a_signal_that_a_chapter_finds_is_friction_of_the_step_it_is_on(tmp_path: Path) -> None:
    """To and fro between two steps, without any event that is friction by itself."""
    path = tmp_path / "ping-pong.jsonl"
    steps = ["address", "payment", "address", "payment"]
    lines = [{"type": "checkout.started"}, *({"type": "checkout.step_viewed", "step": step} for step in steps)]
    common = {"source": "s", "customer_id": "c", "channel": "web", "commerce": {"checkout_id": "k"}}
    path.write_text("\n".join(json.dumps({**line, **common, "id": str(n), "time": f"{START}0:00:0{n}Z"}) for n, line in enumerate(lines)))
    answer = told(str(path), "--metric", "step_friction_rate")
    assert {row["counter"]: (row["status"], row["compared"]) for row in answer["counters"]}["STEPS_FRICTION"] == ("equal", 1)


def test_a_bug_in_the_product_ends_with_exit_code_1_and_is_exported(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "_RECOVERED", instances._FAILED)
    result = run("verify", str(simulated), "--metrics-file", str(tmp_path / "verify.prom"))
    assert result.exit_code == 1
    assert "RECOVERED 2026-01-01T" in result.stdout
    exported = dict(line.rsplit(" ", 1) for line in (tmp_path / "verify.prom").read_text().splitlines() if not line.startswith("#"))
    assert float(exported['streamer_verify_mismatches_total{metric="RECOVERED"}']) > 0
    assert float(exported['streamer_verify_mismatches_total{metric="journeys_recovered"}']) > 0
    assert float(exported['streamer_verify_mismatches_total{metric="STARTED"}']) == 0
    assert float(exported['streamer_verify_mismatches_total{metric="rule:abandoned-with-friction"}']) == 0


def test_only_the_panes_of_a_range_are_compared(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "_COMPLETED", instances._FAILED)
    assert told(small, *CORE_ONLY)["mismatches"] > 0
    answer = told(small, *CORE_ONLY, "--from", f"{START}0:03:10Z", "--to", f"{START}2:00:00Z")
    compared = {row["counter"]: row["compared"] for row in answer["counters"] if row["compared"]}
    assert answer["equal"]
    assert compared == {
        "TOUCHPOINTS": 3, "OPEN": 1, "ABANDONED": 1, "CONTACTS": 2, "REPEAT_CONTACTS": 1, "ISSUES": 1, "ISSUES_SWITCHED": 1,
        "CHANNEL_SWITCHES": 1, "WEB_TO_PHONE": 1, "ISSUES_EFFORT_MEDIUM": 1, "EFFORT_TENTHS": 1, "EFFORT_TENTHS_SQUARED": 1,
    }  # fmt: skip
    assert answer["range"] == {
        "from": "2026-01-01T00:03:10.000Z", "to": "2026-01-01T02:00:00.000Z", "windows_at": "2026-01-01T01:59:59.000Z",
        "left_out": ["24h", "lifetime"],
    }  # fmt: skip
    before = told(small, *CORE_ONLY, "--to", f"{START}0:03:10Z")
    different = {row["metric"]: row["different"] for row in before["metrics"] if row["different"]}
    assert {"journeys_completed", "abandon_rate", "close_rate"} <= different.keys()
    assert "left out" in run("verify", small, *CORE_ONLY, "--from", f"{START}0:03:10Z").stdout


def test_one_metric_is_compared_with_what_it_is_made_of(small: str) -> None:
    answer = told(small, "--metric", "repeat_rate", "--metric", "effort_mean")
    assert [row["metric"] for row in answer["metrics"]] == ["repeat_rate", "effort_mean"]
    named = [row["counter"] for row in answer["counters"]]
    assert named == ["CONTACTS", "REPEAT_CONTACTS", "ISSUES", "EFFORT_TENTHS", "EFFORT_TENTHS_SQUARED"]
    said = run("verify", small, "--metric", "repeat_rate").stdout
    assert "Metrics, by slice and window" in said
    assert "Entity rules" not in said


def test_a_limit_that_cut_is_named_and_is_no_mismatch(tmp_path: Path) -> None:
    lines = [
        {"type": "contact.started", "time": f"{START}0:0{n}:00Z", "id": f"{n}", "source": "s", "customer_id": "c", "channel": channel,
         "issue": {"issue_id": f"i{n % 3}"}}
        for n, channel in enumerate(("web", "web", "web", "phone", "phone", "phone"))
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (tmp_path / "tight.toml").write_text("revision = 1\n[limits]\nissues_per_customer = 2\n")
    answer = told(str(tmp_path / "log.jsonl"), "--definitions", str(tmp_path / "tight.toml"))
    [issues] = [row for row in answer["counters"] if row["counter"] == "ISSUES"]
    assert (answer["mismatches"], issues["status"], issues["different"]) == (0, "not verified", 3)
    assert "cut_issues" in issues["reason"]
    assert [row["status"] for row in answer["counters"] if row["counter"] in ("TOUCHPOINTS", "CONTACTS")] == ["equal", "equal"]


def test_label_values_beyond_their_limit_are_named_and_are_no_mismatch(small: str, tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text('revision = 1\n[limits]\nlabel_values = 1\n[[slice]]\nby = ["channel"]\n')
    answer = told(small, "--definitions", str(tmp_path / "few.toml"))
    [touchpoints] = [row for row in answer["metrics"] if row["metric"] == "touchpoints"]
    assert (answer["mismatches"], touchpoints["status"]) == (0, "not verified")
    assert "limits.label_values" in touchpoints["reason"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--metric", "happiness"], "no such metric"),
        (["--from", "yesterday"], "--from"),
        (["--from", "0001-01-01T00:00:00+10:00"], "--from '0001-01-01T00:00:00+10:00': in UTC it is not within the years 1 to 9999"),
        (["--to", "9999-12-31T23:59:59-10:00"], "--to"),
        (["--from", f"{START}1:00:00Z", "--to", f"{START}0:30:00Z"], "--from is not before --to"),
        (["--from", "2027-01-01T00:00:00Z"], "the log is from 2026-01-01T00:00:00.000Z to 2026-01-01T01:00:00.000Z"),
        (["--to", "2025-01-01T00:00:00Z", "--metric", "touchpoints"], "between --from and --to there is nothing"),
        (["--as-written", "--shuffle", "1"], "exclude each other"),
        (["--metrics-file", ""], "--metrics-file . is a directory"),
    ],
)
def test_options_that_cannot_be_used_are_one_sentence(small: str, options: list[str], says: str) -> None:
    error = run("verify", small, *options).exception
    assert isinstance(error, InputError)
    assert says in str(error)


def test_the_place_of_the_metrics_is_looked_at_before_the_history() -> None:
    error = run("verify", "absent.jsonl", "--metrics-file", "/absent/verify.prom").exception
    assert isinstance(error, InputError)
    assert str(error).startswith("--metrics-file /absent/verify.prom: there is no directory /absent: ")


def test_metrics_are_written_where_a_link_leads_to(small: str, tmp_path: Path) -> None:
    link = tmp_path / "link.prom"
    link.symlink_to("verify.prom")
    assert run("verify", small, "--metrics-file", str(link)).exit_code == 0
    assert link.is_symlink()
    assert "streamer_verify_mismatches_total" in (tmp_path / "verify.prom").read_text()
