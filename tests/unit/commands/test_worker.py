from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from streamer import definitions
from streamer.commands import worker
from streamer.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_without_a_directory_for_temporary_files_it_starts_and_says_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(definitions.default_text())
    told: list[str] = []

    async def supervise(_config: Settings, roles: list[str]) -> int:
        told.extend(roles)
        return 0

    monkeypatch.setattr(worker, "_supervise", supervise)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert worker._supervise_all(Settings(definitions=file), definitions.default()) == 0
    assert told == ["--definitions", str(file)]
    assert "no directory for temporary files (No such file or directory)" in caplog.text
