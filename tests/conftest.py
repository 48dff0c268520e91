"""Fixtures every test may use; the real servers are in tests/servers.py."""

from __future__ import annotations

pytest_plugins = ["tests.servers"]
