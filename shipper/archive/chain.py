"""Walks a source's digests in an archive, from what the archive holds alone."""

from datetime import date, timedelta

import msgspec

from shipper.archive import Archive
from shipper.archive.digest import DAY_MS, LATE_DAYS, begin_of, day_of, days_from, days_in, folder_of, path_of
from shipper.archive.walk import Finding, Walk


class Chain(msgspec.Struct, frozen=True):
    """A walk's outcome.

    first, last: the days between which digests were walked, None where there are none in the range.
    digests, objects, events: how many were accounted for. newest_sha256: of the newest digest that was read.
    """

    first: date | None
    last: date | None
    digests: int
    objects: int
    events: int
    newest_sha256: str
    findings: list[Finding]


async def walked(archive: Archive, source: str, since_ms: int, until_ms: int) -> Chain:
    """Compares every closed day that touches the range with its digest. Raises as the archive does.

    Days before the first digest and after the newest one are not part of the chain: nothing is said of them.
    """
    closed = days_in(source, await archive.notes(folder_of(source)))
    first = max([day_of(since_ms), *closed[:1]])
    last = min([day_of(until_ms - 1), *closed[-1:]])
    if not closed or last < first:
        return Chain(None, None, 0, 0, 0, "", [])
    before = await archive.note(path_of(source, first - timedelta(days=1)))
    walk, findings = Walk(source, before), list[Finding]()
    for day in days_from(first, min(closed[-1], last + timedelta(days=LATE_DAYS))):
        found = await archive.objects(source, begin_of(day), begin_of(day) + DAY_MS) if day <= last else None
        findings += walk.feed(day, await archive.note(path_of(source, day)), found)
    findings += walk.finish()
    return Chain(first, last, walk.digests, walk.objects, walk.events, walk.newest, findings)
