"""What `streamer rules status` finds: the definitions file, and what the roles of the worker on this machine have in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from streamer.commands.console import as_name
from streamer.commands.health import answer_of
from streamer.commands.replay import load_definitions
from streamer.errors import DefinitionsError, UnreachableError

if TYPE_CHECKING:
    from streamer.settings import Settings


# What an endpoint says, and what we look at of it.
_TOLD: Final = {"revision", "digest", "problem", "partitions"}


def report(config: Settings, roles: Iterable[str]) -> dict[str, Any]:
    """`ok`; `file` with its revision, digest or what is wrong with it; of each role what its endpoint says, or why it does not."""
    file = _file(config)
    said = {role: _role(config, role) for role in roles}
    ok = file["problem"] is None and all(_same(one, file) for one in said.values())
    return {"ok": ok, "file": file, "roles": said}


def _file(config: Settings) -> dict[str, Any]:
    path = None if config.definitions is None else as_name(config.definitions)
    try:
        found = load_definitions(config.definitions)
    except DefinitionsError as exc:
        return {"path": path, "revision": None, "digest": None, "problem": as_name(str(exc))}
    return {"path": path, "revision": found.revision, "digest": found.digest, "problem": None}


def _role(config: Settings, role: str) -> dict[str, Any]:
    try:
        code, text = answer_of(config, role, "/definitions")
    except UnreachableError as exc:
        return {"problem": str(exc), "partitions": {}}
    if code != 200:
        return {"problem": f"status {code}: an older version runs", "partitions": {}}
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or not answer.keys() >= _TOLD:
        return {"problem": "another program answers on its port: end it or set metrics_port", "partitions": {}}
    return answer


def _same(role: dict[str, Any], file: dict[str, Any]) -> bool:
    """Whether the role has the file in force everywhere."""
    wanted = (file["revision"], file["digest"])
    return role["problem"] is None and all((part["revision"], part["digest"]) == wanted for part in (role, *role["partitions"].values()))


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    file = found["file"]
    name = file["path"] or "the documented default"
    yield f"file: {name}: revision {file['revision']} ({file['digest']})" if file["problem"] is None else f"file: {file['problem']}"
    for role, said in found["roles"].items():
        if said["problem"] is not None:
            yield f"{role}: {said['problem']}"
        for (revision, digest), places in _by_definitions(said["partitions"]).items():
            yield f"{role}: revision {revision} ({digest}) in {len(places)} partition{'' if len(places) == 1 else 's'}: {', '.join(places)}"
        if said["problem"] is None and not said["partitions"]:
            yield f"{role}: no partition is assigned; revision {said['revision']} ({said['digest']}) waits"


def _by_definitions(partitions: dict[str, dict[str, Any]]) -> dict[tuple[int, str], list[str]]:
    found: dict[tuple[int, str], list[str]] = {}
    for partition, one in partitions.items():
        since = "from its beginning" if one["after"] is None else f"from offset {one['after'] + 1}"
        found.setdefault((one["revision"], one["digest"]), []).append(f"{partition} {since}")
    return found
