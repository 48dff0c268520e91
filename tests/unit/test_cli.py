"""How the program ends, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_reader_who_has_had_enough_is_no_answer() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "streamer", "events", "schema"], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("command", [["events", "schema"], ["config", "show"], ["rules", "schema"]])
def test_a_full_disk_is_one_sentence_and_no_answer(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-m", "streamer", *command], stdout=full, stderr=subprocess.PIPE, check=False)
    told = b"streamer: the output cannot be written (No space left on device): make room, or write it elsewhere\n"
    assert (done.returncode, done.stderr) == (74, told)
