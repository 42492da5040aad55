"""The contract suite is worth something only if it fails: for each fault that was seen in the field, a sink with it."""

import asyncio
import inspect
import json
import logging
import threading
from typing import Any, ClassVar, Literal

import aiohttp
import msgspec
import pytest
import structlog

from shipper import Answer, Batch, HttpSink, Rejected, Request, Secret, Sink, SinkConfig, Unavailable
from shipper.testing import Received, Reply, SinkContract

CHANGES = "test_never_changes_an_events_bytes"
ORDER = "test_delivers_every_event_once_and_in_order"
LANES = "test_serves_several_lanes_at_once"
ROOM = "test_takes_no_more_room_than_its_overhead_says"
QUIET = "test_prints_and_logs_neither_events_nor_secrets"
SECRETIVE = "test_shows_its_secret_nowhere"
TIDY = "test_leaves_nothing_behind"
OPENS = "test_opens_while_the_destination_is_down"
ONE_REQUEST = "test_one_write_is_at_most_one_request"
HELD = "test_never_gives_events_up_for_what_a_person_must_put_right"
WAITS = "test_waits_for_a_destination_in_trouble"
RETRY_AFTER = "test_waits_as_long_as_it_is_asked_to"
LOST = "test_a_lost_connection_is_no_outcome"
REDIRECT = "test_follows_no_redirect"
STRANGER = "test_takes_no_strangers_answer_for_success"
ENDLESS = "test_reads_no_endless_answer"
BOMB = "test_inflates_no_bomb"
DEADLINE = "test_ends_at_its_deadline"
CANCEL = "test_can_be_cancelled"
ROTATED = "test_uses_a_rotated_secret"


class Good(HttpSink):
    """A sink without a fault: lines of JSON; its destination says {"taken": true}."""

    class Config(SinkConfig):
        type: Literal["good"] = "good"
        url: str
        token: Secret

    def request(self, batch: Batch) -> Request:
        return Request(self.config.url, {"X-Token": self.config.token.get()}, b"\n".join(self.bodies(batch)))

    def judge(self, batch: Batch, answer: Answer) -> float | None:
        try:
            if answer.status == 200 and msgspec.json.decode(answer.body) == {"taken": True}:
                return None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        raise self.by_status(batch, answer)


class RepeatsByItself(Good):
    async def write(self, batch: Batch) -> float | None:
        try:
            return await super().write(batch)
        except Unavailable:
            return await super().write(batch)


class LogsEvents(Good):
    async def write(self, batch: Batch) -> float | None:
        logging.getLogger("sinks.bad").debug("writing %r", batch.events)
        return await super().write(batch)


class LogsFailedEvents(Good):
    async def write(self, batch: Batch) -> float | None:
        try:
            return await super().write(batch)
        except Unavailable:
            structlog.get_logger().warning("write failed", events=[event.raw for event in batch.events])
            raise


class PrintsItsSecret(Good):
    async def write(self, batch: Batch) -> float | None:
        print("using", self.config.token.get())
        return await super().write(batch)


class QuotesTheAnswer(Good):
    def judge(self, batch: Batch, answer: Answer) -> float | None:
        try:
            return super().judge(batch, answer)
        except Unavailable as outcome:
            raise Unavailable(outcome.reason, f"it says {answer.body!r}", retry_after=outcome.retry_after) from None


class RejectsWhatAPersonMustPutRight(Good):
    def judge(self, batch: Batch, answer: Answer) -> float | None:
        if answer.status in (401, 403, 404):
            raise Rejected("refused", f"HTTP {answer.status}")
        return super().judge(batch, answer)


class TakesARedirectForSuccess(Good):
    def judge(self, batch: Batch, answer: Answer) -> float | None:
        return None if 300 <= answer.status < 400 else super().judge(batch, answer)


class RejectsServerErrors(Good):
    def judge(self, batch: Batch, answer: Answer) -> float | None:
        if answer.status >= 500:
            raise Rejected("refused", f"HTTP {answer.status}")
        return super().judge(batch, answer)


class IgnoresRetryAfter(Good):
    def judge(self, batch: Batch, answer: Answer) -> float | None:
        try:
            return super().judge(batch, answer)
        except Unavailable as outcome:
            raise Unavailable(outcome.reason, outcome.note) from None


class BelievesAnyAnswer(Good):
    def judge(self, batch: Batch, answer: Answer) -> float | None:
        return None if 200 <= answer.status < 300 else super().judge(batch, answer)


class LeaksATask(Good):
    async def open(self) -> None:
        await super().open()
        self._task = asyncio.create_task(asyncio.sleep(3600))


class LeaksAThread(Good):
    async def open(self) -> None:
        await super().open()
        self._stop = threading.Event()
        threading.Thread(target=self._stop.wait, args=(3,), daemon=True).start()


class LeaksConnections(Good):
    async def close(self) -> None:
        LEAKED.append(self._client)


LEAKED: list[Any] = []


class NeedsTheDestination(Good):
    async def open(self) -> None:
        await super().open()
        url = self.config.url
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()


class SwallowsCancellation(Good):
    async def write(self, batch: Batch) -> float | None:
        try:
            return await super().write(batch)
        except asyncio.CancelledError:
            raise Unavailable("timeout", "cancelled") from None


class BlocksTheLoop(Good):
    async def write(self, batch: Batch) -> float | None:
        if (client := self._client) is not None:
            self._client = None
            try:
                thread = threading.Thread(target=asyncio.run, args=(self._elsewhere(batch),))
                thread.start()
                thread.join()
            finally:
                self._client = client
            if self._failure is not None:
                raise self._failure
        return None

    async def _elsewhere(self, batch: Batch) -> None:
        other, self._failure = Good(self.config.model_copy(update={"request": SinkConfig(type="x").request})), None
        await other.open()
        try:
            await other.write(batch)
        except (Unavailable, Rejected) as failure:
            self._failure = failure
        await other.close()

    _failure: Unavailable | Rejected | None = None


class DecodesAndEncodes(Good):
    def bodies(self, batch: Batch) -> list[bytes]:
        return [
            json.dumps({"log_id": event.id, "data": json.loads(event.raw)}, separators=(",", ":")).encode()
            for event in batch.events
        ]


class LosesTheLastEvent(Good):
    def bodies(self, batch: Batch) -> list[bytes]:
        return super().bodies(batch)[: max(1, len(batch.events) - 1)]


class SortsEvents(Good):
    def bodies(self, batch: Batch) -> list[bytes]:
        return sorted(super().bodies(batch), reverse=True)


class KeepsABatchInItself(Good):
    async def write(self, batch: Batch) -> float | None:
        self._batch = batch
        await asyncio.sleep(0)
        return await super().write(self._batch)


class UnderstatesItsOverhead(Good):
    overhead = 10


class ShowsItsSecret(Good):
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.token.get()}>"


class KeepsItsSecretInTheOpen(Good):
    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._headers = {"X-Token": self.config.token.get()}


class ReadsItsSecretOnce(Good):
    async def open(self) -> None:
        await super().open()
        self._first = Secret(self.config.token.get())

    def request(self, batch: Batch) -> Request:
        return Request(self.config.url, {"X-Token": self._first.get()}, b"\n".join(self.bodies(batch)))


class OwnClient(Good):
    """Speaks HTTP by itself, with an ordinary client's habits; the subclasses differ in one of them each."""

    options: ClassVar[dict[str, Any]] = {"allow_redirects": False}
    decompress = False
    whole = False

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=self.decompress)

    async def close(self) -> None:
        await self._session.close()

    async def exchange(self, request: Request) -> Answer:
        try:
            async with (
                asyncio.timeout(self.config.request.timeout_secs),
                self._session.post(
                    request.url, data=request.body, headers=dict(request.headers), **self.options
                ) as response,
            ):
                body = await (response.read() if self.whole else response.content.read(65_537))
                if len(body) > 65_536 and not self.whole:
                    raise Unavailable("bad_answer")
                return Answer(response.status, response.headers, body)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unavailable("unreachable", type(error).__name__) from None


class FollowsRedirects(OwnClient):
    options: ClassVar[dict[str, Any]] = {"allow_redirects": True}


class ReadsEverything(OwnClient):
    whole = True


class InflatesEverything(OwnClient):
    whole = True
    decompress = True


class LetsForeignErrorsThrough(OwnClient):
    async def exchange(self, request: Request) -> Answer:
        async with self._session.post(
            request.url, data=request.body, headers=dict(request.headers), allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.content.read(65_536))


FAULTS: list[tuple[type[Sink], set[str]]] = [
    (Good, set()),
    (OwnClient, set()),
    (RepeatsByItself, {ONE_REQUEST}),
    (LogsEvents, {QUIET}),
    (LogsFailedEvents, {QUIET}),
    (PrintsItsSecret, {QUIET}),
    (QuotesTheAnswer, {QUIET}),
    (RejectsWhatAPersonMustPutRight, {HELD}),
    (TakesARedirectForSuccess, {HELD}),
    (RejectsServerErrors, {WAITS, RETRY_AFTER}),
    (IgnoresRetryAfter, {RETRY_AFTER}),
    (BelievesAnyAnswer, {STRANGER}),
    (LeaksATask, {TIDY}),
    (LeaksAThread, {TIDY}),
    (LeaksConnections, {TIDY}),
    (NeedsTheDestination, {OPENS}),
    (SwallowsCancellation, {CANCEL}),
    (BlocksTheLoop, {DEADLINE, CANCEL}),
    (DecodesAndEncodes, {CHANGES}),
    (LosesTheLastEvent, {ORDER, CHANGES, LANES}),
    (SortsEvents, {ORDER, CHANGES}),
    (KeepsABatchInItself, {LANES}),
    (UnderstatesItsOverhead, {ROOM}),
    (ShowsItsSecret, {SECRETIVE}),
    (KeepsItsSecretInTheOpen, {SECRETIVE}),
    (ReadsItsSecretOnce, {ROTATED}),
    (FollowsRedirects, {REDIRECT}),
    (ReadsEverything, {ENDLESS}),
    (InflatesEverything, {ENDLESS, BOMB}),
    (LetsForeignErrorsThrough, {OPENS, ONE_REQUEST, LOST}),
]


class Contract(SinkContract):
    success = Reply(200, b'{"taken":true}')

    def __init__(self, sink_type: type[Sink]) -> None:
        self.sink_type = sink_type  # type: ignore[misc]

    def settings(self, url: str) -> dict[str, Any]:
        return {"url": url}

    def arrived(self, request: Received) -> list[bytes]:
        return request.body.split(b"\n")


def failing(sink_type: type[Sink]) -> set[str]:
    """The tests of the suite that this sink does not pass."""
    failed = set()
    for name, test in inspect.getmembers(Contract(sink_type), inspect.ismethod):
        if name.startswith("test_"):
            try:
                test()
            except AssertionError:
                failed.add(name)
    return failed


@pytest.mark.parametrize(("sink_type", "expected"), FAULTS, ids=[kind.__name__ for kind, _ in FAULTS])
def test_the_suite_fails_a_sink_that(sink_type: type[Sink], expected: set[str]) -> None:
    assert failing(sink_type) == expected


def test_every_test_of_the_suite_fails_for_some_fault() -> None:
    tests = {name for name in vars(SinkContract) if name.startswith("test_")}
    assert set().union(*(expected for _, expected in FAULTS)) == tests
