"""Splunk's HTTP Event Collector (HEC): concatenated JSON envelopes, judged by the answer's `code`.

Splunk docs: "HTTP Event Collector REST API endpoints" and "Troubleshoot HTTP Event Collector" (the table of codes).
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from isal import igzip
from pydantic import AfterValidator

from shipper import (
    Answer,
    Batch,
    BatchLimits,
    Event,
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

REST_SECS = 1.0
"""What a lane rests when Splunk says that its queue fills: a token of patience, its 429 would cost a whole backoff."""

SIZE_SUSPECT_BYTES = 500_000
"""From this size on, "event 0 is malformed" may mean "the body is too large", and the batch is halved first.

Splunk Cloud answers so beyond its limit, documented as 1 MB and seen above 5 MB. Half of the smaller figure is on the
safe side: a wrong guess this way costs one halving, the other way it would give up events that nothing is wrong with.
"""

_LONGEST_HOST, _LONGEST_TENANT, _LONGEST_TYPE, _LONGEST_ID, _LONGEST_TIME = 253, 63, 30, 71, 16
"""Bytes, for `overhead`: a domain name, an Auth0 tenant, a kind of source, `sha256-` and its digits, a time."""

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

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


class SplunkHec(HttpSink):
    """Writes to `/services/collector/event`. Delivered: HTTP 200 with code 0, 24 or 25."""

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

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        longest = Origin(name="", type="x" * _LONGEST_TYPE, host="x" * _LONGEST_HOST, tenant="")
        framing = b'{"time":' + b"x" * _LONGEST_TIME + self._metadata(longest) + b"}"
        body = b'{"log_id":"","tenant_name":"","data":}'
        self.overhead = len(framing) + len(body) + _LONGEST_ID + _LONGEST_TENANT

    def request(self, batch: Batch) -> Request:
        """All envelopes one after another, compressed; the same batch gives the same bytes."""
        return self._post(igzip.compress(self.body(batch), compresslevel=1, mtime=0), {"Content-Encoding": "gzip"})

    def body(self, batch: Batch) -> bytes:
        """The envelopes before compression. Splunk needs nothing between them."""
        metadata = self._metadata(batch.source)
        parts: list[bytes] = []
        for event, body in zip(batch.events, self.bodies(batch), strict=True):
            parts += (b'{"time":%.3f' % epoch_secs(event), metadata, body, b"}")
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
        return sum(len(event.raw) + self.overhead for event in events)

    def _by_code(self, batch: Batch, answer: Answer, code: int | None) -> Unavailable | Rejected:
        retry_after = retry_after_secs(answer.headers.get("Retry-After"), batch.now / 1000)
        if code in _CODES and 400 <= answer.status != 413:
            reason, text = _CODES[code]
            return Unavailable(reason, f"{_note(answer, code)}: {text}", retry_after=retry_after)
        if answer.status == 415:
            return Unavailable("refused", "HTTP 415: gzip is not accepted", retry_after=retry_after)
        return self.by_status(batch, answer, detail=answer.body.decode("utf-8", "replace"))


def epoch_secs(event: Event) -> float:
    """The event's `date` as seconds since 1970; where it has none with a zone, or an absurd one, the event's time."""
    try:
        secs = (datetime.fromisoformat(event.date) - _EPOCH).total_seconds()
    except (ValueError, TypeError):
        secs = -1.0
    return secs if secs >= 0 else event.time / 1000


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
