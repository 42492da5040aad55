"""Random faults with a seed: which of the requests goes wrong, and how."""

from __future__ import annotations

import random

__all__ = ["KINDS", "Faults"]

KINDS = ("reset", "cut", "html", "truncated", "slow")


class Faults:
    """One draw a request, so that request number n of a run always meets the same fate."""

    def __init__(self, chances: str, seed: int) -> None:
        """`chances`: "500:0.02,reset:0.01"; a kind is an HTTP error status or one of KINDS.

        Raises ValueError for an unknown kind, a chance outside 0 to 1, or a sum above 1.
        """
        self._random = random.Random(seed)  # noqa: S311 - the same each time is the point
        self._upto: list[tuple[float, str]] = []
        total = 0.0
        for item in filter(None, (part.strip() for part in chances.split(","))):
            kind, _, chance = item.partition(":")
            if kind not in KINDS and not (kind.isdigit() and 400 <= int(kind) <= 599):
                raise ValueError(f"unknown fault {kind!r}; known: a status from 400 to 599, {', '.join(KINDS)}")
            share = _chance(kind, chance)
            total += share
            self._upto.append((total, kind))
        if total > 1.0 + 1e-9:
            raise ValueError("the chances of all faults together exceed 1")

    def draw(self) -> str | None:
        """The next request's fault, if any."""
        if not self._upto:
            return None
        drawn = self._random.random()
        return next((kind for upto, kind in self._upto if drawn < upto), None)


def _chance(kind: str, text: str) -> float:
    try:
        chance = float(text)
    except ValueError:
        chance = -1.0
    if not 0.0 <= chance <= 1.0:
        raise ValueError(f"fault {kind}: the chance must be a number from 0 to 1")
    return chance
