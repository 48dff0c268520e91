"""The programs the stack is made of, and how to get the ones that are missing."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamer.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEBIAN_PACKAGES: Final = {
    "java": "default-jre-headless",
    "javac": "default-jdk-headless",
    "mvn": "maven",
    "redis-server": "redis-server",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}
JAVA_MAJOR_MIN: Final = 17  # Kafka 4 dropped older Java for brokers (KIP-1013)
INSTALLER: Final = Path(__file__).with_name("install.sh")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, so that test processes side by side install or download a thing once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure(programs: Iterable[str], *, lock: Path, path: str | None = None) -> None:
    """Install the named programs that are not on the search path, saying so in one line on standard error.

    `path` is the search path, the environment's by default.

    Raises:
        StackError: a program is missing and cannot be installed, or Java is too old.
    """
    wanted = list(programs)
    if missing(wanted, path=path):
        with exclusive(lock):
            install(missing(wanted, path=path), path=path)
    if "java" in wanted:
        check_java(path=path)


def missing(programs: Iterable[str], *, path: str | None = None) -> list[str]:
    """Those of the programs that are not on the search path."""
    return [program for program in programs if shutil.which(program, path=path) is None]


def install(programs: Iterable[str], *, path: str | None = None) -> None:
    """Install the programs' Debian packages, with sudo where we are not root."""
    names = list(programs)
    if not names:
        return
    packages = sorted({DEBIAN_PACKAGES[name] for name in names})
    listed, advice = ", ".join(names), f"install {' '.join(packages)} by hand and try again"
    if shutil.which("apt-get", path=path) is None:
        raise StackError(f"{listed} not found, and there is no apt-get to install it with: {advice}")
    command = [str(INSTALLER), *packages]
    if os.geteuid() != 0:
        if shutil.which("sudo", path=path) is None:
            raise StackError(f"{listed} not found, and installing needs root or sudo: {advice}")
        # Without a terminal nobody can type a password: fail instead of waiting for ever.
        command = ["sudo", *([] if sys.stdin.isatty() else ["-n"]), *command]
    print(f"installing {' '.join(packages)} with apt-get (missing: {listed})", file=sys.stderr)
    result = subprocess.run(command, stdin=None if sys.stdin.isatty() else subprocess.DEVNULL, check=False)
    if result.returncode != 0 or missing(names, path=path):
        raise StackError(f"apt-get could not install {' '.join(packages)} (exit code {result.returncode}): {advice}")


def check_java(*, path: str | None = None) -> None:
    """Raise StackError if the Java on the search path is too old for the broker."""
    java = shutil.which("java", path=path) or "java"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA_MAJOR_MIN:
        version = found[1] if found else "unknown"
        raise StackError(f"Kafka 4.1 needs Java {JAVA_MAJOR_MIN} or newer, {java} is version {version}: install a newer one")
