"""`python -m deploy.compiled [TARGET]`: compile, and print the directory to put first on PYTHONPATH.

TARGET: where the copy goes (default: `.state/compiled`); it is made anew if a source has changed since. Needs a C compiler and the
headers of Python. `COMPILE_LEVEL` is how far the compiler optimises (default: 2); less compiles faster and runs slower.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from deploy.local.programs import exclusive

ROOT: Final = Path(__file__).parents[2]
TARGET: Final = ROOT / ".state" / "compiled"
HOT: Final = (
    "streamer/touchpoints/*.py", "streamer/journeys/*.py", "streamer/journeys/chapters/*.py", "streamer/rollup/*.py", "streamer/rules/*.py",
    "streamer/alerts/identity.py", "streamer/alerts/times.py",
)  # fmt: skip
# Left as they are: what is not on the hot path (of it, explanations would also take whole numbers for fractions), and what declares
# structures, whose options and defaults mypyc does not understand.
LEFT: Final = ("__init__.py", "check.py", "schema.py", "explain.py", "roots.py")
_STRUCTURE: Final = re.compile(r"^class \w+\((msgspec\.Struct|Closed)\b", re.MULTILINE)
# Warnings about C that a program wrote tell nobody anything, and looking for them takes three times as long as compiling it; nor does
# anybody step through it. Nobody puts other functions in the place of these, so they call each other directly: without saying so, each call
# between modules goes through a table. At level 3 the code is a tenth larger and no faster.
_SETUP: Final = """
from mypyc.build import mypycify
from setuptools import setup
extensions = mypycify({modules!r}, opt_level={level!r}, debug_level="0")
for extension in extensions:
    extension.extra_compile_args += ["-Wno-all", "-fno-semantic-interposition"]
    extension.extra_link_args += ["-Wl,-Bsymbolic"]
setup(name="compiled", packages=[], ext_modules=extensions)
"""


def level() -> str:
    """How far the compiler optimises."""
    return os.environ.get("COMPILE_LEVEL", "2")


def modules() -> list[str]:
    """The modules to compile, as paths from the root."""
    found = [path for pattern in HOT for path in sorted(ROOT.glob(pattern)) if path.name not in LEFT]
    return [str(path.relative_to(ROOT)) for path in found if not _STRUCTURE.search(path.read_text())]


def digest() -> str:
    """Identifies the sources, this file, the interpreter and the level."""
    seen = hashlib.sha256(f"{sys.version} {level()}".encode())
    for path in [*sorted((ROOT / "streamer").rglob("*.py")), Path(__file__)]:
        seen.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return seen.hexdigest()


def compile_to(target: Path) -> None:
    """Make the copy and compile it. Raises CalledProcessError if the compiler fails."""
    compiled_of = digest()  # now: who edits a source meanwhile gets another copy next time
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "streamer", target / "streamer", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", target)
    (target / "setup.py").write_text(_SETUP.format(modules=modules(), level=level()))
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=target, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(target / "build", ignore_errors=True)
    (target / "digest").write_text(compiled_of)


def compiled(target: Path = TARGET) -> Path:
    """The directory of an up-to-date copy; compiles if there is none."""
    stamp = target / "digest"
    with exclusive(target.with_suffix(".lock")):  # tests side by side want the same copy
        if not stamp.exists() or stamp.read_text() != digest():
            compile_to(target)
    return target


def environment(directory: Path) -> dict[str, str]:
    """What makes Python run the copy in a directory; tests and what else is no part of the package come from the root."""
    return {"PYTHONPATH": f"{directory}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}


def main() -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", type=Path, default=TARGET)
    options = parser.parse_args()
    try:
        print(compiled(options.target.resolve()))
    except subprocess.CalledProcessError:
        print("error: the package could not be compiled; it needs gcc (or another C compiler) and Python's headers", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
