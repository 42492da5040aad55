"""The journal's own account of what it has stored and settled, against what was issued."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shipper.ask import operator
from shipper.config import load

MODULUS = 1 << 256
SETTLED = ("delivered", "filtered", "dead")
Row = Sequence[Any]
"""Hour, events, first and last log_id, the sum of SHA-256(log_id) as 64 hexadecimal digits."""


def ledger_of(config: Path) -> dict[str, list[Row]]:
    """What the program says: by lane what it has settled, and under "" what the source has stored."""

    async def ask_for() -> Mapping[str, Any]:
        async with operator(load(config, {})) as ask:
            found: Mapping[str, Any] = await ask("ledger", {"source": "acme", "since_ms": 0, "until_ms": 1 << 48})
            return found

    found = asyncio.run(ask_for())
    settled = {
        lane: [row for outcome, rows in outcomes.items() if outcome in SETTLED for row in rows]
        for lane, outcomes in found["lanes"].items()
    }
    return {"": found["source"], **settled}


def ledger_problems(ledger: Mapping[str, Sequence[Row]], issued: Iterable[str], lanes: Iterable[str]) -> list[str]:
    """What does not add up, once everything is settled. issued: all log_ids."""
    sums = [int.from_bytes(hashlib.sha256(id_.encode()).digest()) for id_ in issued]
    problems = []
    for name in ("", *lanes):
        rows = ledger.get(name, [])
        counted, total = sum(row[1] for row in rows), sum(int(row[4], 16) for row in rows)
        if (counted, total % MODULUS) != (len(sums), sum(sums) % MODULUS):
            problems.append(f"the ledger of {name or 'the source'} has {counted} events of {len(sums)}, or others")
    return problems
