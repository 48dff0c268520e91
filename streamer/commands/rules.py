"""`streamer rules`: what those who write definitions need before and after they are in force."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from streamer import settings
from streamer.authoring import advice, rule_tests
from streamer.authoring.definitions_schema import schema_text
from streamer.commands import rules_status
from streamer.commands.console import as_name
from streamer.commands.replay import load_definitions
from streamer.definitions import Definitions, examine
from streamer.errors import DefinitionsError, InputError
from streamer.suggestions import hint, quoted
from streamer.toml_places import locate
from streamer.validation import Problem


class Folding(StrEnum):
    """The roles that need definitions: the publisher passes on what is decided."""

    JOURNEYS = "journeys"
    ROLLUP = "rollup"


group = typer.Typer(no_args_is_help=True, help="Check and test definitions, and see which are in force.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="rules")


@group.command()
def check(
    file: Annotated[Path, typer.Argument(help="Definitions file.")],
    *,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with a definitions file, with its line, and what was probably not meant.

    Exit code 0: it can be used; there may be warnings. 2: it cannot.
    """
    found = examine(read(file))
    errors, warnings = (found, []) if isinstance(found, list) else ([], advice.warnings(found))
    if as_json:
        report = {"ok": not errors, "file": as_name(file), "errors": [one._asdict() for one in errors]}
        report["warnings"] = [one._asdict() for one in warnings]
        if isinstance(found, Definitions):
            report |= {"revision": found.revision, "digest": found.digest, "rules": len(found.rule)}
        typer.echo(orjson.dumps(report))
    else:
        _print_problems(file, errors, warnings)
        typer.echo(_conclusion(file, found, len(warnings)))
    if errors:
        raise typer.Exit(DefinitionsError.exit_code)


@group.command("test")
def run_tests(
    files: Annotated[list[Path], typer.Argument(help="Files of tests.")],
    *,
    definitions: Annotated[Path | None, typer.Option(help="Definitions file, in place of the one that the tests name.")] = None,
    name: Annotated[str, typer.Option(help="Only tests whose name has this in it.")] = "",
    as_json: Json = False,
) -> None:
    """Fold the events of each test and compare the alerts with those expected.

    Exit code 0: all are as expected. 1: a test failed. 2: a file cannot be used, or no test has the name.
    """
    found = [(file, *_read_tests(file)) for file in files]
    names = [test.name for _, _, tests in found for test in tests.test]
    if not any(name in one for one in names):
        listed = " and ".join(map(str, files))
        raise InputError(f"--name {name!r}: no test of {listed} has this in its name: {hint(name, names, listed)}")
    tested = [(file, *one) for file, text, tests in found for one in _tested(file, text, tests, definitions, name)]
    failed = sum(not outcome.ok for _, _, outcome in tested)
    if as_json:
        tests = [{"file": as_name(file), "line": line, "ok": outcome.ok, **_plain(outcome)} for file, line, outcome in tested]
        typer.echo(orjson.dumps({"ok": not failed, "tests": tests}))
    else:
        for file, line, outcome in tested:
            _print_outcome(f"{file}:{line}", outcome)
        typer.echo(f"{_count(len(tested), 'test')}, {failed} failed")
    if failed:
        raise typer.Exit(1)


def _read_tests(file: Path) -> tuple[str, rule_tests.RuleTests]:
    """The text of a file of tests, and the tests. Raises InputError."""
    text = read(file)
    loaded = rule_tests.load(text)
    if isinstance(loaded, list):
        raise InputError("; ".join(f"{file}:{problem.line}: {problem.message}" for problem in loaded))
    if not loaded.test:
        raise InputError(f"{file}: there is no test in it")
    return text, loaded


def _tested(
    file: Path, text: str, tests: rule_tests.RuleTests, definitions: Path | None, name: str
) -> Iterator[tuple[int, rule_tests.Outcome]]:
    """The line of each test of a file, and what came of it. Raises InputError, DefinitionsError."""
    wanted = load_definitions(definitions or file.parent / tests.definitions)
    places = locate(text)
    for index, test in enumerate(tests.test):
        if name not in test.name:
            continue
        line = places["test", index].line
        if unknown := rule_tests.unknown_rules(test, wanted):
            raise InputError(f"{file}:{line}: test {quoted(test.name)}: {'; '.join(unknown)}")
        yield line, rule_tests.run(test, wanted)


def _plain(outcome: rule_tests.Outcome) -> dict[str, Any]:
    told = {part: [{"rule": one.rule, **one.says} for one in getattr(outcome, part)] for part in ("missing", "unexpected", "told")}
    return {"name": outcome.name, **told}


def _print_outcome(place: str, outcome: rule_tests.Outcome) -> None:
    typer.echo(f"{place}: {outcome.name}: {'OK' if outcome.ok else 'FAILED'}")
    if not outcome.ok:
        for one in outcome.missing:
            typer.echo(f"    expected: {one}")
        for one in outcome.unexpected:
            typer.echo(f"    not expected: {one}")
        for one in outcome.told:
            typer.echo(f"    got: {one}")
        if not outcome.told:
            typer.echo("    got: nothing of these rules")


@group.command()
def status(
    *,
    definitions: Annotated[Path | None, typer.Option(help="Definitions file, in place of the setting.")] = None,
    role: Annotated[list[Folding] | None, typer.Option(help="Only this role, where it runs alone; may be given twice.")] = None,
    as_json: Json = False,
) -> None:
    """Say which definitions the worker on this machine has in force, since which offsets, and whether the file is the same.

    Exit code 0: the file is in force in every partition. 1: it is not, the file cannot be used, or a role does not answer.
    """
    config = settings.load(**({"definitions": definitions} if definitions else {}))
    report = rules_status.report(config, [one.value for one in role or list(Folding)])
    if as_json:
        typer.echo(orjson.dumps(report))
    else:
        for line in rules_status.lines(report):
            typer.echo(line)
    if not report["ok"]:
        raise typer.Exit(1)


@group.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of a definitions file, for editors."""
    typer.echo(schema_text(), nl=False)


def read(file: Path) -> str:
    """The text of a file. Raises InputError."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{file} is not UTF-8") from exc


def _print_problems(file: Path, errors: list[Problem], warnings: list[Problem]) -> None:
    for one in errors:
        typer.echo(f"{file}:{one.line}: {one.message}")
    for one in warnings:
        typer.echo(f"{file}:{one.line}: warning: {one.message}")


def _conclusion(file: Path, found: Definitions | list[Problem], warnings: int) -> str:
    if isinstance(found, list):
        return f"{file}: {_count(len(found), 'error')}"
    told = f"{file}: revision {found.revision} ({found.digest}), {_count(len(found.journey), 'journey')}, {_count(len(found.rule), 'rule')}"
    return told + (f", {_count(warnings, 'warning')}" if warnings else "")


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
