"""What a digest is: pure functions."""

import json
from datetime import date
from typing import Any

import pytest
from archive_case import EPOCH, NEW_YEAR, day, event, stored

from shipper.archive.digest import (
    DAY_MS,
    Account,
    Gap,
    Late,
    begin_of,
    day_of,
    days_from,
    days_in,
    listed,
    make,
    moment,
    parse,
    path_of,
    sha256,
)
from shipper.tally import tally

IDS = [event(1, 0, number).id for number in range(5)]
ACCOUNT = Account(
    tally(IDS), filtered=7, dead_lettered=3, dead_letters={"too_large": 1, "refused": 2},
    gaps=[Gap(moment(EPOCH + 5000), moment(EPOCH + 9000), may_be_empty=False)],
)  # fmt: skip


def made(**fields: Any) -> bytes:
    given: dict[str, Any] = {
        "objects": [stored(2), stored(1)],
        "account": ACCOUNT,
        "late": [],
        "previous": "",
        "closed_at_ms": EPOCH,
    }
    given |= fields
    return make("acme", NEW_YEAR, given.pop("objects"), given.pop("account"), given.pop("late"), **given)


def test_a_digest_says_all_that_an_auditor_asks_for() -> None:
    one = stored(1)
    assert json.loads(made(objects=[one], late=[Late(day(2), 4, "0" * 64, listed([stored(3)]))])) == {
        "version": 1,
        "source": "acme",
        "day": "2026-01-01",
        "previous": "",
        "closed_at": "2026-01-01T00:00:00Z",
        "events": 5,
        "sum": f"{tally(IDS).sum:064x}",
        "filtered": 7,
        "dead_lettered": 3,
        "dead_letters": {"refused": 2, "too_large": 1},
        "gaps": [{"since": "2026-01-01T00:00:05Z", "until": "2026-01-01T00:00:09Z", "may_be_empty": False}],
        "objects": [{"key": one.key, "events": 2, "first": one.first, "last": one.last, "content-sha256": one.sha256}],
        "late": [{"day": "2026-01-02", "events": 4, "sum": "0" * 64, "objects": [json.loads(_named(3))]}],
    }


def _named(number: int) -> str:
    one = stored(number)
    names = {"key": one.key, "events": one.events, "first": one.first, "last": one.last, "content-sha256": one.sha256}
    return json.dumps(names)


def test_the_same_facts_give_the_same_bytes_in_whatever_order_they_come() -> None:
    swapped = Account(ACCOUNT.delivered, 7, 3, {"refused": 2, "too_large": 1}, ACCOUNT.gaps)
    assert made() == made(objects=[stored(1), stored(2)], account=swapped)
    assert made() != made(objects=[stored(1)])


def test_a_digest_reads_as_it_was_made() -> None:
    digest = parse(made(previous=sha256(b"the one before")))
    assert [one.key for one in digest.objects] == [stored(1).key, stored(2).key]
    assert (digest.previous, digest.day, digest.events) == (sha256(b"the one before"), NEW_YEAR, 5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        made().replace(b'"version": 1', b'"version": 2'),
        made().replace(b'"sum": "', b'"sum": "z'),
        made().replace(b'"day": "2026-01-01"', b'"day": "2026-02-30"'),
        made().replace(b'"events": 5', b'"events": -5'),
        made()[:-10],
    ],
)
def test_what_is_no_digest_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="no digest that this version reads"):
        parse(body)


def test_the_days_of_digests_are_read_from_their_paths() -> None:
    paths = [path_of("acme", day(2)), path_of("acme", day(1)), path_of("other", day(3))]
    paths += ["_digest/source=acme/notes.txt", "_digest/source=acme/dt=20260104.json", "_digest/source=acme/dt=x.json"]
    assert days_in("acme", paths) == [day(1), day(2)]
    assert path_of("acme", day(1)) == "_digest/source=acme/dt=2026-01-01.json"


def test_days_and_times_fit_together() -> None:
    assert begin_of(date(1970, 1, 2)) == DAY_MS
    assert [day_of(at) for at in (EPOCH - 1, EPOCH, EPOCH + DAY_MS - 1)] == [date(2025, 12, 31), day(1), day(1)]
    assert days_from(day(30), date(2026, 2, 1)) == [day(30), day(31), date(2026, 2, 1)]
    assert days_from(day(2), day(1)) == []
