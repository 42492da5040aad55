"""The order of events in a tenant's day: flows of one user each (a login, its code exchange, its logout), woven
into each other, and events that stand alone. The day is the same each time; who acts in it is not."""

from __future__ import annotations

import random

from shipper.simulator.event_types import EVENT_TYPES
from shipper.simulator.templates import VARIANTS, Picker, Template, template

__all__ = ["Cycle"]

# How often in a cycle, and the steps: a type, and how many places it follows the step before at the least.
_FLOWS: tuple[tuple[int, tuple[tuple[str, int], ...]], ...] = (
    (190, (("s", 0), ("seacft", 1), ("slo", 300))),
    (200, (("s", 0), ("seacft", 1))),
    (50, (("s", 0), ("seacft", 1), ("sertft", 120), ("sertft", 120), ("slo", 60))),
    (60, (("fp", 0), ("fp", 6), ("s", 9), ("seacft", 1))),
    (12, (("fp", 0),) + 9 * (("fp", 2),) + (("limit_wc", 1),)),
    (45, (("gd_start_auth", 0), ("gd_send_pn", 1), ("gd_auth_succeed", 7), ("s", 1), ("seacft", 1), ("slo", 250))),
    (30, (("ss", 0), ("svr", 1), ("s", 1), ("seacft", 1), ("sv", 60))),
    (25, (("scpr", 0), ("scp", 40), ("s", 5), ("seacft", 1))),
)


class Cycle:
    """`slots`: for each place its flow's number within the cycle, and the template of its event."""

    def __init__(self, seed: int, domain: str) -> None:
        chance = random.Random(f"cycle {seed}")  # noqa: S311 - the same each time is the point
        lone = [((each.code, 0),) for each in EVENT_TYPES.values() for _ in range(each.alone)]
        flows = lone + [steps for times, steps in _FLOWS for _ in range(times)]
        length = sum(map(len, flows))
        placed: list[tuple[float, int, str]] = []
        for number, steps in enumerate(flows):
            room = length - 2 * sum(gap for _, gap in steps)
            at = chance.random() * room
            for code, gap in steps:
                at += gap * (1 + chance.random())
                placed.append((at, number, code))
        placed.sort()
        made: dict[tuple[str, int], Template] = {}
        self.slots: list[tuple[int, bytes, Picker]] = []
        for _, number, code in placed:
            which = (code, chance.randrange(VARIANTS))
            if which not in made:
                made[which] = template(*which, domain)
            self.slots.append((number, *made[which]))
