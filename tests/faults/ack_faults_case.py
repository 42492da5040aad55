"""The table of what can happen to Splunk's indexer acknowledgement (K15), and a collector that plays it.

The collector is the strictest one: a body is indexed only when its acknowledgement is asked about and given, so
whatever counts as delivered without that is lost, and the oracle sees it.
"""

import asyncio
import itertools
import json
import selectors
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from place_case import CANARY, HeardSplunk, SplunkKeeper
from sink_faults_case import EACH, MID

from shipper import Secret, Sink
from shipper.reasons import HELD, Reason
from shipper.scripted import Fault as Misbehaviour
from shipper.scripted import Received, Reply
from sinks.splunk_hec import SplunkHec

PATIENCE_SECS = 6.0
CALM, HURRY = 4, 20
"""So many times as fast does time pass in a cell: in a hurry only while patience has to end, since a healthy answer
must come in time from a busy machine, too."""

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    pace: float = CALM

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout and timeout / self.pace)


class HurriedLoop(asyncio.SelectorEventLoop):
    """A loop on which waiting takes less time."""

    def __init__(self) -> None:
        self._pace = _Selector()
        self._now = self._since = time.monotonic()
        super().__init__(self._pace)

    def time(self) -> float:
        return self._now + (time.monotonic() - self._since) * self._pace.pace

    def go(self, pace: float) -> None:
        """From now on, so many times as fast."""
        self._now, self._since, self._pace.pace = self.time(), time.monotonic(), pace


def hurried(work: Coroutine[Any, Any, T]) -> T:
    """The result of something that waits, on such a loop."""
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        return runner.run(work)


class AckKeeper(SplunkKeeper):
    """Gives each body an id per channel, and indexes it when it says that it did; says so once."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: dict[tuple[str, int], Received] = {}
        self._ids: dict[str, itertools.count[int]] = {}
        self._posts = 0
        self.heal()

    def heal(self) -> None:
        self.acknowledges = True
        self.indexes_unasked = False
        self.answer: Callable[[Received], Reply | Misbehaviour] | None = None
        self.forgets_before_answering = False
        self.forgets_behind_post = 0
        self.loses_the_channel = False

    def take(self, received: Received, upto: int | None = None) -> Any:
        channel = received.headers["X-Splunk-Request-Channel"]
        if received.path.endswith("/ack"):
            return self._acknowledge(received, channel)
        number = next(self._ids.setdefault(channel, itertools.count()))
        if self.indexes_unasked:
            self.keep(received)
        else:
            self._pending[channel, number] = received
        self._posts += 1
        if self.forgets_behind_post == self._posts:
            self._forget()
        return Reply(200, json.dumps({"text": "Success", "code": 0, "ackId": number}).encode())

    def forget_behind_the_next_post(self) -> None:
        """Splunk is restarted right behind it: what waited there for an index is gone, and ids begin anew."""
        self.forgets_behind_post = self._posts + 1

    def _forget(self) -> None:
        self._pending.clear()
        self._ids.clear()

    def _acknowledge(self, received: Received, channel: str) -> Reply | Misbehaviour:
        if self.answer is not None:
            return self.answer(received)
        if self.forgets_before_answering:
            self._forget()
        if self.loses_the_channel:
            channel = "another"
        acks = {id_: self._indexed(channel, id_) for id_ in json.loads(received.body)["acks"]}
        return Reply(200, json.dumps({"acks": acks}).encode())

    def _indexed(self, channel: str, id_: int) -> bool:
        waiting = self._pending.pop((channel, id_), None) if self.acknowledges else None
        if waiting is not None:
            self.keep(waiting)
        return waiting is not None

    def sink(self, url: str, **general: Any) -> Sink:
        acknowledgements: dict[str, Any] = {"enabled": True, "timeout_secs": PATIENCE_SECS}
        settings = {"proxy": "none", "add_tenant_name": False, "batch": {"max_events": 4}, **general}
        fixed: dict[str, Any] = {"url": url, "token": Secret(CANARY), "acknowledgements": acknowledgements}
        return HeardSplunk(SplunkHec.Config(**fixed, **settings))


@dataclass(frozen=True)
class AckFault:
    """One row. repeats: what was not acknowledged was indexed all the same."""

    id: str
    begin: Callable[[AckKeeper], None]
    moments: tuple[str, ...] = (MID,)
    reason: Reason = "unacknowledged"
    words: str = "not acknowledged"
    repeats: bool = False

    @property
    def state(self) -> str:
        """The state of the lane, which is also the log's word."""
        return "held" if self.reason in HELD else "waiting"


def sets(**changes: bool) -> Callable[[AckKeeper], None]:
    def begin(keeper: AckKeeper) -> None:
        for name, value in changes.items():
            setattr(keeper, name, value)

    return begin


def answers(status: int, code: int | None = None) -> Callable[[AckKeeper], None]:
    """The acknowledgement endpoint answers so, and quotes the request."""

    def begin(keeper: AckKeeper) -> None:
        keeper.answer = lambda received: Reply(status, keeper.error(received, status, code)[0])

    return begin


def says(status: int, body: bytes) -> Callable[[AckKeeper], None]:
    def begin(keeper: AckKeeper) -> None:
        keeper.answer = lambda received: Reply(
            status, body, {"Location": "http://127.0.0.1:9/"} if status == 302 else {}
        )

    return begin


def misbehaves(fault: Misbehaviour) -> Callable[[AckKeeper], None]:
    def begin(keeper: AckKeeper) -> None:
        keeper.answer = lambda received: fault

    return begin


ACK_FAULTS = (
    AckFault("K15-never-true", sets(acknowledges=False), EACH),
    AckFault("K15-indexed-and-never-true", sets(acknowledges=False, indexes_unasked=True), EACH, repeats=True),
    AckFault("K15-restarted", sets(forgets_before_answering=True), EACH),
    AckFault("K15-restarted-between-bodies", AckKeeper.forget_behind_the_next_post, EACH, words="ackId twice"),
    AckFault("K15-channel-lost", sets(loses_the_channel=True), EACH),
    AckFault("K15-500", answers(500), EACH),
    AckFault("K15-503", answers(503)),
    AckFault("K15-429", answers(429)),
    AckFault("K15-html", says(200, b"<html>")),
    AckFault("K15-empty", says(200, b"")),
    AckFault("K15-code-0", says(200, b'{"text":"Success","code":0}')),
    AckFault("K15-reset", misbehaves("reset")),
    AckFault("K15-hang", misbehaves("hang")),
    AckFault("K15-400-code-14", answers(400, 14), EACH, "refused", "code 14"),
    AckFault("K15-401", answers(401), reason="auth", words="code 3"),
    AckFault("K15-404", answers(404), reason="not_found", words="404"),
    AckFault("K15-302", says(302, b""), reason="redirected", words="302"),
)
