from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.engine import doctor
from streamer.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Redis:
    """Stands for a client of a server that answers."""

    async def execute_command(self, _command: str) -> list[bytes]:
        return [b"version", b"7.2.0"]

    async def aclose(self) -> None:
        pass


async def test_the_place_of_redis_is_shown_without_the_options_of_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "connect_as", lambda _settings: Redis())
    found = await doctor.redis(Settings(redis_url="rediss://user:canary@redis:6379/0?ssl_password=canary"))
    assert (found.status, found.detail) == ("ok", "version 7.2.0 at redis:6379/0")


def test_an_endpoint_that_no_worker_would_open_is_told_with_what_to_do(tmp_path: Path) -> None:
    assert doctor.together(Settings()) == [doctor.Finding("settings", "ok", "hold together")]
    (open_to_others,) = doctor.together(Settings(metrics_host="0.0.0.0"))  # noqa: S104
    assert (open_to_others.status, open_to_others.fix[:4]) == ("failed", "set ")
    files = {f"metrics_{name}_file": tmp_path / name for name in ("ca", "cert", "key")}
    (missing,) = doctor.together(Settings.model_validate(files))
    assert missing == doctor.Finding(
        "settings", "failed", f"metrics_ca_file names {tmp_path / 'ca'}, which is not there", "correct the setting"
    )
