"""What an auditor's walk finds: pure."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from archive_case import EPOCH, day, found, stored

from shipper import Found, Stored
from shipper.archive.digest import DAY_MS, LATE_DAYS, Account, Late, listed, make, sha256
from shipper.archive.walk import Finding, Walk
from shipper.tally import Tally

LONG_AGO = EPOCH - 400 * DAY_MS


def digest(number: int, *objects: Stored, previous: bytes = b"", **fields: Any) -> bytes:
    """A day's digest over these objects, with which the ledger agrees unless events says otherwise."""
    events = fields.get("events", sum(one.events for one in objects))
    return make(
        "acme", day(1) + timedelta(days=number - 1), objects, Account(Tally(events)), fields.get("late", []),
        previous=sha256(previous) if previous else "",
        closed_at_ms=EPOCH + number * DAY_MS + 600_000,
    )  # fmt: skip


def late(number: int, *objects: Stored, events: int) -> Late:
    return Late(day(number), events, "0" * 64, listed(objects))


def findings_of(
    *days: tuple[bytes | None, Found | None], before: bytes | None = None, first: int = 1
) -> list[tuple[str, int, str]]:
    """What a walk along these days finds: kind, day's number, key."""
    walk = Walk("acme", before)
    findings = list[Finding]()
    for number, (body, there) in enumerate(days, first):
        findings += walk.feed(day(1) + timedelta(days=number - 1), body, there)
    findings += walk.finish()
    return [(one.kind, (one.day - day(1)).days + 1, one.key) for one in findings]


ONE, TWO = stored(1), stored(2, day_number=2)
FIRST = digest(1, ONE)
SECOND = digest(2, TWO, previous=FIRST)
EMPTY = digest(3, previous=SECOND)


def test_an_archive_that_is_as_its_digests_say_gives_no_finding() -> None:
    walk = Walk("acme")
    findings = walk.feed(day(1), FIRST, found(ONE)) + walk.feed(day(2), SECOND, found(TWO))
    findings += walk.feed(day(3), EMPTY, found()) + walk.finish()
    assert findings == []
    assert (walk.digests, walk.objects, walk.events, walk.newest) == (3, 2, 4, sha256(EMPTY))


def test_a_digest_that_is_gone_is_found() -> None:
    assert findings_of((FIRST, found(ONE)), (None, found(TWO)), (EMPTY, found())) == [("missing_digest", 2, "")]


def test_a_chain_whose_beginning_is_gone_is_found() -> None:
    assert findings_of((SECOND, found(TWO)), (EMPTY, found()), first=2) == [("missing_digest", 1, "")]
    assert findings_of((SECOND, found(TWO)), (EMPTY, found()), first=2, before=FIRST) == []


@pytest.mark.parametrize("rewritten", [digest(1, ONE, stored(3)), digest(1), FIRST + b"\n", b"{}"])
def test_a_digest_that_was_rewritten_breaks_the_chain_behind_it(rewritten: bytes) -> None:
    assert ("broken_chain", 2, "") in findings_of((rewritten, found(ONE)), (SECOND, found(TWO)))
    assert ("broken_chain", 2, "") in findings_of((SECOND, found(TWO)), first=2, before=rewritten)


def test_a_chain_that_begins_anew_in_its_middle_is_broken() -> None:
    assert findings_of((FIRST, found(ONE)), (digest(2, TWO), found(TWO))) == [("broken_chain", 2, "")]
    assert findings_of((FIRST, found(ONE)), (None, found()), (digest(3), found())) == [
        ("missing_digest", 2, ""),
        ("broken_chain", 3, ""),
    ]


@pytest.mark.parametrize("body", [b"<html>", digest(2, ONE), FIRST.replace(b'"acme"', b'"acne"')])
def test_what_is_not_this_days_digest_is_bad(body: bytes) -> None:
    assert findings_of((body, found(ONE))) == [("bad_digest", 1, "")]


def test_an_object_that_is_gone_is_found() -> None:
    assert findings_of((FIRST, found())) == [("missing_object", 1, ONE.key)]


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(ONE, sha256="f" * 64),
        msgspec.structs.replace(ONE, events=3),
        msgspec.structs.replace(ONE, first="1"),
        msgspec.structs.replace(ONE, last="1"),
    ],
)
def test_an_object_with_other_metadata_is_found(other: Stored) -> None:
    assert findings_of((FIRST, found(other))) == [("altered_object", 1, ONE.key)]


def test_an_object_that_was_written_again_is_the_same() -> None:
    """As when a bucket is copied: its times are those of the copy."""
    assert findings_of((FIRST, found(msgspec.structs.replace(ONE, written=EPOCH + 300 * DAY_MS)))) == []


def test_a_strangers_object_is_found() -> None:
    assert findings_of((FIRST, found(ONE, foreign=("notes.txt",)))) == [("foreign_object", 1, "notes.txt")]


def test_an_object_that_no_digest_lists_is_found() -> None:
    more = stored(3, written=LONG_AGO)
    assert findings_of((FIRST, found(ONE, more)), (SECOND, found(TWO))) == [("unlisted_object", 1, more.key)]


def test_an_object_that_came_after_the_newest_digest_waits_for_the_next_one() -> None:
    new = stored(3, written=EPOCH + 5 * DAY_MS // 2)
    assert findings_of((FIRST, found(ONE, new)), (SECOND, found(TWO))) == []
    third = digest(3, previous=SECOND, late=[late(1, new, events=4)])
    assert findings_of((FIRST, found(ONE, new)), (SECOND, found(TWO)), (third, found())) == []
    # Beyond the range, only what came late is looked at.
    assert findings_of((FIRST, found(ONE, new)), (SECOND, found(TWO)), (third, None)) == []


def test_a_late_object_that_is_gone_or_altered_is_found() -> None:
    new = stored(3, written=EPOCH + 3 * DAY_MS)
    second = digest(2, TWO, previous=FIRST, late=[late(1, new, events=4)])
    assert findings_of((FIRST, found(ONE)), (second, found(TWO))) == [("missing_object", 1, new.key)]
    other = msgspec.structs.replace(new, sha256="f" * 64)
    assert findings_of((FIRST, found(ONE, other)), (second, found(TWO))) == [("altered_object", 1, new.key)]


def test_what_came_late_for_a_day_outside_the_range_is_not_looked_at() -> None:
    second = digest(2, TWO, previous=FIRST, late=[late(1, stored(3), events=4)])
    assert findings_of((second, found(TWO)), first=2, before=FIRST) == []


def test_after_many_days_no_digest_can_list_an_object_any_more() -> None:
    new, bodies = stored(3, written=EPOCH + 90 * DAY_MS), [FIRST]
    while len(bodies) <= LATE_DAYS:
        bodies.append(digest(len(bodies) + 1, previous=bodies[-1]))
    days = [(body, found()) for body in bodies]
    days[0] = (FIRST, found(ONE, new))
    assert findings_of(*days[:-1]) == []
    assert findings_of(*days) == [("unlisted_object", 1, new.key)]


@pytest.mark.parametrize(("events", "kind"), [(3, "fewer_events"), (1, "more_events")])
def test_counts_that_do_not_add_up_are_found(events: int, kind: str) -> None:
    assert findings_of((digest(1, ONE, events=events), found(ONE))) == [(kind, 1, "")]


def test_counts_add_up_with_what_came_late() -> None:
    new = stored(3, written=EPOCH + DAY_MS)
    days = (FIRST, found(ONE, new))
    for events, kinds in ((4, []), (5, ["fewer_events"]), (3, ["more_events"])):
        second = digest(2, TWO, previous=FIRST, late=[late(1, new, events=events)])
        assert [kind for kind, _, _ in findings_of(days, (second, found(TWO)))] == kinds
