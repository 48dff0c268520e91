from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.engine import doctor
from streamer.settings import Settings

if TYPE_CHECKING:
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
