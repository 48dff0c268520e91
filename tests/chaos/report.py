"""What a run found, for people and as one line of JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.oracle import Verdict


@dataclass
class Report:
    """recovery_seconds, stall_seconds: by kind of fault, one for each time. moved: by kind and metric, how far each time.

    crashed: last words of processes that ended by something unexpected. broken: expectations that did not hold.
    """

    seed: int
    cycles: int
    command: str
    verdict: Verdict | None = None
    recovery_seconds: dict[str, list[float]] = field(default_factory=dict)
    stall_seconds: dict[str, list[float]] = field(default_factory=dict)
    moved: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    crashed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return self.verdict is not None and self.verdict.is_clean and not self.broken

    def lines(self) -> list[str]:
        """For people."""
        found = [f"{'fault':<28} {'times':>5} {'recovery s: median':>19} {'longest':>8} {'readers held back s':>20}"]
        for kind, seconds in sorted(self.recovery_seconds.items()):
            stalls = self.stall_seconds.get(kind)
            held = f"{max(stalls):.1f}" if stalls else ""
            found.append(f"{kind:<28} {len(seconds):>5} {statistics.median(seconds):>19.1f} {max(seconds):>8.1f} {held:>20}")
        found += self._moved_lines()
        if self.verdict is not None:
            counts = {name: n for name, n in asdict(self.verdict).items() if name != "samples"}
            found.append("  ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items()))
            found += [f"  {sample}" for sample in self.verdict.samples]
        found += [f"  not as it should be: {what}" for what in self.broken]
        found += [f"  ended unexpectedly: {words}" for words in self.crashed]
        found.append(f"ended processes by exit code: {self.exits}")
        found.append(
            f"{'clean' if self.is_clean else 'NOT CLEAN'}: {self.cycles} cycles in {self.seconds:.0f} s; again with: {self.command}"
        )
        return found

    def _moved_lines(self) -> list[str]:
        found = [f"{'fault':<28} {'moved at least':>14} {'at most':>10}  metric"]
        for kind, metrics in sorted(self.moved.items()):
            for name, values in sorted(metrics.items()):
                found.append(f"{kind:<28} {min(values):>14g} {max(values):>10g}  {name}")
        return found

    def json(self) -> str:
        """One line."""
        return json.dumps({"clean": self.is_clean, **asdict(self)}, default=str)
