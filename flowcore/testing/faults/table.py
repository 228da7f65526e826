"""The table of what was tried, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flowcore.testing.faults.trial import Verdict

HEADER = ("fault", "store", "tried", "runs lost", "effects repeated", "wrong outcomes")


@dataclass(slots=True)
class FaultLine:
    """One fault over one store."""

    fault: str
    store: str
    tried: int = 0
    lost: int = 0
    repeated: int = 0
    wrong: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count a trial."""
        self.tried += 1
        self.lost += verdict.lost
        self.repeated += verdict.repeated
        self.wrong += verdict.wrong


@dataclass(slots=True)
class FaultTable:
    """``lines``, and ``notes`` on everything that was wrong. ``kills``: how many processes were killed. ``missed``:
    trials in which the fault hit nothing, e.g. because the run had ended: they count nowhere. ``stood_failed``: how
    often a run stood failed meanwhile because a node couldn't read the store. ``seed``: what chance began with.
    ``seconds``: what it all took."""

    lines: list[FaultLine]
    notes: list[str] = field(default_factory=list)
    kills: int = 0
    missed: int = 0
    stood_failed: int = 0
    seed: int = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Nothing was lost, repeated or wrong."""
        return not any(line.lost or line.repeated or line.wrong for line in self.lines)

    @property
    def total(self) -> FaultLine:
        """The sum of all lines."""
        total = FaultLine("in all", "")
        for line in self.lines:
            total.tried += line.tried
            total.lost += line.lost
            total.repeated += line.repeated
            total.wrong += line.wrong
        return total

    def __str__(self) -> str:
        rows = [HEADER, *(_row(lines) for lines in self._by_fault()), _row([self.total])]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
        text = [_set(row, widths) for row in rows]
        text.insert(1, "-" * len(text[0]))
        text.append(
            f"{self.kills} processes were killed in {self.seconds:.0f} s; {self.missed} trials missed; seed {self.seed}"
        )
        if self.stood_failed:
            times = "once" if self.stood_failed == 1 else f"{self.stood_failed} times"
            text.append(
                f"a run stood failed {times} because a node couldn't read the store; going on is another attempt"
            )
        return "\n".join(line.rstrip() for line in [*text, *self.notes])

    def _by_fault(self) -> list[list[FaultLine]]:
        """The lines of each fault that was tried, over one store after the other."""
        found: dict[str, list[FaultLine]] = {}
        for line in self.lines:
            if line.tried:
                found.setdefault(line.fault, []).append(line)
        return list(found.values())


def _row(lines: Sequence[FaultLine]) -> tuple[str, ...]:
    stores = ", ".join(f"{line.store} {line.tried}" for line in lines if line.store)
    counts = [(line.tried, line.lost, line.repeated, line.wrong) for line in lines]
    return (lines[0].fault, stores, *(str(sum(column)) for column in zip(*counts, strict=True)))


def _set(row: tuple[str, ...], widths: list[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(cells))
