"""What a reviewer would otherwise have to say again and again, of every tracked file."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from streamer import cli, errors
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 500
MODULE_LINES_P90_MAX = 300
FUNCTION_LINES_MAX = 70
DURATIONS = ("timeout", "interval", "delay", "duration", "latency", "ttl", "period", "lateness")
UNITS = ("seconds", "ms", "us", "ns", "bytes", "hours", "days")


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository's next commit, as far as they still exist."""
    listed = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


SOURCES = tracked("*.py")


@cache
def trees() -> dict[Path, ast.Module]:
    """Parsed when the first test asks, not by every process that collects tests."""
    return {path: ast.parse(path.read_text()) for path in SOURCES}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def product() -> Iterator[tuple[Path, ast.AST]]:
    """Every node of the product itself."""
    for path, tree in trees().items():
        if path.is_relative_to(ROOT / "streamer"):
            for node in ast.walk(tree):
                yield path, node


def where(path: Path, node: ast.AST) -> str:
    return f"{name_of(path)}:{getattr(node, 'lineno', 0)}"


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 10


def test_modules_are_short() -> None:
    sizes = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: size for name, size in sizes.items() if size > MODULE_LINES_MAX} == {}
    long = {name: size for name, size in sizes.items() if size > MODULE_LINES_P90_MAX}
    assert len(long) <= len(sizes) / 10, f"more than a tenth of all modules have over {MODULE_LINES_P90_MAX} lines: {long}"


def test_functions_are_short() -> None:
    long = [
        f"{where(path, node)} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_only_commands_print() -> None:
    commands = (ROOT / "streamer/commands", ROOT / "streamer/cli.py")
    printing = [
        where(path, node)
        for path, node in product()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and not any(path.is_relative_to(command) for command in commands)
    ]
    assert printing == []


def test_no_error_is_swallowed() -> None:
    """No bare `except`, and nothing broad that only passes (design, invariant I7)."""
    swallowed = []
    for path, node in product():
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
            passes = all(isinstance(step, ast.Pass | ast.Continue) for step in node.body)
            if node.type is None or (broad and passes):
                swallowed.append(where(path, node))
    assert swallowed == []


def test_no_time_without_a_zone() -> None:
    naive = [
        where(path, node)
        for path, node in product()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            node.func.attr in {"utcnow", "utcfromtimestamp"}
            or (node.func.attr == "now" and not node.args and not node.keywords)
            or (node.func.attr == "fromtimestamp" and len(node.args) + len(node.keywords) < 2)
        )
    ]
    assert naive == []


def test_durations_say_their_unit() -> None:
    """Parameters and fields that are a time span end in their unit."""
    bare = []
    for path, node in product():
        if isinstance(node, ast.arg):
            named = node.arg
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named = node.target.id
        else:
            continue
        if named.lower().endswith(DURATIONS) and isinstance(node.annotation, ast.Name) and node.annotation.id in {"int", "float"}:
            bare.append(f"{where(path, node)} {named}")
    assert bare == []


def test_settings_are_described_and_say_their_unit() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation is float:
            assert name.endswith(UNITS), name


def test_every_error_is_in_the_tree_and_explains_itself() -> None:
    assert errors.__doc__ is not None
    tree = set(re.findall(r"\w+Error\b", errors.__doc__))
    classes = {name: item for name, item in vars(errors).items() if isinstance(item, type)}
    assert set(classes) == tree
    assert [name for name, item in classes.items() if not item.__doc__] == []


def imported() -> Iterator[str]:
    """Full names of modules (and of what is imported from them) anywhere in the repository."""
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_is_used() -> None:
    used = {"streamer.__main__", "streamer.cli", *imported()}
    used |= {f"streamer.commands.{name}" for name in cli.COMMANDS}
    modules = {
        name_of(path).removesuffix(".py").replace("/", ".")
        for path in SOURCES
        if path.is_relative_to(ROOT / "streamer") and path.name != "__init__.py"
    }
    assert modules - used == set()


def test_no_file_names_a_machine_or_a_registry() -> None:
    """The repository is to work anywhere: no path of somebody's machine, no host that packages come from."""
    machine = re.compile(r"(?:^|[^.\w])/(?:" + "|".join(("wo" + "rk", "fa" + "rm", "ro" + "ot", "ho" + "me/\\w+")) + r")/")
    registry = re.compile(r"https?://[^/\s]*(?:pyth" + r"on|py" + r"pi|np" + r"mj|deb" + r"ian|gol" + r"ang|cra" + r"tes|mav" + r"en\.org)")
    named = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        named += [
            f"{name_of(path)}:{number} {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if machine.search(line) or registry.search(line)
        ]
    assert named == []


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.txt", ()),
        ("requirements-dev.txt", ("dev",)),
        ("requirements-build.txt", None),
        ("requirements-image.txt", ()),
        ("requirements-compile.txt", ("compile",)),
    ],
)
def test_the_lock_pins_every_dependency_with_hashes(lock: str, groups: tuple[str, ...] | None) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["dependency-groups"]["build"] if groups is None else [*project["project"]["dependencies"]]
    wanted += [entry for group in groups or () for entry in project["dependency-groups"][group]]
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text[text.index("\n#    make lock\n") + len("\n#    make lock\n") :])
    pinned = {}
    for entry in entries:
        found = re.match(r"([a-z0-9._-]+)==([^\s;]+)", entry)
        assert found is not None, entry[:80]
        assert "--hash=sha256:" in entry, found[0]
        pinned[found[1]] = found[2]
    for line in wanted:
        requirement = Requirement(line)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pinned, f"{name} is not locked: run make lock"
        assert requirement.specifier.contains(pinned[name], prereleases=True), f"{line}, locked {pinned[name]}: run make lock"
    assert "://" not in text
    assert "--index-url" not in text


def test_the_ci_script_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    assert "make test" in (ROOT / "README.md").read_text()
