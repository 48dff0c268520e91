"""How the program ends, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import history_support


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


def in_shell(redirection: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The program as a shell starts it, e.g. with a closed stream: `>&-`."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "streamer", *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | environment)


@pytest.mark.parametrize("closed", [">&-", ">&- <&-"])
def test_a_closed_output_is_one_sentence_and_no_answer(closed: str) -> None:
    done = in_shell(closed, "events", "schema")
    assert (done.returncode, done.stderr) == (
        74,
        b"streamer: the output cannot be written (it is closed): make room, or write it elsewhere\n",
    )


def test_where_messages_go_nowhere_the_exit_code_and_the_output_are_as_ever() -> None:
    assert in_shell("2>&-", "events", "check", "absent.jsonl").returncode == 2
    done = in_shell("2>&-", "events", "schema")
    assert (done.returncode, done.stdout[:1]) == (0, b"{")


@pytest.mark.parametrize("command", [["events", "check", "-"], ["replay", "-"]])
def test_a_closed_input_is_one_sentence(command: list[str]) -> None:
    done = in_shell("<&-", *command)
    assert (done.returncode, done.stderr) == (2, b"streamer: -: standard input is closed: name a file, or send the lines there\n")


def test_what_the_terminal_cannot_show_is_an_escape(tmp_path: Path) -> None:
    _, history = history_support.write(tmp_path)
    Path(history).write_text(Path(history).read_text().replace("anna", "zo\u00eb"))
    done = in_shell("", "explain", "zo\u00eb", history, PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(rb"customer zo\xeb: ")


def test_nothing_slow_is_loaded_before_an_interrupt_ends_the_program_quietly() -> None:
    loaded = "import sys, streamer.cli; print('typer' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", loaded]) == b"False\n"
