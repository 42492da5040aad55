"""What a soak found, as one table."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from soak.oracle import Verdict

HEADS = ("destination", "holds", "dead", "missing", "invented", "altered", "out of order", "wrongly dead", "twice", "≤")


class Report(NamedTuple):
    """One run of the reliability part. slowest: where, and seconds from a fault's end to the next success."""

    seed: str
    secs: float
    events: int
    ends: Counter[str]
    faults: Mapping[str, Counter[str]]
    verdicts: Sequence[Verdict]
    slowest: tuple[str, float]
    problems: Sequence[str]
    not_done: Sequence[str]

    @property
    def fine(self) -> bool:
        """Whether nothing broke the promise."""
        return not self.problems and all(verdict.fine for verdict in self.verdicts)

    def lines(self) -> list[str]:
        """For people, and for tests/README.md."""
        rows = [
            f"| seed | {self.seed} |",
            "|---|---|",
            f"| time | {self.secs:.0f} s |",
            f"| events issued | {self.events:,} |",
            f"| ends of the daemon | {sum(self.ends.values())}: {_counts(self.ends)} |",
            *(
                f"| faults, {place} | {sum(met.values())}: {_counts(met)} |"
                for place, met in self.faults.items()
                if met
            ),
            f"| slowest recovery | {self.slowest[1]:.1f} s ({self.slowest[0]}) |",
            *(f"| not done | {what} |" for what in self.not_done),
            "",
            _row(HEADS),
            _row(["---"] * len(HEADS)),
            *(_row([verdict.name, *(f"{figure:,}" for figure in verdict[1:])]) for verdict in self.verdicts),
        ]
        return [*rows, "", *(f"VIOLATION: {problem}" for problem in self.problems), self._summary()]

    def _summary(self) -> str:
        return "nothing lost, nothing invented, nothing altered" if self.fine else "THE PROMISE IS BROKEN"


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(found.items()))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
