"""Makes a failing history small: whatever can be left out while it still fails is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.history import History

T = TypeVar("T")

TRIES_MAX = 3_000


def minimised(history: History, fails: Callable[[History], bool]) -> History:
    """A smaller history that fails, too, perhaps for another reason."""
    left = [TRIES_MAX]

    def still_fails(candidate: History) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fails(candidate)

    while True:
        before = history
        history = history._replace(steps=_without(history.steps, lambda steps, h=history: still_fails(h._replace(steps=steps))))  # type: ignore[misc]
        for number in range(len(history.logs)):
            history = _with_smaller_log(history, number, still_fails)
        for simpler in _simpler(history):
            if still_fails(simpler):
                history = simpler
        if history == before or left[0] < 0:
            return history


def _with_smaller_log(history: History, number: int, fails: Callable[[History], bool]) -> History:
    def of(log: list[object]) -> History:
        return history._replace(logs=tuple(log if i == number else kept for i, kept in enumerate(history.logs)))  # type: ignore[misc]

    return of(_without(list(history.logs[number]), lambda log: fails(of(log))))


def _simpler(history: History) -> Iterator[History]:
    for number in range(len(history.behind)):
        plain = type(history.behind[number])(1000, 1000)
        yield history._replace(behind=tuple(plain if i == number else kept for i, kept in enumerate(history.behind)))
    yield history._replace(end_ms=0)
    yield history._replace(tight=False)


def _without(parts: list[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """Leave out halves, then quarters, down to single ones."""
    size = max(1, len(parts) // 2)
    while True:
        at = 0
        while at < len(parts):
            shorter = parts[:at] + parts[at + size :]
            if fails(shorter):
                parts = shorter
            else:
                at += size
        if size == 1:
            return parts
        size //= 2
