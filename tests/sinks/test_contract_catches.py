"""The contract suite is worth something only if it fails: for each fault that was seen in the field, a sink with it."""

import asyncio
import json
import logging
import threading
from typing import Any, ClassVar, Literal

import aiohttp
import msgspec
import pytest
import structlog

from shipper import Answer, Batch, HttpSink, Rejected, Request, Secret, Sink, SinkConfig, Unavailable
from shipper.testing import ONLY_HTTP, Received, Reply, SinkContract


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


class RepeatsOnAUsedConnection(Good):
    """What aiohttp does by itself for a PUT, and every pooled client for some method."""

    def request(self, batch: Batch) -> Request:
        return msgspec.structs.replace(super().request(batch), method="PUT")


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
        print("using", self.config.token.get())  # noqa: T201  the fault
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
        # Closed at last, but too late, so that this fault spoils no other test.
        LATE.append(asyncio.create_task(self._close_later()))

    async def _close_later(self) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await super().close()


LATE: list[asyncio.Task[None]] = []


class NeedsTheDestination(Good):
    async def open(self) -> None:
        host, port = self.config.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
        await super().open()


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


class SendsEventsAsTheyCame(Good):
    def bodies(self, batch: Batch) -> list[bytes]:
        return [event.raw for event in batch.events]


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

    async def exchange(self, request: Request, client: object = None) -> Answer:
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
    async def exchange(self, request: Request, client: object = None) -> Answer:
        async with self._session.post(
            request.url, data=request.body, headers=dict(request.headers), allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.content.read(65_536))


class Contract(SinkContract):
    success = Reply(200, b'{"taken":true}')

    def __init__(self, sink_type: type[Sink]) -> None:
        self.sink_type = sink_type  # type: ignore[misc]

    def settings(self, url: str) -> dict[str, Any]:
        return {"url": url}

    def arrived(self, request: Received) -> list[bytes]:
        return request.body.split(b"\n")


FAULTS: list[tuple[type[Sink], str, str]] = [
    (LosesTheLastEvent, "test_delivers_every_event_once_and_in_order", "58 events were written, 56 arrived"),
    (SortsEvents, "test_delivers_every_event_once_and_in_order", "arrives out of order, or changed"),
    (DecodesAndEncodes, "test_never_changes_an_events_bytes", "arrives out of order, or changed"),
    (KeepsABatchInItself, "test_serves_several_lanes_at_once", "in each other's way"),
    (UnderstatesItsOverhead, "test_takes_no_more_room_than_its_overhead_says", "at least, not 10"),
    (SendsEventsAsTheyCame, "test_sends_nothing_that_is_to_be_redacted", "what redact names is sent"),
    (
        SendsEventsAsTheyCame,
        "test_an_event_that_can_t_be_redacted_is_refused_without_asking_the_destination",
        "it is None, though",
    ),
    (LogsEvents, "test_prints_and_logs_neither_events_nor_secrets", "the log or the output shows an event"),
    (LogsFailedEvents, "test_prints_and_logs_neither_events_nor_secrets", "the log or the output shows an event"),
    (PrintsItsSecret, "test_prints_and_logs_neither_events_nor_secrets", "the log or the output shows the secret"),
    (QuotesTheAnswer, "test_prints_and_logs_neither_events_nor_secrets", "the text of Unavailable shows an event"),
    (ShowsItsSecret, "test_shows_its_secret_nowhere", "shows the secret"),
    (KeepsItsSecretInTheOpen, "test_shows_its_secret_nowhere", "shows the secret"),
    (LeaksATask, "test_leaves_nothing_behind", "a task lives on"),
    (LeaksAThread, "test_leaves_nothing_behind", "a thread lives on"),
    (LeaksConnections, "test_leaves_nothing_behind", "a connection is open"),
    (NeedsTheDestination, "test_opens_while_the_destination_is_down", "needs the destination"),
    (RepeatsByItself, "test_one_write_is_at_most_one_request", "repeating is delivery's part"),
    (RepeatsOnAUsedConnection, "test_one_write_is_at_most_one_request", "repeating is delivery's part"),
    (RejectsWhatAPersonMustPutRight, "test_never_gives_events_up_for_what_a_person_must_put_right", "HTTP 401 must be"),
    (TakesARedirectForSuccess, "test_never_gives_events_up_for_what_a_person_must_put_right", "HTTP 301 must be"),
    (RejectsServerErrors, "test_waits_for_a_destination_in_trouble", "HTTP 500 must be Unavailable"),
    (IgnoresRetryAfter, "test_waits_as_long_as_it_is_asked_to", "becomes retry_after=None"),
    (LetsForeignErrorsThrough, "test_a_lost_connection_is_no_outcome", "raises ClientOSError, which is no outcome"),
    (FollowsRedirects, "test_follows_no_redirect", "follows a redirect"),
    (BelievesAnyAnswer, "test_takes_no_strangers_answer_for_success", "HTTP 200 must be Unavailable"),
    (ReadsEverything, "test_reads_no_endless_answer", "bytes of an endless answer"),
    (InflatesEverything, "test_inflates_no_bomb", "MiB of memory"),
    (BlocksTheLoop, "test_ends_at_its_deadline", "takes 3"),
    (SwallowsCancellation, "test_can_be_cancelled", "when it is cancelled"),
    (ReadsItsSecretOnce, "test_uses_a_rotated_secret", "is not used"),
]
TESTS = sorted(name for name in vars(SinkContract) if name.startswith("test_"))


@pytest.mark.parametrize(("sink_type", "test", "message"), FAULTS, ids=[kind.__name__ for kind, _, _ in FAULTS])
def test_the_suite_fails_a_sink_that(sink_type: type[Sink], test: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(Contract(sink_type), test)()


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("sink_type", [Good, OwnClient])
def test_the_suite_passes_a_sink_without_a_fault(sink_type: type[Sink], test: str) -> None:
    getattr(Contract(sink_type), test)()


def test_every_test_of_the_suite_fails_for_some_fault() -> None:
    assert {test for _, test, _ in FAULTS} == set(TESTS)


def test_what_only_http_can_do_wrong_is_taken_out_for_a_sink_that_speaks_none() -> None:
    class Quiet(SinkContract):
        http = False

    left = {name for name in TESTS if getattr(Quiet, name) is not None}
    assert set(TESTS) - left == set(ONLY_HTTP)
    assert left


def test_a_secret_that_is_no_setting_is_said_before_any_test_runs() -> None:
    with pytest.raises(TypeError, match='Good has no setting "api_key": say in `secret`'):
        type("TestGood", (SinkContract,), {"sink_type": Good, "secret": "api_key"})
