"""How the program ends, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_reader_who_has_had_enough_is_no_answer() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "streamer", "events", "schema"], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
