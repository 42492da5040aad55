"""Where the first start begins, asked of the tenant: `start` becomes a position before everything that is wanted."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from shipper.event import Event
from shipper.http import Answer
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.chain import PATH
from shipper.sources.split import UnreadableError, event_of, split
from shipper.sources.start import EARLIEST, embedded_time, is_log_id, synthetic_id
from shipper.sources.trouble import Trouble

SEARCH_MARGINS = (timedelta(minutes=10), timedelta(hours=2), timedelta(days=1), timedelta(days=40))
SAFE_DISTANCE = timedelta(minutes=1)
"""How far before a wanted time a position that was found by search lies at least."""


async def first_position(api: Auth0Api, start: str) -> str:
    """The log_id behind which reading begins. start: the setting. Raises Trouble."""
    if start == "earliest":
        return EARLIEST
    if start == "latest":
        await api.get(f"{PATH}?from={EARLIEST}&take=1")
        return synthetic_id(api.server.now())
    if is_log_id(start):
        return start
    return await position_of(api, datetime.fromisoformat(start))


async def first_behind(api: Auth0Api, position: str) -> Event | None:
    """The first event behind a position, None where there is none. Raises Trouble."""
    return _first_event(await api.get(f"{PATH}?from={position}&take=1"), api.server.now())


async def position_of(api: Auth0Api, moment: datetime) -> str:
    """A position before every event of this moment or later. Raises Trouble."""
    position = synthetic_id(int(moment.timestamp() * 1000))
    try:
        first = await first_behind(api, position)
    except Trouble as trouble:
        if trouble.reason != "refused":
            raise
        return await _search_position(api, moment)
    # That a made-up id is a position is not documented, so it is checked: what follows may not lie before it,
    # and nothing may follow only where a search finds nothing either.
    if first is None:
        honoured = await _first_dated(api, moment) is None
    else:
        honoured = embedded_time(first.id) is None or first.id > position
    return position if honoured else await _search_position(api, moment)


async def _search_position(api: Auth0Api, moment: datetime) -> str:
    """The id of an event well before the moment, by search; where there is none, the very beginning."""
    before = (moment - SAFE_DISTANCE).timestamp() * 1000
    for margin in SEARCH_MARGINS:
        first = await _first_dated(api, moment - margin)
        # The event's time is that of its id, where it has one: the first by date may have been indexed late.
        if first is not None and is_log_id(first.id) and first.time < before:
            return first.id
    return EARLIEST


async def _first_dated(api: Auth0Api, moment: datetime) -> Event | None:
    """The first event by date since the moment; its place among ids may be any. Raises Trouble."""
    query = quote(f"date:[{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.000Z} TO *]", safe="")
    answer = await api.get(f"{PATH}?q={query}&sort=date%3A1&per_page=1")
    return _first_event(answer, api.server.now())


def _first_event(answer: Answer, now: int) -> Event | None:
    try:
        elements, _ = split(answer.body)
    except UnreadableError:
        raise Trouble("bad_answer", "HTTP 200 but no JSON array: is this the tenant's own address?") from None
    return event_of(elements[0], now) if elements else None
