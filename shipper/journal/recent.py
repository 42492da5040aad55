"""The events of the pages appended last, so that lanes close behind need not read and unpack them again.

What is here stands in the file as well, byte for byte, and whatever is missing here is read there: it saves work, and
nothing depends on it.
"""

from collections import OrderedDict
from collections.abc import Sequence

from shipper.event import Event

MOST_BYTES = 4 << 20


class Recent:
    """At most 4 MiB of events, by their source and numbers."""

    def __init__(self) -> None:
        self._pages: OrderedDict[tuple[int, int], tuple[Sequence[Event], int]] = OrderedDict()
        self._bytes = 0

    def put(self, source: int, first: int, events: Sequence[Event]) -> None:
        """These are committed, with consecutive numbers from `first` on."""
        size = sum(len(event.raw) for event in events)
        self._pages[source, first] = (events, size)
        self._bytes += size
        while self._bytes > MOST_BYTES:
            _, (_, size) = self._pages.popitem(last=False)
            self._bytes -= size

    def behind(self, source: int, number: int, most: int) -> Sequence[Event]:
        """Up to so many events behind this number, as far as their page goes; none where they are not here."""
        for (of, first), (events, _) in reversed(self._pages.items()):
            if of == source and first <= number + 1 < first + len(events):
                return events[number + 1 - first : number + 1 - first + most]
        return ()
