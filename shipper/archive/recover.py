"""Where to go on when the state directory is lost and only an archive is left: by what stands in it.

A lane writes its batches one after another, and the objects of a batch in the order in which their hours come: an
object is begun when the one before it is confirmed. So everything that was served before the last event of the object
written last is in the archive, also when the state was lost in the middle of a batch: what lacks is behind it.

*Written last* is by the destination's own times, not by the highest id: where a checkpoint was set back, the lane was
last seen at the lower id, and going on at the highest would step over what it had not repeated yet. Where the object
written last is an older one (a dead letter that was requeued, a replay), going on there repeats events; it never steps
over any. Days that have a digest are complete, so that what was written into them afterwards sets nothing back;
only who sets a checkpoint back into closed days, and loses the journal before it has caught up, must set it once more.

Two things can not be seen in an archive: an event that its source indexed behind the others and the lane had not
delivered yet (`shipper verify` against the source finds it, and `--repair` writes it), and a replay *ahead* of the
lane, which must therefore end at the lane's horizon.
"""

from datetime import date

import msgspec

from shipper.archive import Archive, Stored
from shipper.archive.digest import DAY_MS, begin_of, days_in, folder_of
from shipper.sources.start import is_log_id
from shipper.tally import HOUR_MS, order

MAX_DAYS_WITHOUT_DIGEST = 3
"""How many of the newest days are looked at in an archive without digests."""


class Resume(msgspec.Struct, frozen=True):
    """Where a lane goes on.

    after: the log_id right behind which; "" where the source's ids have no order, and `since_ms` must do.
    since_ms: the beginning of the hour of that event, in ms since 1970 UTC.
    stored: the object that this was read from.
    """

    after: str
    since_ms: int
    stored: Stored


async def newest_ids(archive: Archive, source: str) -> Resume | None:
    """Where the lane into this archive goes on so that nothing is left out; None: nothing of the source is there.

    Raises as the archive does.
    """
    objects = await _of_open_days(archive, source)
    if not objects:
        return None
    written = max(one.written for one in objects)
    # Objects of one write may have the same time, and stand in any order then.
    last_write = [one for one in objects if one.written >= written - archive.deadline_secs * 1000]
    stored = max(last_write, key=lambda one: (one.hour, order(_end_of(one))))
    return Resume(_end_of(stored), stored.hour * HOUR_MS, stored)


async def holds(archive: Archive, source: str) -> bool:
    """Whether the archive has anything of this source. Raises as the archive does."""
    return await archive.newest(source) is not None


async def _of_open_days(archive: Archive, source: str) -> list[Stored]:
    """The objects of the days without a digest; where there are none, those of the newest day that has any."""
    closed = days_in(source, await archive.notes(folder_of(source)))
    days = await archive.days(source)
    open_days = [day for day in days if day > closed[-1]] if closed else days[-MAX_DAYS_WITHOUT_DIGEST:]
    objects = [one for day in open_days for one in await _of(archive, source, day)]
    older = [day for day in days if day not in open_days]
    while not objects and older:
        objects = await _of(archive, source, older.pop())
    return objects


async def _of(archive: Archive, source: str, day: date) -> list[Stored]:
    return (await archive.objects(source, begin_of(day), begin_of(day) + DAY_MS)).objects


def _end_of(stored: Stored) -> str:
    """The highest id that the object's name tells; "" where its ids have no order."""
    return max((one for one in (stored.first, stored.last) if is_log_id(one)), key=order, default="")
