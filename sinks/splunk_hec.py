"""Splunk's HTTP Event Collector (HEC): concatenated JSON envelopes, judged by the answer's `code`.

Splunk docs: "HTTP Event Collector REST API endpoints" and "Troubleshoot HTTP Event Collector" (the table of codes).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid4

import msgspec
from isal import igzip
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shipper import (
    LONGEST,
    LONGEST_ID,
    Answer,
    Batch,
    BatchLimits,
    Event,
    HttpClient,
    HttpSink,
    Origin,
    Reason,
    Rejected,
    Request,
    Secret,
    SinkConfig,
    Unavailable,
    check_url,
    retry_after_secs,
)
from sinks.splunk_ack import DISABLED, Channel

REST_SECS = 1.0
"""What a lane rests when Splunk says that its queue fills: a token of patience, its 429 would cost a whole backoff."""

SIZE_SUSPECT_BYTES = 500_000
"""From this size on, "event 0 is malformed" may mean "the body is too large", and the batch is halved first.

Splunk Cloud answers so beyond its limit, documented as 1 MB and seen above 5 MB. Half of the smaller figure is on the
safe side: a wrong guess this way costs one halving, the other way it would give up events that nothing is wrong with.
"""

_TIME_BYTES = 16
"""For `overhead`: milliseconds, or seconds with a point."""

_DELIVERED: Final = 0
_DELIVERED_BUT_FULL: Final = (24, 25)
_NO_DATA: Final = 5
_MALFORMED: Final = 6
_NAMES_AN_EVENT: Final = (6, 12, 13, 15)

_CODES: Final[dict[int, tuple[Reason, str]]] = {
    1: ("forbidden", "the token is disabled"),
    2: ("auth", "the token is missing (does a proxy drop the Authorization header?)"),
    3: ("auth", "the Authorization header is not understood"),
    4: ("auth", "the token is not valid"),
    # Our bodies are never empty, so something between here and Splunk lost it. The data is kept and tried again.
    5: ("bug", "Splunk saw no event in the body"),
    7: ("not_found", "the token may not write to this index, or there is none of this name"),
    8: ("server_error", "internal error"),
    9: ("server_error", "the server is busy"),
    10: ("refused", "the token asks for acknowledgement, so a channel is missing"),
    11: ("refused", "the channel is not valid"),
    14: ("refused", "acknowledgement is disabled for this token"),
    16: ("refused", "a token in the query is not enabled"),
    18: ("server_error", "unhealthy: the queues are full"),
    19: ("server_error", "unhealthy: acknowledgement is not available"),
    20: ("server_error", "unhealthy: the queues are full and acknowledgement is not available"),
    21: ("auth", "the token is not valid"),
    22: ("forbidden", "the token is disabled"),
    23: ("server_error", "the server is shutting down"),
    26: ("throttled", "the queue is full"),
    27: ("throttled", "the acknowledgement channel is full"),
    28: ("refused", "a channel is missing; several indexers need a load balancer with sticky sessions"),
}
"""Codes that say nothing about a single event, in our own words: Splunk's may quote what was sent."""


class Acknowledgements(BaseModel):
    """Indexer acknowledgement. max_pending: bodies of one write, acknowledged together within timeout_secs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    timeout_secs: float = Field(default=300.0, gt=0, le=3600)
    max_pending: int = Field(default=16, ge=1, le=1000)


class SplunkHec(HttpSink):
    """Writes to `/services/collector/event`. Delivered: HTTP 200 with code 0, 24 or 25; acknowledged, where enabled."""

    class Config(SinkConfig):
        """Settings. "" means: index, the token's default; source and sourcetype, the source's type."""

        type: Literal["splunk_hec"] = "splunk_hec"
        url: Annotated[str, AfterValidator(check_url)]
        token: Secret
        index: str = ""
        source: str = ""
        sourcetype: str = ""
        # 1 MB before compression is what Splunk Cloud documents as its limit.
        batch: BatchLimits = BatchLimits(max_events=1000, max_bytes=1_000_000)
        acknowledgements: Acknowledgements = Acknowledgements()

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        framing = b'{"time":' + b"x" * _TIME_BYTES + self._metadata(LONGEST) + b"}"
        body = b'{"log_id":"","tenant_name":"","data":}'
        self.overhead = len(framing) + len(body) + LONGEST_ID + len(LONGEST.tenant)
        acknowledgements = self.config.acknowledgements
        self.bodies_per_write = acknowledgements.max_pending if acknowledgements.enabled else 1
        self._process: UUID = uuid4()
        self._channels: dict[str, Channel] = {}
        self._generation = 0

    @property
    def deadline_secs(self) -> float:
        """With acknowledgement, a write lasts until the indexers have answered."""
        acknowledgements = self.config.acknowledgements
        waiting = acknowledgements.timeout_secs if acknowledgements.enabled else 0.0
        return float(self.config.request.timeout_secs * self.bodies_per_write + waiting)

    async def close(self) -> None:
        """Closes the connections of all channels, too."""
        for lane in list(self._channels):
            await self._leave(lane)
        await super().close()

    async def write(self, batch: Batch) -> float | None:
        """One body; with acknowledgement several, and then their acknowledgements."""
        if not self.config.acknowledgements.enabled:
            return await super().write(batch)
        lane = batch.source.name
        if lane not in self._channels:
            self._generation += 1
            client = self.client(cookies=True)
            self._channels[lane] = Channel(self._process, lane, self._generation, client)
        channel = self._channels[lane]
        try:
            ids, rest = await self._post_all(batch, channel)
            patience = self.config.acknowledgements.timeout_secs
            await channel.confirmed(ids, self._ask, lambda answer: self._ack_refusal(batch, answer), patience)
        except Unavailable as outcome:
            if outcome.reason == "unacknowledged":
                await self._leave(lane)
            raise
        return rest

    async def _leave(self, lane: str) -> None:
        await self._channels.pop(lane).client.close()

    async def _post_all(self, batch: Batch, channel: Channel) -> tuple[set[int], float | None]:
        """Posts the batch in bodies of the configured size; a refusal names its event within the whole batch."""
        ids: set[int] = set()
        rest: float | None = None
        for first, part in self._parts(batch):
            request = self.request(part)
            request = Request(url=request.url, headers={**request.headers, **channel.headers}, body=request.body)
            answer = await self.exchange(request, channel.client)
            try:
                rest = self.judge(part, answer) or rest
            except Rejected as rejected:
                raise _within(batch, first, part, rejected) from None
            id_ = self._ack_id(answer)
            # One answer about an id can't confirm two bodies: the counting began anew behind the first one, which may
            # be gone.
            if id_ in ids:
                note = "the same ackId twice: Splunk was restarted, or its load balancer has no sticky sessions"
                raise Unavailable("unacknowledged", f"{note}: sending all again")
            ids.add(id_)
        return ids, rest

    def _parts(self, batch: Batch) -> list[tuple[int, Batch]]:
        """The batch in consecutive parts, each with the index of its first event."""
        limits = self.config.batch
        parts: list[tuple[int, Batch]] = []
        first, size = 0, 0
        for index, event in enumerate(batch.events):
            size += len(event.raw) + self.framing
            if index > first and (size > limits.max_bytes or index - first >= limits.max_events):
                parts.append((first, msgspec.structs.replace(batch, events=batch.events[first:index])))
                first, size = index, len(event.raw) + self.framing
        parts.append((first, msgspec.structs.replace(batch, events=batch.events[first:])))
        return parts

    def _ack_id(self, answer: Answer) -> int:
        id_ = _reply(answer.body).get("ackId")
        if isinstance(id_, int) and not isinstance(id_, bool):
            return id_
        raise Unavailable(
            "refused", "the answer holds no ackId: enable acknowledgement for the token, or not for this sink"
        )

    async def _ask(self, body: bytes, headers: Mapping[str, str], client: HttpClient) -> Answer:
        request = self._post(body, dict(headers))
        url = f"{self.config.url}/services/collector/ack"
        return await self.exchange(Request(url=url, headers=request.headers, body=body), client)

    def _ack_refusal(self, batch: Batch, answer: Answer) -> Unavailable:
        """What a bad answer of the acknowledgement endpoint means: never that events are refused, or delivered."""
        code = _number(_reply(answer.body).get("code"))
        if code == DISABLED:
            note = "HEC code 14: acknowledgement is disabled for the token: enable it there, or disable it here"
            return Unavailable("refused", note)
        outcome = self._by_code(batch, answer, code)
        return outcome if isinstance(outcome, Unavailable) else Unavailable("bad_answer", outcome.note)

    def request(self, batch: Batch) -> Request:
        """All envelopes one after another, compressed; the same batch gives the same bytes."""
        return self._post(igzip.compress(self.body(batch), compresslevel=1, mtime=0), {"Content-Encoding": "gzip"})

    def body(self, batch: Batch) -> bytes:
        """The envelopes before compression. Splunk needs nothing between them."""
        metadata = self._metadata(batch.source)
        parts: list[bytes] = []
        for event, body in zip(batch.events, self.bodies(batch), strict=True):
            parts += (b'{"time":%.3f' % (event.date_ms / 1000), metadata, body, b"}")
        return b"".join(parts)

    def judge(self, batch: Batch, answer: Answer) -> float | None:
        """By the body's `code`; where it has none that is known, by the status."""
        reply = _reply(answer.body)
        code = _number(reply.get("code"))
        if answer.status == 200:
            if code == _DELIVERED:
                return None
            if code in _DELIVERED_BUT_FULL:
                return REST_SECS
            raise Unavailable("bad_answer", _note(answer, code) + ": no answer of Splunk's to a write")
        if answer.status == 400 and code in _NAMES_AN_EVENT:
            raise self._refusal(batch, answer, code, _number(reply.get("invalid-event-number")))
        raise self._by_code(batch, answer, code)

    async def probe(self) -> str:
        """Posts no event at all: Splunk checks the token first, and then says "no data"."""
        try:
            nothing_at_all = self._post(b"", {})
        except OSError as error:
            raise Unavailable("auth", f"the token's file can't be read ({error.strerror})") from None
        answer = await self.exchange(nothing_at_all)
        code = _number(_reply(answer.body).get("code"))
        if (answer.status, code) != (400, _NO_DATA):
            nothing = Batch(source=Origin("", "", "", ""), events=(), now=time.time_ns() // 1_000_000)
            self.judge(nothing, answer)
        return f"{self.config.url} accepts the token"

    def _post(self, body: bytes, headers: dict[str, str]) -> Request:
        return Request(
            url=f"{self.config.url}/services/collector/event",
            headers={
                "Authorization": f"Splunk {self.config.token.get()}",
                "Content-Type": "application/json",
                **headers,
            },
            body=body,
        )

    def _metadata(self, source: Origin) -> bytes:
        """What all envelopes of a batch share, from behind the time up to the event."""
        fields = {
            "host": source.host,
            "source": self.config.source or source.type,
            "sourcetype": self.config.sourcetype or source.type,
        }
        if self.config.index:
            fields["index"] = self.config.index
        return b"," + msgspec.json.encode(fields)[1:-1] + b',"event":'

    def _refusal(self, batch: Batch, answer: Answer, code: int, number: int | None) -> Rejected:
        """One event is refused. Releases differ in whether those before it were indexed, so nothing is said of them."""
        note = _note(answer, code)
        words = answer.body.decode("utf-8", "replace")
        if number is None or number >= len(batch.events):
            return Rejected("refused", f"{note}: an event is refused, which one is not said", detail=words)
        suspect = batch.events if number == 0 else batch.events[number : number + 1]
        large = code == _MALFORMED and self._size(suspect) > SIZE_SUSPECT_BYTES
        if large and number == 0 and len(batch.events) > 1:
            return Rejected("too_large", f"{note}: the body may be too large", detail=words)
        return Rejected("too_large" if large else "refused", f"{note}: an event is refused", only={number: words})

    def _size(self, events: Sequence[Event]) -> int:
        return sum(len(event.raw) + self.framing for event in events)

    def _by_code(self, batch: Batch, answer: Answer, code: int | None) -> Unavailable | Rejected:
        retry_after = retry_after_secs(answer.headers.get("Retry-After"), batch.now / 1000)
        if code in _CODES and 400 <= answer.status != 413:
            reason, text = _CODES[code]
            return Unavailable(reason, f"{_note(answer, code)}: {text}", retry_after=retry_after)
        if answer.status == 415:
            return Unavailable("refused", "HTTP 415: gzip is not accepted", retry_after=retry_after)
        return self.by_status(batch, answer, detail=answer.body.decode("utf-8", "replace"))


def _within(batch: Batch, first: int, part: Batch, rejected: Rejected) -> Rejected:
    """A part's refusal, as one of the whole batch. Of the other parts nothing is known: none was acknowledged."""
    if rejected.only is not None:
        only = {first + index: words for index, words in rejected.only.items()}
    elif len(part.events) == 1 and len(batch.events) > 1:
        only = {first: rejected.detail}
    else:
        return rejected
    return Rejected(rejected.reason, rejected.note, only=only, own=rejected.own)


def _reply(body: bytes) -> dict[str, Any]:
    """Splunk's answer as an object; empty for anything else, since a proxy may answer in its place."""
    try:
        reply = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return reply if isinstance(reply, dict) else {}


def _number(value: object) -> int | None:
    """The number, if it is one of a sensible size: `true` and "5" are not."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100_000 else None


def _note(answer: Answer, code: int | None) -> str:
    return f"HTTP {answer.status}" if code is None else f"HTTP {answer.status}, HEC code {code}"
