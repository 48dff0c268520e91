"""`streamer rules status` of answers that endpoints may give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.commands import rules_status
from streamer.definitions import default
from streamer.errors import UnreachableError

REVISION, DIGEST = default().revision, default().digest


def said(*partitions: tuple[int, str, int | None], problem: str | None = None) -> str:
    found = {str(number): {"revision": r, "digest": d, "after": after} for number, (r, d, after) in enumerate(partitions)}
    return json.dumps({"file": None, "revision": REVISION, "digest": DIGEST, "problem": problem, "partitions": found})


def status(monkeypatch: pytest.MonkeyPatch, journeys: str | None, rollup: str | None, *arguments: str) -> tuple[int, str]:
    answers = {"journeys": journeys, "rollup": rollup}

    def answer(_config: Any, role: str, path: str) -> tuple[int, str]:
        assert path == "/definitions"
        text = answers[role]
        if text is None:
            raise UnreachableError("does not answer on 127.0.0.1:9464 (refused)")
        return (404, "") if text == "old" else (200, text)

    monkeypatch.setattr(rules_status, "answer_of", answer)
    done = CliRunner().invoke(cli.application("rules"), ["rules", "status", *arguments])
    return done.exit_code, done.stdout


def test_all_is_well_if_the_file_is_in_force_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = status(monkeypatch, said((REVISION, DIGEST, None), (REVISION, DIGEST, 41)), said((REVISION, DIGEST, None)))
    assert code == 0
    assert text.splitlines() == [
        f"file: the documented default: revision {REVISION} ({DIGEST})",
        f"journeys: revision {REVISION} ({DIGEST}) in 2 partitions: 0 from its beginning, 1 from offset 42",
        f"rollup: revision {REVISION} ({DIGEST}) in 1 partition: 0 from its beginning",
    ]


@pytest.mark.parametrize(
    ("rollup", "line"),
    [
        (None, "rollup: does not answer on 127.0.0.1:9464 (refused)"),
        *(
            (text, "rollup: another program answers on its port: end it or set metrics_port")
            for text in ("<html>node exporter</html>", '{"status": "ok"}', "[]", "")
        ),
        ("old", "rollup: status 404: an older version runs"),
        (said((9, "ab", 7)), "rollup: revision 9 (ab) in 1 partition: 0 from offset 8"),
        (said((REVISION, DIGEST, None), problem="rules.toml:3: wrong"), "rollup: rules.toml:3: wrong"),
    ],
)
def test_anything_else_is_told_and_ends_with_1(rollup: str | None, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = status(monkeypatch, said((REVISION, DIGEST, None)), rollup)
    assert code == 1
    assert line in text.splitlines()
    code, text = status(monkeypatch, said((REVISION, DIGEST, None)), rollup, "--json")
    assert (code, json.loads(text)["ok"]) == (1, False)


def test_where_a_role_runs_alone_only_that_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = status(monkeypatch, None, said((REVISION, DIGEST, None)), "--role", "rollup")
    assert code == 0
    assert "journeys" not in text


def test_a_file_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("revision = 1\nx = 1\n")
    both = said((REVISION, DIGEST, None))
    code, text = status(monkeypatch, both, both, "--definitions", str(tmp_path / "rules.toml"))
    assert code == 1
    assert text.startswith(f'file: {tmp_path}/rules.toml:2: unknown key "x": known are ')


def test_a_standby_without_partitions_is_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = status(monkeypatch, said(), said((REVISION, DIGEST, None)))
    assert code == 0
    assert f"journeys: no partition is assigned; revision {REVISION} ({DIGEST}) waits" in text
