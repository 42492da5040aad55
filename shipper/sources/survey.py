"""A look at a tenant's log from a few places, before it is read: what `shipper check` and a first start tell of it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from shipper.http import Answer
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.chain import PATH, TAKE
from shipper.sources.estimate import Estimate, Sample, estimate, in_words, limit_of, positions
from shipper.sources.pace import burst_size, pause_secs
from shipper.sources.split import UnreadableError, event_of, split
from shipper.sources.start import EARLIEST, embedded_time, is_log_id, synthetic_id
from shipper.sources.trouble import Trouble

FINISH_SECS = 15.0
"""For all but the first read in `shipper check`, which has to come to an end."""
READS = 5
"""At the most, in all: a tenant's limit is shared."""
SLACK_MS = 60_000
"""An event may be so much older than the position that it stands behind: its time may be its own date."""


class Survey:
    """Reads its few pages one after another, leaving the reserve of the tenant's limit to others.

    oldest: the date of the oldest event as it is written, "" where there is none.
    """

    def __init__(self, api: Auth0Api, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._api, self._sleep = api, sleep
        self._samples: list[Sample] = []
        self._burst: int | None = None
        self._pause = 0.0
        self.oldest = ""

    async def begin(self) -> None:
        """The first read, from the very beginning. Raises Trouble."""
        await self._read(EARLIEST, None)

    async def finish(self, start: str) -> Estimate | None:
        """The other reads. start: the setting. None where there is too little to say anything. Raises Trouble."""
        if self._samples:
            for moment in positions(self._samples[0].start, self._api.server.now(), READS - 1):
                await self._sleep(self._pause)
                await self._read(synthetic_id(moment), moment)
        now = self._api.server.now()
        return estimate(self._samples, begin=_begin(start, now), now=now, limit=limit_of(self._burst))

    async def _read(self, position: str, moment: int | None) -> None:
        answer = await self._api.get(f"{PATH}?from={position}&take={TAKE}")
        now = self._api.server.now()
        self._burst, self._pause = burst_size(answer.headers), pause_secs(answer.headers, now)
        events = [event_of(raw, now) for raw in _elements(answer)]
        if events:
            first, last = events[0].time, max(event.time for event in events)
            if moment is None:
                self.oldest = events[0].date[:40]
            elif first < moment - SLACK_MS:
                raise Trouble("bad_answer", "the tenant does not honour positions that are no event's")
            start = first if moment is None else moment
            self._samples.append(Sample(start, last, len(events), sum(len(event.raw) for event in events)))
        elif moment is not None:
            self._samples.append(Sample(moment, moment, 0, 0))


async def check_tenant(api: Auth0Api, start: str) -> str:
    """Token, scopes, one page and how much there is, in two lines for a person. start: the setting. Raises Trouble."""
    survey = Survey(api)
    await survey.begin()
    scopes = " ".join(sorted(api.token.scopes)) or "not told"
    readable = f"one page read; oldest event {survey.oldest or 'none'}; token's scopes: {scopes}"
    try:
        async with asyncio.timeout(FINISH_SECS):
            much = in_words(await survey.finish(start))
    except Trouble as trouble:
        much = f"no estimate of how much there is ({trouble.reason}: {trouble.note})"
    except TimeoutError:
        much = f"no estimate of how much there is: it took more than {FINISH_SECS:g} s"
    return f"{readable}\n{much}"


async def tell_first_start(api: Auth0Api, start: str, log: Any) -> None:
    """One line of log about how much there is to read. Nothing waits for it, and nothing that fails in it counts."""
    survey = Survey(api)
    try:
        await survey.begin()
        found = await survey.finish(start)
    except Trouble as trouble:
        log.info("first start: no estimate of how much there is", reason=trouble.reason, note=trouble.note)
    except Exception as error:  # noqa: BLE001  an estimate is worth no failure, whatever a tenant answers
        log.warning("first start: no estimate of how much there is", error=type(error).__name__)
    else:
        line = f"first start: {in_words(found)}"
        log.info(line, oldest=survey.oldest or "none")


def _elements(answer: Answer) -> list[bytes]:
    try:
        return split(answer.body)[0]
    except UnreadableError:
        raise Trouble("bad_answer", "HTTP 200 but no JSON array: is this the tenant's own address?") from None


def _begin(start: str, now: int) -> int:
    """Where reading begins, as well as it is known before; ms since 1970."""
    if start == "earliest":
        return 0
    if start == "latest":
        return now
    if is_log_id(start):
        return embedded_time(start) or 0
    return int(datetime.fromisoformat(start).astimezone(UTC).timestamp() * 1000)
