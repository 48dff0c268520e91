"""What the rivals need, made on demand under `.state/bench`: Python environments apart from ours, and compiled Java jobs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from deploy.local import programs
from streamer.errors import StackError

ROOT: Final = Path(__file__).parents[1]
STATE: Final = ROOT / ".state" / "bench"
RIVALS: Final = Path(__file__).parent / "rivals"
UV: Final = ROOT / ".state" / "tools" / "bin" / "uv"
JAVA_SHARED: Final = RIVALS / "java"
MARK: Final = "complete"


def python(name: str) -> list[str]:
    """The interpreter of a rival's environment, which is made from its locked requirements if they have changed."""
    requirements = RIVALS / f"requirements-{name}.txt"
    folder = STATE / f"venv-{name}"
    interpreter = folder / "bin" / "python"
    mark = folder / MARK
    if not mark.exists() or mark.read_bytes() != requirements.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        _run([str(UV), "venv", "--quiet", "--python", getattr(sys, "_base_executable", sys.executable), str(folder)], name)
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", str(interpreter), "-r", str(requirements)]
        _run([str(UV), *install], name)
        shutil.copyfile(requirements, mark)
    return [str(interpreter)]


def classpath(name: str) -> str:
    """The class path of a Java job, whose libraries are fetched if its POM has changed; compiled each time."""
    programs.ensure(["java", "javac", "mvn"], lock=STATE / "install.lock")
    pom, folder = RIVALS / name / "pom.xml", STATE / name
    mark = folder / MARK
    if not mark.exists() or mark.read_bytes() != pom.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}", "-DincludeScope=runtime"]
        _run(["mvn", "-q", "-B", "-f", str(pom), *goal], name)
        shutil.copyfile(pom, mark)
    sources = [str(path) for folder_ in (JAVA_SHARED, RIVALS / name / "src") for path in sorted(folder_.rglob("*.java"))]
    classes = folder / "classes"
    _run(["javac", "-nowarn", "-cp", f"{folder / 'lib'}/*", "-d", str(classes), *sources], name)
    return f"{classes}:{folder / 'lib'}/*"


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in said if "error" in line.lower()), said[-1] if said else "it said nothing")
        raise StackError(f"cannot make what the benchmark needs for {name}: {command[0]} failed: {reason}")
