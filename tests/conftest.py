"""Fixtures every test may use; the real servers are in tests/servers.py."""

from __future__ import annotations

import os

pytest_plugins = ["tests.servers"]

# Tests ask whether the compiled copy does the same, not how fast: without optimising it is there in half the time.
os.environ.setdefault("COMPILE_LEVEL", "0")
