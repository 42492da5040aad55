"""Indexer acknowledgement: Splunk says of each body, some time after taking it, that it is indexed.

Splunk docs, "About HTTP Event Collector Indexer Acknowledgment": each body gets an `ackId`, counted per channel; the
same channel is asked about it, through the same load balancer, until the answer is true, which is said only once. An id
that is not known is answered with false, so after a restart of Splunk nothing is ever confirmed, and all is sent again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID, uuid5

import msgspec

from shipper import Answer, HttpClient, Unavailable

FIRST_POLL_SECS = 0.2
LONGEST_POLL_SECS = 5.0
DISABLED = 14
_PASSES_BY_ITSELF = frozenset({"server_error", "throttled", "timeout", "unreachable"})
"""What the acknowledgement endpoint may suffer from while the indexers go on: it is asked again."""

Exchange = Callable[[bytes, Mapping[str, str], HttpClient], Awaitable[Answer]]


class _Acks(msgspec.Struct):
    acks: dict[str, bool]


class Channel:
    """One lane's channel: its name, and connections with cookies of its own, so that a balancer keeps it together."""

    def __init__(self, process: UUID, lane: str, generation: int, client: HttpClient) -> None:
        self.id = str(uuid5(process, f"{lane}/{generation}"))
        self.client = client

    async def confirmed(
        self, ids: set[int], ask: Exchange, judge: Callable[[Answer], Unavailable], patience: float
    ) -> None:
        """Returns once all these ids are acknowledged. Raises Unavailable: `unacknowledged` when patience ends.

        Whatever else the acknowledgement endpoint answers, it never counts as delivered. patience: seconds.
        """
        waiting, pause = set(ids), FIRST_POLL_SECS
        try:
            async with asyncio.timeout(patience):
                while waiting:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_POLL_SECS)
                    waiting -= await self._asked(waiting, ask, judge)
        except TimeoutError:
            note = f"{len(waiting)} of {len(ids)} bodies were not acknowledged in {patience:g} s: sending all again"
            raise Unavailable("unacknowledged", note) from None

    async def _asked(self, waiting: set[int], ask: Exchange, judge: Callable[[Answer], Unavailable]) -> set[int]:
        try:
            answer = await ask(msgspec.json.encode({"acks": sorted(waiting)}), self.headers, self.client)
            if answer.status != 200:
                raise judge(answer)
            found = msgspec.json.decode(answer.body, type=_Acks)
        except Unavailable as trouble:
            if trouble.reason not in _PASSES_BY_ITSELF:
                raise
            return set()
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return set()
        return {id_ for id_ in waiting if found.acks.get(str(id_)) is True}

    @property
    def headers(self) -> dict[str, str]:
        """What says which channel a request belongs to."""
        return {"X-Splunk-Request-Channel": self.id}
