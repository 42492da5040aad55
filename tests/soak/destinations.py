"""Splunk's collector and Datadog's intake as a soak plays them: they keep what they accept, and misbehave in turn.

Each says for itself what it has accepted, also where its answer gets lost on the way back: that is what counts.
"""

import json
import random
from collections.abc import Callable
from zlib import crc32

from shipper.scripted import Destination, Fault, Received, Reply
from soak.oracle import Held, Issued
from soak.weather import Weather

KINDS = (
    "503", "429", "401", "403", "redirect", "reset", "hang", "reset_mid_answer", "slow_loris", "html", "empty",
    "endless", "gzip_bomb", "no_http", "half", "413", "ack_lost", "ack_cut",
)  # fmt: skip
ACK_KINDS = ("never", "forgets", "ack_503", "ack_400", "503", "reset", "ack_lost")
REFUSE_ONE_IN = 1_500
LARGE = 20
"""Events in a body that is too large for a destination that answers 413."""

HEC_DELIVERED = Reply(200, b'{"text":"Success","code":0}')
DATADOG_DELIVERED = Reply(202, b"{}")
HTML = Reply(200, b"<html><body>Please log in to the hotel's network</body></html>", {"Content-Type": "text/html"})
_decoder = json.JSONDecoder(strict=False)


def refused(id_: str, salt: str) -> bool:
    """Whether a destination will never take this event; each refuses others."""
    return crc32(f"{salt} {id_}".encode()) % REFUSE_ONE_IN == 0


def hec_events(body: bytes) -> list[Issued]:
    """The events of a body of concatenated envelopes."""
    found, text, at = [], body.decode("utf-8", "surrogateescape"), 0
    while at < len(text):
        envelope, end = _decoder.raw_decode(text, at)
        found.append((envelope["event"]["log_id"], _data(text[at : end - 1])))
        at = end
    return found


def datadog_events(body: bytes) -> list[Issued]:
    """The events of an array of entries."""
    found, text, at = [], body.decode("utf-8", "surrogateescape"), 1
    while at < len(text):
        entry, end = _decoder.raw_decode(text, at)
        data = _data(text[at:end])
        if "late:true" in entry["ddtags"].split(","):
            # Too old for Datadog: the date would be taken for the entry's own, so it goes by another name.
            data = data.replace(b'"original_date":', b'"date":', 1)
        found.append((entry["log_id"], data))
        at = end + 1
    return found


def line_event(line: bytes) -> Issued:
    """The event of one line of an archive or of stdout."""
    text = line.decode("utf-8", "surrogateescape")
    return _decoder.decode(text)["log_id"], _data(text)


def _data(envelope: str) -> bytes:
    """What stands behind `"data":`, up to the envelope's last brace."""
    return envelope[envelope.index('"data":') + 7 : -1].encode("utf-8", "surrogateescape")


class Intake:
    """One destination's handler for `Destination`."""

    def __init__(
        self,
        held: Held,
        weather: Weather,
        seed: str,
        events_in: Callable[[bytes], list[Issued]],
        delivered: Reply,
    ) -> None:
        self.held, self.weather = held, weather
        self.server = Destination(default=self)
        self._events_in, self._delivered = events_in, delivered
        self._chance = random.Random(f"{seed} {held.name} answers")

    def __call__(self, request: Received) -> Reply | Fault:
        """What this request is answered."""
        self.server.requests.clear()
        self.server.sent_bytes = 0
        kind = self.weather.fault()
        if kind == "half":
            kind = self._chance.choice(("", "503"))
        return self.answer(kind, request)

    def answer(self, kind: str, request: Received) -> Reply | Fault:
        """In this fault."""
        if kind in ("", "ack_lost", "ack_cut"):
            return self.accept(kind, self._events_in(request.body))
        if kind == "413":
            events = self._events_in(request.body)
            return Reply(413, b"too large") if len(events) > LARGE else self.accept("", events)
        return _fault(kind, self._chance)

    def accept(self, kind: str, events: list[Issued]) -> Reply | Fault:
        """Takes what is not refused."""
        for index, (id_, _) in enumerate(events):
            if refused(id_, self.held.name):
                self.held.refuse(id_)
                return self.refusal(index, events)
        self.held.add(events, confirmed=not kind)
        if kind:
            return "reset" if kind == "ack_lost" else "reset_mid_answer"
        return self.thanks(len(events))

    def thanks(self, events: int) -> Reply | Fault:
        """The answer to a body of which everything is taken."""
        del events
        self.weather.through()
        return self._delivered

    def refusal(self, index: int, events: list[Issued]) -> Reply | Fault:
        """The answer to a body whose event of this index is refused: none of it is taken."""
        del index, events
        return Reply(400, b'{"errors":[{"status":"400","title":"Bad Request"}]}')


class HecIntake(Intake):
    """HEC names the event that it refuses; releases differ in whether they keep those before it."""

    def refusal(self, index: int, events: list[Issued]) -> Reply | Fault:
        if self._chance.random() < 0.5:
            self.held.add(events[:index], confirmed=False)
        body = {"text": "Invalid data format", "code": 6, "invalid-event-number": index}
        return Reply(400, json.dumps(body).encode())


class AckedHecIntake(HecIntake):
    """HEC with acknowledgement: a write counts for its sender once the last of its bodies is said to be indexed."""

    def __init__(self, held: Held, weather: Weather, seed: str) -> None:
        super().__init__(held, weather, seed, hec_events, HEC_DELIVERED)
        self._posted: dict[int, int] = {}
        self._indexed: set[int] = set()
        self._asked: dict[str, set[int]] = {}
        self._channel = ""

    def answer(self, kind: str, request: Received) -> Reply | Fault:
        """Posts, and questions after acknowledgements."""
        self._channel = request.headers.get("X-Splunk-Request-Channel", "")
        if request.path.startswith("/services/collector/ack"):
            return self._acks(kind, json.loads(request.body)["acks"])
        if kind == "forgets":
            self._indexed.clear()
        return super().answer("" if kind in ("never", "forgets", "ack_503", "ack_400") else kind, request)

    def thanks(self, events: int) -> Reply | Fault:
        """An id to ask about."""
        id_ = len(self._posted)
        self._posted[id_] = events
        self._indexed.add(id_)
        self._asked.pop(self._channel, None)
        self.held.unconfirmed += events
        return Reply(200, b'{"text":"Success","code":0,"ackId":%d}' % id_)

    def _acks(self, kind: str, ids: list[int]) -> Reply | Fault:
        match kind:
            case "503" | "ack_503":
                return Reply(503)
            case "ack_400":
                return Reply(400, b"<html>")
            case "reset" | "ack_lost":
                return "reset"
            case "forgets":
                self._indexed.clear()
        # Splunk says it once.
        told = set() if kind == "never" else self._indexed.intersection(ids)
        self._indexed -= told
        write = self._asked.setdefault(self._channel, set(ids))
        if told.issuperset(ids):
            self.held.unconfirmed -= sum(self._posted[id_] for id_ in write)
            self.weather.through()
        return Reply(200, json.dumps({"acks": {str(id_): id_ in told for id_ in ids}}).encode())


def _fault(kind: str, chance: random.Random) -> Reply | Fault:
    """The faults in which nothing is taken."""
    match kind:
        case "503":
            return Reply(503, b'{"text":"Server is busy","code":9}')
        case "429":
            return Reply(429, headers={"Retry-After": chance.choice(("1", "2", "-5", "soon"))})
        case "401":
            return Reply(401, b'{"text":"Token is required","code":2}')
        case "403":
            return Reply(403, b'{"text":"Invalid token","code":4}')
        case "redirect":
            return Reply(307, headers={"Location": "http://127.0.0.1:9/elsewhere"})
        case "html":
            return HTML
        case "empty":
            return Reply(200)
        case "hang" | "reset" | "reset_mid_answer" | "slow_loris" | "endless" | "gzip_bomb" | "no_http":
            return kind
    raise ValueError(f"no fault {kind!r}")
