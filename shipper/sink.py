"""The contract between delivery and a sink: what a plugin implements, and what its outcomes mean.

| `write` …                               | means                                          | then                               |
|---|---|---|
| returns (a number: rest that many secs) | the whole batch is delivered                   | the position moves                 |
| raises `Unavailable(reason, …)`         | nothing is wrong with the batch                | backoff; the same batch, for ever  |
| … with `only={index, …}`                | these later; the destination *said* that it has all others | only these again       |
| raises `Rejected(reason, only={index: why})` | these never; nothing is known of the others | the same batch again without them |
| … with `others_delivered=True`          | these never; the destination *said* that it has all others | dead letters, position |
| raises `Rejected(reason)`               | never, but which one is unknown, or too large  | halved until the culprits are alone |
| raises `Fatal(reason)`                  | this process cannot deliver there again        | the program ends, or the lane is held |
| takes longer than request.timeout_secs  | outcome unknown                                | like `Unavailable`                 |
| raises anything else                    | a bug                                          | like `Unavailable`: keep the data  |

A sink never sleeps, retries, batches, counts or keeps durable state: that is delivery's part. One write is at most one
request of each kind; 401, 403, 404 and redirects are `Unavailable`, since the events are fine and a person must act.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from shipper.event import Batch, Event
from shipper.http import LOOPBACK, Answer, HttpClient, HttpError, Proxy, proxy_for, reason_of_status
from shipper.reasons import Reason
from shipper.retry import retry_after_secs
from shipper.secret import Secret
from shipper.shape.filter import Filter
from shipper.shape.formats import Format, lines, overhead
from shipper.shape.redact import Redact
from shipper.tls import Tls

ENTRY_POINTS = "shipper.sinks"
MAX_ANSWER_BYTES = 64 * 1024
"""A destination's answer is a short JSON object; a longer one is a mistake or an attack."""
MAX_DETAIL_BYTES = 1024
SHORTEST_SECRET = 8


class Unavailable(Exception):
    """Later: nothing is wrong with the batch.

    reason: why. note: our own words for a person (status, code, host), safe to log.
    retry_after: seconds that the destination asked for. only: indexes of the events that it does *not* have yet,
    when it said that it has all others.
    """

    def __init__(
        self, reason: Reason, note: str = "", *, retry_after: float | None = None, only: Collection[int] | None = None
    ) -> None:
        super().__init__(f"{reason}: {note}" if note else reason)
        self.reason, self.note = reason, note
        self.retry_after = retry_after
        self.only = frozenset(only) if only is not None else None


class Rejected(Exception):
    """Never: the destination will not take these events, however often they are sent.

    reason: why. only: index → the destination's own words about that event (kept in its dead letter, shown nowhere
    else, since they may quote the event). others_delivered: the destination said that it has all others.
    detail: its words where no event is named. own: our own sink decided it, without asking the destination, so it
    says nothing about a destination that refuses everything.
    """

    def __init__(
        self,
        reason: Reason,
        note: str = "",
        *,
        only: Mapping[int, str] | None = None,
        others_delivered: bool = False,
        detail: str = "",
        own: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {note}" if note else reason)
        self.reason, self.note = reason, note
        self.only = {index: clip(words) for index, words in only.items()} if only is not None else None
        self.others_delivered = others_delivered
        self.detail = clip(detail)
        self.own = own


class Fatal(Exception):
    """This process cannot deliver there again, for example because stdout was closed."""

    def __init__(self, reason: Reason, note: str = "") -> None:
        super().__init__(f"{reason}: {note}" if note else reason)
        self.reason, self.note = reason, note


def clip(words: str) -> str:
    """A destination's own words, cut to 1 KiB of UTF-8."""
    return words.encode("utf-8", "replace")[:MAX_DETAIL_BYTES].decode("utf-8", "ignore")


class _Section(BaseModel):
    # A validation error's own text would quote what was given, and that may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class BatchLimits(_Section):
    """How many events go out together.

    max_bytes counts the body before compression; a batch holds at least one event, even a larger one.
    timeout_secs: how long the oldest waiting event may wait for a fuller batch.
    """

    max_events: int = Field(default=1000, ge=1, le=100_000)
    max_bytes: int = Field(default=1_000_000, ge=1, le=256_000_000)
    timeout_secs: float = Field(default=0.0, ge=0, le=86_400)


class RequestLimits(_Section):
    """How a write is tried: one deadline for all of it, then backoff; `concurrency` lanes hold a batch at once."""

    timeout_secs: float = Field(default=60.0, gt=0, le=3600)
    retry_initial_backoff_secs: float = Field(default=1.0, gt=0, le=60)
    retry_max_duration_secs: float = Field(default=60.0, gt=0, le=3600)
    concurrency: int = Field(default=4, ge=1, le=64)


class SinkConfig(_Section):
    """What every sink's settings have; a sink adds its own in a nested `class Config(SinkConfig)`."""

    type: str
    enabled: bool = True
    proxy: Proxy = Proxy()
    from_sources: list[str] = []
    format: Format = "envelope"
    add_tenant_name: bool = True
    start: str = "earliest"
    max_dead_in_a_row: int = Field(default=100, ge=1)
    batch: BatchLimits = BatchLimits()
    request: RequestLimits = RequestLimits()
    filter: Filter = Filter()
    redact: Redact = Redact()
    tls: Tls = Tls()


class Sink(ABC):
    """One destination. There is one instance a sink, shared by its lanes.

    Where a reload changes its settings, another instance takes its place: opened before this one is closed, and written
    to once this one's writes have ended or were cancelled. What goes on behind a cancelled write, as in a thread, must
    not mix with what the other one writes.
    """

    Config: ClassVar[type[SinkConfig]] = SinkConfig
    replays_batches: ClassVar[bool] = False
    """The journal records a batch's range before its write and hands out the very same range after a crash."""

    overhead: int = 200
    """At most so many bytes does an event take in the body beyond its own, sent as it is: envelope, separators."""

    bodies_per_write: int = 1
    """One write may carry so many times what `batch` allows, in as many requests."""

    def __init__(self, config: SinkConfig) -> None:
        self.config: Any = config

    @property
    def deadline_secs(self) -> float:
        """How long one write may take in all."""
        return float(self.config.request.timeout_secs)

    async def open(self) -> None:
        """Makes clients and sessions. Must not need the destination."""

    async def probe(self) -> str:
        """One line about the destination for `shipper check`; raises like `write`."""
        return "nothing to check"

    @abstractmethod
    async def write(self, batch: Batch) -> float | None:
        """Delivers the batch, or raises as the module's table says. A number: rest so many seconds afterwards."""

    async def close(self) -> None:
        """Gives back what `open` took."""

    def restamped(self, batch: Batch) -> int:
        """How many events of a batch that was delivered went out with the write's time, their own being too old there.

        A pure function of the batch, asked right after its delivery, so that delivery can count and tell them.
        """
        del batch
        return 0

    def proxy_for(self, url: str) -> str | None:
        """The proxy to this address, for a client that is not HttpSink's: `proxy`, else the environment's; or None."""
        return proxy_for(url, self.config.proxy)

    @property
    def framing(self) -> int:
        """`overhead` in the configured format, whose fields stand beside the event's bytes, and with its pseudonyms."""
        return self.overhead + overhead(self.config.format) + int(self.config.redact.growth)

    def bodies(self, batch: Batch) -> list[bytes]:
        """Each event's JSON in the configured format, its own bytes spliced in: one line without CR or LF.

        Nothing else of an event may leave: this is where it is redacted. Raises Rejected for those that can't be, and
        Unavailable where the key of their pseudonyms can't be read.
        """
        events = self._redacted(batch.events) if self.config.redact.fields else batch.events
        return lines(self.config.format, events, batch.source, add_tenant_name=self.config.add_tenant_name)

    def _redacted(self, events: Sequence[Event]) -> Sequence[Event]:
        apply = self.config.redact.apply
        try:
            return [msgspec.structs.replace(event, raw=apply(event.raw)) for event in events]
        except OSError as error:
            raise Unavailable("redaction", f"the file of redact.hmac_key can't be read ({error.strerror})") from None
        except ValueError as error:
            # Which one is left open: a sink may have asked for some of a batch only.
            raise Rejected("redaction", "an event can't be redacted", detail=str(error), own=True) from None


class Request(msgspec.Struct, frozen=True):
    """One HTTP request, ready to be sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


class HttpSink(Sink):
    """A sink that speaks HTTP: two pure functions, `request` and `judge`; the exchange between them is done here."""

    _client: HttpClient | None = None

    @abstractmethod
    def request(self, batch: Batch) -> Request:
        """The request that carries this batch. `Rejected` from here is our own decision, not the destination's."""

    def judge(self, batch: Batch, answer: Answer) -> float | None:
        """What the answer means, by returning or raising as `write` does. This default goes by the status alone."""
        if 200 <= answer.status < 300:
            return None
        raise self.by_status(batch, answer)

    @staticmethod
    def by_status(batch: Batch, answer: Answer, note: str = "", detail: str = "") -> Unavailable | Rejected:
        """The outcome for a status that the service gives no meaning of its own."""
        note = note or f"HTTP {answer.status}"
        if answer.status == 413:
            return Rejected("too_large", note, detail=detail)
        retry_after = retry_after_secs(answer.headers.get("Retry-After"), batch.now / 1000)
        return Unavailable(reason_of_status(answer.status), note, retry_after=retry_after)

    async def open(self) -> None:
        """Makes the pool of connections; connects nowhere."""
        self._client = self.client()

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def write(self, batch: Batch) -> float | None:
        """One request, one answer, one judgement."""
        try:
            request = self.request(batch)
        except Rejected as rejected:
            rejected.own = True
            raise
        except OSError as error:
            raise Unavailable("auth", f"the file of a secret can't be read ({error.strerror})") from None
        return self.judge(batch, await self.exchange(request))

    def client(self, *, cookies: bool = False) -> HttpClient:
        """A pool of connections with this sink's proxy and trust, for whoever needs one of its own."""
        return HttpClient(proxy=self.config.proxy, tls=self.config.tls, cookies=cookies)

    async def exchange(self, request: Request, client: HttpClient | None = None) -> Answer:
        """Sends the request once. Raises Unavailable where no whole answer comes back."""
        client = client or self._client
        assert client is not None, "open() comes before write()"  # noqa: S101  a caller's bug, not an input
        try:
            answer = await client.exchange(
                request.method,
                request.url,
                headers=request.headers,
                body=request.body,
                max_bytes=MAX_ANSWER_BYTES,
                timeout_secs=self.config.request.timeout_secs,
            )
        except HttpError as error:
            raise Unavailable(error.reason, str(error)) from None
        return Answer(answer.status, answer.headers, self._without_secrets(answer.body))

    def _without_secrets(self, body: bytes) -> bytes:
        """A careless error page quotes the request's headers, and a refusal's words are kept with its dead letter."""
        for _, value in self.config:
            if isinstance(value, Secret):
                with suppress(OSError):
                    secret = value.get().encode()
                    # A shorter one is no secret, but might well be a word of the answer's.
                    body = body.replace(secret, b"**********") if len(secret) >= SHORTEST_SECRET else body
        return body


def check_url(url: str) -> str:
    """An address that credentials may be sent to: https, or http on loopback. Raises ValueError with what is wrong."""
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("must not hold spaces or control characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address like https://splunk.example:8088")
    _ = parts.port  # raises ValueError where it is no port
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or fragment")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must be https: http is accepted on loopback only, since credentials would travel in clear")
    return url.rstrip("/")


def sink_types() -> dict[str, EntryPoint]:
    """Every kind of sink that is installed, ours and others', not yet loaded."""
    return {entry.name: entry for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)}


def load_sink_type(entry: EntryPoint) -> type[Sink]:
    """The sink's class. Raises TypeError where the entry point leads to no sink, and whatever its import raises."""
    kind = entry.load()
    if not (isinstance(kind, type) and issubclass(kind, Sink)):
        raise TypeError(f"{entry.value} is no Sink")
    return kind
