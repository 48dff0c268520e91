"""The compiled modules are the sources: the same history gives the same rows, outputs and journal, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from deploy.compiled.__main__ import ROOT, compiled


def digest_of(directory: str) -> tuple[str, str, str]:
    """(endings of a module of the fold and of the rollup, what came of the history)."""
    environment = {**os.environ, "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(ROOT / "tests" / "fold_digest.py"), "20000", "7"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    fold, rollup, found = done.stdout.split(" ", 2)
    return fold, rollup, found


@pytest.mark.timeout(600)
def test_a_compiled_fold_gives_the_bytes_of_the_sources() -> None:
    if not shutil.which("gcc"):
        pytest.skip("no C compiler on this machine: the package runs uncompiled here")
    *endings, found = digest_of(str(compiled()))
    assert endings == ["so", "so"]
    assert digest_of(str(ROOT)) == ("py", "py", found)
