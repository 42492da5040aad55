"""The table of what a destination can do to a sink, K1 to K16, and what then has to be seen.

A row is data: `fault.begin(place)` makes a `place_case.Place` misbehave, `place.heal()` ends it. So the same rows serve
the matrix in process (`test_sink_faults.py`) and a soak that points a running `shipper` at the place.

Not here, since other tests hold it: a name that can't be resolved (`tests/test_http.py`,
`test_a_name_that_does_not_exist_is_unreachable`); the memory that an endless answer or a bomb takes
(`shipper/testing.py`, `test_inflates_no_bomb`, `test_reads_no_endless_answer`; boto3 reads an endless answer until the
write's deadline, see DECISIONS.md); TLS 1.1 and a missing client certificate, whose alert only a server with blocking
sockets sends in full (`tests/test_tls.py`; for boto3 `tests/sinks/test_s3_store.py`); a wait for a free connection,
which can't happen, as the pool is larger than the number of lanes that write at once.
"""

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from place_case import CULPRIT, KEEPERS, Place

from shipper.reasons import HELD, Reason
from shipper.scripted import Fault as Misbehaviour
from shipper.scripted import Received, Reply, Step

HTTP_SINKS = tuple(KEEPERS)
HEC, DATADOG, S3 = HTTP_SINKS
NOW = 1_767_229_200.0
"""Seconds since 1970: the lane's clock when a cell begins."""
DEADLINE_SECS = 0.7
LONGEST_BACKOFF_SECS = 60.0
ABSURD = "1000000000"

FIRST, MID, SHUTDOWN = EACH = ("first-batch", "mid-backlog", "shutdown")

Begin = Callable[[Place], None]


@dataclass(frozen=True)
class SinkFault:
    """One row.

    reason: what the metric and the log say; where sinks differ, by sink. moments: of each kind of fault one row plays
    at every moment, its variants in the middle of a backlog. words: must stand in the log's note (a regular
    expression). asks: seconds that the destination asks for. gives_up: the culprit becomes a dead letter and
    everything else is delivered, without a wait. takes: what is answered badly was taken all the same, so it comes
    twice. writes: so many fail before the fault ends. every_secs: between one event and the next.
    """

    id: str
    begin: Begin
    reason: Reason | Mapping[str, Reason]
    moments: tuple[str, ...] = (MID,)
    sinks: tuple[str, ...] = HTTP_SINKS
    words: str = ""
    outcome: str = "unavailable"
    asks: float | None = None
    gives_up: bool = False
    takes: bool = False
    tls: bool = False
    proxied: bool = False
    hangs: bool = False
    writes: int = 2
    every_secs: int = 1
    settings: dict[str, Any] = field(default_factory=dict)

    def reason_at(self, sink: str) -> Reason:
        """The reason that this sink's lane shows."""
        if isinstance(self.reason, Mapping):
            return self.reason[sink]
        return self.reason

    def state_at(self, sink: str) -> str:
        """The state that this sink's lane is in, which is also the log's word."""
        return "held" if self.reason_at(sink) in HELD else "waiting"


# -- what a place is made to do ----------------------------------------------------------------------------------------


def always(step: Step) -> Begin:
    return lambda place: place.behave(step)


def misbehaves(fault: Misbehaviour) -> Begin:
    return always(fault)


def answers(status: int, code: object = None, **headers: str) -> Begin:
    """An error in the destination's own words, which quotes the request."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}

    def begin(place: Place) -> None:
        def reply(received: Received) -> Reply:
            body, kind = place.keeper.error(received, status, code)
            return Reply(status, body, {"Content-Type": kind, **named})

        place.behave(reply)

    return begin


def says(status: int, body: bytes, kind: str = "text/html") -> Begin:
    """The same answer to everybody, which is none of the destination's own."""
    return always(Reply(status, body, {"Content-Type": kind}))


def redirects(status: int, *, foreign: bool) -> Begin:
    def begin(place: Place) -> None:
        there = place.elsewhere if foreign else place.url
        place.behave(lambda received: Reply(status, headers={"Location": f"{there}/elsewhere"}))

    return begin


def goes(place: Place) -> None:
    place.go()


def shows(name: str) -> Begin:
    """Another certificate than before."""
    return lambda place: place.come_back(name=name)


def proxy_fails(place: Place) -> None:
    """The proxy finds nobody."""
    assert place.way is not None
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place.way.to_port = unused.getsockname()[1]
    place.come_back()  # what was connected before would not notice


def takes_then(fault: Misbehaviour) -> Begin:
    """The events are kept, but the answer doesn't come through."""

    def begin(place: Place) -> None:
        def step(received: Received) -> Misbehaviour:
            place.keeper.take(received)
            return fault

        place.behave(step)

    return begin


def refuses_the_culprit(status: int, code: object = None, *, named: bool = False, prefix: bool = False) -> Begin:
    """named: the error says which event it is. prefix: those before it were taken."""

    def begin(place: Place) -> None:
        def reply(received: Received) -> Reply:
            events = place.keeper.events(received)
            at = next((index for index, event in enumerate(events) if CULPRIT in event), None)
            if at is None:
                return place.keeper.take(received)
            if prefix and at:
                place.keeper.take(received, at)
            more = {"code": code, "invalid-event-number": at} if named else code
            body, kind = place.keeper.error(received, status, more)
            return Reply(status, body, {"Content-Type": kind})

        place.behave(reply)

    return begin


def takes_two_at_most(status: int, code: object = None) -> Begin:
    """More events are too large together, and the culprit is too large alone."""

    def begin(place: Place) -> None:
        def reply(received: Received) -> Reply:
            events = place.keeper.events(received)
            if len(events) <= 2 and not any(CULPRIT in event for event in events):
                return place.keeper.take(received)
            body, kind = place.keeper.error(received, status, code)
            return Reply(status, body, {"Content-Type": kind})

        place.behave(reply)

    return begin


def flaps(place: Place) -> None:
    """Every second request fails."""
    asked: list[None] = []

    def reply(received: Received) -> Reply:
        asked.append(None)
        if len(asked) % 2:
            body, kind = place.keeper.error(received, 503)
            return Reply(503, body, {"Content-Type": kind})
        return place.keeper.take(received)

    place.behave(reply)


def takes_one_object_of_each_write(place: Place) -> None:
    """A batch that becomes several objects is taken in part: each further object is refused once, then taken."""
    asked: list[str] = []

    def reply(received: Received) -> Reply:
        asked.append(received.path)
        if asked[-1] in asked[:-1] or len(asked) == 1:
            return place.keeper.take(received)
        body, kind = place.keeper.error(received, 503)
        return Reply(503, body, {"Content-Type": kind})

    place.behave(reply)


# -- the table ---------------------------------------------------------------------------------------------------------

_LOST: dict[str, Reason] = {HEC: "unreachable", DATADOG: "unreachable", S3: "unreachable"}
_CUT: dict[str, Reason] = {HEC: "bad_answer", DATADOG: "bad_answer", S3: "unreachable"}
# botocore takes a 200 whose body is no XML for an internal error of the store, and no HTTP for a lost connection.
_NO_XML: dict[str, Reason] = {HEC: "bad_answer", DATADOG: "bad_answer", S3: "server_error"}
_NO_HTTP: dict[str, Reason] = {HEC: "bad_answer", DATADOG: "bad_answer", S3: "unreachable"}
_NOT_ALLOWED: dict[str, Reason] = {HEC: "auth", DATADOG: "auth", S3: "forbidden"}
_CODE_9 = json.dumps({"text": "Server is busy", "code": 9}).encode()
_CUT_JSON = b'{"text":"Succ'

SINK_FAULTS = (
    SinkFault("K1-refused", goes, "unreachable", EACH, words="no connection"),
    SinkFault("K2-no-answer", misbehaves("hang"), "timeout", EACH, outcome="timeout", hangs=True, writes=1),
    SinkFault("K2-slow-loris", misbehaves("slow_loris"), "timeout", outcome="timeout", hangs=True, writes=1),
    SinkFault("K3-500", answers(500), "server_error", words="500"),
    SinkFault("K3-502-html", says(502, b"<html>"), "server_error", words="502"),
    SinkFault("K3-503", answers(503), "server_error", EACH, words="503"),
    SinkFault("K3-503-in-part", takes_one_object_of_each_write, "server_error", EACH, sinks=(S3,), every_secs=1800),
    SinkFault("K3-504-empty", says(504, b""), "server_error", words="504"),
    SinkFault("K4-429", answers(429), "throttled", words="429"),
    SinkFault("K4-seconds", answers(429, Retry_After="7"), "throttled", EACH, asks=7),
    SinkFault("K4-date", answers(429, Retry_After=formatdate(NOW + 90, usegmt=True)), "throttled", asks=90, writes=1),
    SinkFault("K4-absurd", answers(503, Retry_After=ABSURD), "server_error", asks=300),
    SinkFault("K4-negative", answers(429, Retry_After="-5"), "throttled"),
    SinkFault("K4-reset", answers(429, X_Ratelimit_Reset="11"), "throttled", sinks=(DATADOG,), asks=11),
    SinkFault(
        "K5-400", refuses_the_culprit(400), "refused", EACH, sinks=(HEC, DATADOG), outcome="rejected", gives_up=True
    ),
    SinkFault("K5-400-held", answers(400), "refused", EACH, sinks=(S3,), words="400 InvalidRequest"),
    SinkFault(
        "K6-code-6",
        refuses_the_culprit(400, 6, named=True),
        "refused",
        EACH,
        sinks=(HEC,),
        outcome="partly_rejected",
        gives_up=True,
    ),
    SinkFault(
        "K6-code-13-prefix-taken",
        refuses_the_culprit(400, 13, named=True, prefix=True),
        "refused",
        sinks=(HEC,),
        outcome="partly_rejected",
        gives_up=True,
        takes=True,
    ),
    SinkFault("K7-413", takes_two_at_most(413), "too_large", EACH, outcome="rejected", gives_up=True),
    SinkFault(
        "K7-EntityTooLarge",
        takes_two_at_most(400, "EntityTooLarge"),
        "too_large",
        sinks=(S3,),
        outcome="rejected",
        gives_up=True,
    ),
    SinkFault("K8-401", answers(401), "auth", EACH, words="401"),
    SinkFault("K8-403", answers(403), _NOT_ALLOWED, words="403"),
    SinkFault("K9-reset", misbehaves("reset"), _LOST, EACH),
    SinkFault("K9-reset-mid-answer", misbehaves("reset_mid_answer"), _CUT),
    SinkFault("K9-proxy", proxy_fails, "unreachable", EACH, words="proxy", tls=True, proxied=True),
    SinkFault("K10-ack-lost", takes_then("reset"), _LOST, EACH, takes=True),
    SinkFault("K10-ack-late", takes_then("hang"), "timeout", outcome="timeout", takes=True, hangs=True, writes=1),
    SinkFault("K11-expired", shows("old"), "tls", EACH, words="certificate|TLS", tls=True),
    SinkFault("K11-other-host", shows("other"), "tls", words="certificate|TLS", tls=True),
    SinkFault("K11-unknown-authority", shows("stranger"), "tls", words="certificate|TLS", tls=True),
    SinkFault("K12-html", says(200, b"<html>Please log in</html>"), "bad_answer", EACH, words="200"),
    SinkFault("K12-empty", says(200, b""), "bad_answer", sinks=(HEC, S3), words="200"),
    SinkFault("K12-cut-json", says(200, _CUT_JSON, "application/json"), _NO_XML),
    SinkFault("K12-bytes", says(200, b"\xff\xfe\x00"), _NO_XML),
    SinkFault("K12-code-9", says(200, _CODE_9), "bad_answer", sinks=(HEC,), words="HEC code 9"),
    SinkFault("K12-no-http", misbehaves("no_http"), _NO_HTTP),
    SinkFault("K13-301-foreign", redirects(301, foreign=True), "redirected", words="301"),
    SinkFault("K13-302-same", redirects(302, foreign=False), "redirected", words="302"),
    SinkFault("K13-307-foreign", redirects(307, foreign=True), "redirected", EACH, words="307"),
    SinkFault("K13-308-same", redirects(308, foreign=False), "redirected", words="308"),
    SinkFault("K14-endless", misbehaves("endless"), "bad_answer", sinks=(HEC, DATADOG), words="more than 65536 bytes"),
    SinkFault("K14-bomb", misbehaves("gzip_bomb"), _NO_XML, EACH),
    SinkFault("K16-flapping", flaps, "server_error", EACH, settings={"batch": {"max_events": 1}}),
)
