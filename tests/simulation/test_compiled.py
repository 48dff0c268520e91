"""The compiled modules are the sources: the same history gives the same rows, outputs and journal, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.compiled.__main__ import ROOT, compiled, environment

if TYPE_CHECKING:
    from pathlib import Path


def digest_of(directory: Path) -> tuple[str, str, str]:
    """(endings of a module of the fold and of the rollup, what came of the history)."""
    command = [sys.executable, str(ROOT / "tests" / "fold_digest.py"), "20000", "7"]
    settings = {**os.environ, **environment(directory), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    fold, rollup, found = done.stdout.split(" ", 2)
    return fold, rollup, found


@pytest.mark.timeout(600)
def test_a_compiled_fold_gives_the_bytes_of_the_sources() -> None:
    if not shutil.which("gcc"):
        pytest.skip("no C compiler on this machine: the package runs uncompiled here")
    *endings, found = digest_of(compiled())
    assert endings == ["so", "so"]
    assert digest_of(ROOT) == ("py", "py", found)
