"""Fixtures every test may use; the real servers are in tests/servers.py."""

from __future__ import annotations

import os

pytest_plugins = ["tests.servers"]

# Tests ask whether the compiled copy does the same, not how fast: without optimising it is there in half the time.
os.environ.setdefault("COMPILE_LEVEL", "0")
# Brokers of tests live for seconds: without the optimising compiler one takes half the CPU (6.3 s in place of 11.2 s from its start through
# 400 transactions).
os.environ.setdefault("KAFKA_JVM_PERFORMANCE_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
