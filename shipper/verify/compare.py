"""Decides what differs in one hour. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from shipper.tally import Tally, order, tally

NAMED = 5
"""So many ids of a kind are named; the others are counted."""


class Difference(msgspec.Struct, frozen=True):
    """One hour of one comparison that is not as it should be.

    what: the two sides, like "journal → archive". expected, found: events, repeats counted. missing, extra, twice:
    how many; `at_least` where the ids behind the counts are not known. names: the first few ids, by kind.
    missing_ids: all that are known. note: what else is to be said.
    """

    what: str
    hour: int
    expected: int
    found: int
    missing: int = 0
    extra: int = 0
    twice: int = 0
    at_least: bool = False
    names: dict[str, list[str]] = {}
    missing_ids: frozenset[str] = frozenset()
    note: str = ""
    open: bool = False


def by_ids(
    what: str, hour: int, expected: Tally, found: Sequence[str], known: Collection[str] | None
) -> Difference | None:
    """Compares ids with a tally. known: the ids that should be there, where they can be had. None: all is as it should.

    The tally decides; known ids put names to what differs, and are not believed where they don't add up to the tally.
    Events that were delivered again, since someone set a checkpoint back, count each time in the tally and in the known
    ids: they need not be there more than once (an archive keeps one of equal objects), and may be as often as that.
    """
    counts = Counter(found)
    once = tally(list(counts))
    if tally(found).same(expected):
        return None
    if _several_times(once, expected):
        more = _too_often(counts, dict.fromkeys(counts, expected.events // once.events))
        return _difference(what, hour, expected, found, more=more) if more else None
    if known is not None and tally(list(known)).same(expected):
        missing = sorted(set(known) - counts.keys(), key=order)
        extra = sorted(counts.keys() - set(known), key=order)
        more = _too_often(counts, Counter(known))
        if not (missing or extra or more):
            return None
        return _difference(what, hour, expected, found, missing=missing, extra=extra, more=more)
    # Without the names, only the balance is known; where even that is nil, some are missing and as many are extra.
    balance = expected.events - len(counts)
    missing_known = sorted(set(known or ()) - counts.keys(), key=order)
    more = _too_often(counts, {})
    return Difference(
        what=what,
        hour=hour,
        expected=expected.events,
        found=len(found),
        missing=max(balance, len(missing_known), 1 if balance == 0 else 0),
        extra=max(-balance, 1 if balance == 0 else 0),
        twice=sum(more.values()),
        at_least=True,
        names=_named(missing=missing_known, twice=more),
        missing_ids=frozenset(missing_known),
    )


def by_tallies(what: str, hour: int, expected: Tally, found: Tally) -> Difference | None:
    """Compares two tallies; None: they are the same, or all that was expected came several times."""
    if expected.same(found) or _several_times(expected, found):
        return None
    balance = expected.events - found.events
    same_count = 1 if balance == 0 else 0
    return Difference(
        what=what,
        hour=hour,
        expected=expected.events,
        found=found.events,
        missing=max(balance, same_count),
        extra=max(-balance, same_count),
        at_least=True,
    )


def _several_times(once: Tally, expected: Tally) -> bool:
    """Whether the expected events are these, each as often as the others."""
    return 0 < once.events <= expected.events and once.times(expected.events // once.events).same(expected)


def _too_often(counts: Mapping[str, int], said: Mapping[str, int]) -> dict[str, int]:
    """The ids that are there more often than the ledger says, in order, and by how much."""
    more = {id_: times - max(1, said.get(id_, 1)) for id_, times in counts.items()}
    return {id_: more[id_] for id_ in sorted(more, key=order) if more[id_] > 0}


def _difference(
    what: str,
    hour: int,
    expected: Tally,
    found: Sequence[str],
    *,
    missing: Sequence[str] = (),
    extra: Sequence[str] = (),
    more: Mapping[str, int],
) -> Difference:
    return Difference(
        what=what,
        hour=hour,
        expected=expected.events,
        found=len(found),
        missing=len(missing),
        extra=len(extra),
        twice=sum(more.values()),
        names=_named(missing=missing, extra=extra, twice=more),
        missing_ids=frozenset(missing),
    )


def _named(**kinds: Iterable[str]) -> dict[str, list[str]]:
    return {kind: names for kind, ids in kinds.items() if (names := list(ids)[:NAMED])}
