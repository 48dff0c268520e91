"""Where and of which revision something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.environments import ROOT
from deploy.local.kafka import POM

if TYPE_CHECKING:
    from collections.abc import Iterator


def revision() -> str:
    """Of the sources, if they are under version control."""
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip()


def machine() -> dict[str, Any]:
    """Where it ran, and of which revision."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return {
        "cpu": model, "cpus": os.cpu_count(), "memory_gigabytes": round(psutil.virtual_memory().total / 2**30),
        "python": python(), "java": java[0] if java else "", "kafka": _kafka_version(),
        "revision": revision(), "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }  # fmt: skip


def python() -> str:
    """Version and build: one built without profile-guided optimisation is a quarter slower than those of distributions and images."""
    if sys.base_prefix == "/usr":
        build = "the distribution's"
    elif "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")):
        build = "optimised"
    else:
        build = "built without optimisation"
    return f"{platform.python_version()} ({build})"


def _kafka_version() -> str:
    return POM.read_text().partition("<artifactId>kafka_2.13</artifactId>")[2].partition("<version>")[2].partition("<")[0]


def _lines(path: str) -> Iterator[str]:
    try:
        yield from Path(path).read_text().splitlines()
    except OSError:
        return
