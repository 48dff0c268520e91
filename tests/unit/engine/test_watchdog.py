"""The end of a process, seen from outside."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

from streamer.engine.exits import LOG_SECONDS_MAX, Exit
from streamer.engine.watchdog import CHECKS_PER_LIMIT
from streamer.errors import DataLossError
from streamer.settings import Settings


def outcome(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False)


def test_a_blocked_process_ends_with_its_code_and_one_line() -> None:
    ended = outcome("""
        import logging, time
        from streamer.engine.watchdog import Watchdog
        logging.basicConfig(format="%(message)s")
        began = time.monotonic()
        Watchdog(0.5, lambda now: "it hangs" if now - began > 0.5 else None).start()
        time.sleep(60)
        """)
    assert ended.returncode == Exit.STUCK
    assert ended.stderr == "it hangs (exit code 72)\n"


def test_a_blocked_publisher_ends_with_its_code_and_one_line() -> None:
    """Its endpoint cannot answer either, and nobody restarts for that."""
    ended = outcome("""
        import logging, time
        from streamer.engine import publisher
        from streamer.settings import Settings

        async def blocked(alert_log):
            time.sleep(60)

        publisher.AlertLog.__aenter__ = blocked
        logging.basicConfig(format="%(message)s", level=logging.CRITICAL)
        publisher.run(Settings(watchdog_seconds=1.5))
        """)
    assert ended.returncode == Exit.STUCK
    assert ended.stderr.startswith("the publisher's event loop has not turned for ")
    assert ended.stderr.endswith(" s (exit code 72)\n")


def test_a_log_that_blocks_does_not_keep_the_process_alive() -> None:
    began = time.monotonic()
    ended = outcome("""
        import logging, time
        from streamer.engine.exits import end

        class Full(logging.Handler):
            def emit(self, record):
                time.sleep(60)

        logging.getLogger().addHandler(Full())
        end(7, "done")
        """)
    assert ended.returncode == 7
    assert time.monotonic() - began < 30


def test_an_error_for_users_ends_in_its_own_words_without_a_traceback() -> None:
    ended = outcome("""
        import logging
        from streamer.engine.exits import end_for
        from streamer.errors import DataLossError
        logging.basicConfig(format="%(message)s")
        end_for(DataLossError("the log begins at 5"), "opening")
        """)
    assert ended.returncode == DataLossError.exit_code
    assert ended.stderr == f"the log begins at 5 (exit code {DataLossError.exit_code})\n"


def test_any_other_error_leaves_its_traceback_in_the_log() -> None:
    ended = outcome("""
        import logging
        from streamer.engine.exits import end_for
        logging.basicConfig(format="%(message)s")
        try:
            1 / 0
        except ZeroDivisionError as exc:
            end_for(exc, "folding")
        """)
    assert ended.returncode == Exit.CRASHED
    assert ended.stderr.startswith("folding failed: ZeroDivisionError: division by zero (exit code 70)\nTraceback")


def test_a_process_that_was_frozen_as_a_whole_is_looked_at_again_first() -> None:
    """Ages grow while nothing runs; only what is still so afterwards is a hang."""
    ended = outcome("""
        import os, signal, subprocess, sys, time
        from streamer.engine.watchdog import Watchdog
        ticked = [time.monotonic()]
        Watchdog(0.5, lambda now: "it hangs" if now - ticked[0] > 0.5 else None).start()
        thaw = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(2); os.kill({os.getpid()}, 18)"])
        os.kill(os.getpid(), signal.SIGSTOP)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            ticked[0] = time.monotonic()
            time.sleep(0.02)
        thaw.wait()
        os._exit(5)
        """)
    assert ended.returncode == 5


def test_by_default_a_process_that_hangs_is_gone_within_half_a_minute() -> None:
    """The limit, the time until somebody looks, and a log line that nobody takes."""
    limit = Settings.model_fields["watchdog_seconds"].default
    assert limit * (1 + 1 / CHECKS_PER_LIMIT) + LOG_SECONDS_MAX <= 30
