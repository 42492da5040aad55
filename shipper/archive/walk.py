"""What an auditor finds who walks along a source's digests: pure, a day at a time, so that years fit into memory."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Literal

import msgspec

from shipper.archive import Found, Stored
from shipper.archive.digest import LATE_DAYS, Digest, Late, Listed, listed, moment, parse, sha256

Kind = Literal[
    "missing_digest",
    "bad_digest",
    "broken_chain",
    "missing_object",
    "altered_object",
    "unlisted_object",
    "foreign_object",
    "fewer_events",
    "more_events",
]
MAY_WAIT = timedelta(minutes=15)
"""Written so shortly before a day was closed, an object may be for the next digest: there are two clocks."""


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as the digests say.

    missing_digest: a day inside the chain has none. bad_digest: one can't be read, or is another source's or day's.
    broken_chain: it does not hold the SHA-256 of the one before. missing_object: it lists one that is gone.
    altered_object: an object's metadata are not those of its digest. unlisted_object: no digest lists it.
    foreign_object: it stands among ours and was not written by us.
    fewer_events: the objects hold fewer than were delivered. more_events: they hold more; that alone is no loss, since
    a replay, a requeue or a lost journal may repeat events, and a lost journal's ledger begins anew.
    key: the object's, below the prefix; strangers may have chosen it. note: our own words.
    """

    kind: Kind
    day: date
    note: str
    key: str = ""


class _Day(msgspec.Struct):
    """What is left to be accounted for. delivered, held: events by the ledger, and in the objects listed so far."""

    delivered: int
    held: int
    unlisted: dict[str, Stored]
    begins_chain: bool


class Walk:
    """Along a source's digests, one day after another without a gap. before: the digest of the day before the first."""

    def __init__(self, source: str, before: bytes | None = None) -> None:
        self._source = source
        self._previous = sha256(before) if before is not None else None
        self._begun = before is not None
        self._closed_at = moment(0)
        self._days: dict[date, _Day] = {}
        self.digests = 0
        self.objects = 0
        self.events = 0
        self.newest = ""
        """The SHA-256 of the newest digest: who keeps a copy of it elsewhere can tell a rewritten chain."""

    def feed(self, day: date, body: bytes | None, found: Found | None) -> list[Finding]:
        """The next day: its digest, None where there is none, and what stands in the archive.

        found None: the day is beyond the range, and only what came late for earlier days is looked at.
        """
        findings = [
            Finding("foreign_object", day, "stands among ours, and its name and metadata are not those of ours", key)
            for key in (found.foreign if found else [])
        ]
        digest = self._read(day, body, findings)
        if digest is not None:
            self.digests += 1
            self._closed_at = digest.closed_at
            if found is not None:
                findings += self._compare(digest, found.objects)
            for part in digest.late:
                findings += self._add_late(day, part)
        for old in [one for one in self._days if one <= day - timedelta(days=LATE_DAYS)]:
            findings += self._settle(old, over=True)
        return findings

    def finish(self) -> list[Finding]:
        """What is still unaccounted for behind the last day."""
        return [finding for day in list(self._days) for finding in self._settle(day, over=False)]

    def _read(self, day: date, body: bytes | None, findings: list[Finding]) -> Digest | None:
        """The digest, and how it is linked to the one before."""
        begun, previous = self._begun, self._previous
        self._begun, self._previous = True, sha256(body) if body is not None else None
        if body is None:
            findings.append(Finding("missing_digest", day, "the day has no digest"))
            return None
        self.newest = sha256(body)
        try:
            digest = parse(body)
        except ValueError as error:
            findings.append(Finding("bad_digest", day, str(error)))
            return None
        if (digest.source, digest.day) != (self._source, day):
            findings.append(Finding("bad_digest", day, "is the digest of another day or source"))
            return None
        if not begun and digest.previous:
            findings.append(Finding("missing_digest", day - timedelta(days=1), "the next day's digest names it"))
        elif begun and (not digest.previous or previous not in (None, digest.previous)):
            findings.append(Finding("broken_chain", day, "does not hold the SHA-256 of the digest before it"))
        return digest

    def _compare(self, digest: Digest, objects: list[Stored]) -> list[Finding]:
        there = {one.key: one for one in objects}
        findings = _differences(digest.day, digest.objects, there)
        held = sum(one.events for one in digest.objects)
        self.objects += len(digest.objects)
        self.events += held
        named = {one.key for one in digest.objects}
        unlisted = {key: one for key, one in there.items() if key not in named}
        self._days[digest.day] = _Day(digest.events, held, unlisted, not digest.previous)
        return findings

    def _add_late(self, day: date, part: Late) -> list[Finding]:
        """What came for an earlier day. One that was not fed can't be looked at."""
        earlier = self._days.get(part.day)
        if earlier is None or part.day >= day:
            return []
        findings = _differences(part.day, part.objects, earlier.unlisted)
        for one in part.objects:
            earlier.unlisted.pop(one.key, None)
        held = sum(one.events for one in part.objects)
        earlier.delivered, earlier.held = part.events, earlier.held + held
        self.objects += len(part.objects)
        self.events += held
        return findings

    def _settle(self, day: date, *, over: bool) -> list[Finding]:
        """over: no later digest can list anything of the day."""
        left = self._days.pop(day)
        late = self._closed_at - MAY_WAIT
        findings = [
            Finding("unlisted_object", day, "no digest lists it", one.key)
            for one in left.unlisted.values()
            if over or moment(one.written) < late
        ]
        counts = f"the objects hold {left.held} events, and {left.delivered} were delivered"
        if left.held < left.delivered:
            note = "; a source that was renamed has its earlier ones under its former name" if left.begins_chain else ""
            findings.append(Finding("fewer_events", day, counts + note))
        elif left.held > left.delivered:
            findings.append(Finding("more_events", day, f"{counts} by the journal of the time"))
        return findings


def _differences(day: date, named: Iterable[Listed], there: Mapping[str, Stored]) -> list[Finding]:
    findings = []
    for one in named:
        stored = there.get(one.key)
        if stored is None:
            findings.append(Finding("missing_object", day, "is listed and not there", one.key))
        elif listed([stored]) != [one]:
            findings.append(Finding("altered_object", day, "has other metadata than its digest says", one.key))
    return findings
