"""The one table that is printed, in a form that a README can take as it is."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Row(NamedTuple):
    """One finding. figure: what the budget judges, with its unit; met: None where there is no budget."""

    what: str
    ours: str
    baseline: str
    figure: str
    budget: str = ""
    met: bool | None = None


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Median and, where there are several, the least and the most."""
    middle = format(median(values), form)
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):{form}} to {max(values):{form}})"


def table(rows: Sequence[Row]) -> str:
    """Markdown, with its columns aligned."""
    cells = [("what", "ours", "baseline", "figure", "budget", "met")]
    cells += [(*row[:5], {True: "yes", False: "NO", None: ""}[row.met]) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(6)]
    lines = [_line([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]) for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
