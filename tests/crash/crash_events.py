"""The events of the victim's source, each made from its number; they ask for nothing that the first release lacks."""

from functools import cache
from hashlib import sha256

from shipper.event import Event, Page

EPOCH_MS = 1_700_000_000_000
PAGES = (1, 2, 17, 1, 3, 30, 5)


@cache
def event(number: int) -> Event:
    """The source's event of this number; half of its bytes don't compress."""
    noise = "".join(sha256(b"%d %d" % (number, i)).hexdigest() for i in range(1 + number % 4))
    raw = b'{"n":%d,"noise":"%s"}' % (number, noise.encode())
    return Event(str(9 * 10**55 + number), EPOCH_MS + number * 60_000, f"day {number}", "s", raw)


def number_of(event: Event) -> int:
    """The number of one of the source's events."""
    return int(event.id) - 9 * 10**55


def page_behind(stored: int, upto: int) -> Page:
    """The page behind so many events, none of it above a number. Its checkpoint is its last number."""
    last = min(upto, stored + PAGES[stored % len(PAGES)])
    events = [event(number) for number in range(stored + 1, last + 1)]
    return Page(events, b"%d" % last, EPOCH_MS + last, events[-1].id)
