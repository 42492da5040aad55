"""The contract suite: what every sink promises, as tests that anyone's sink can run.

    class TestMine(SinkContract):
        sink_type = Mine

        def settings(self, url: str) -> dict[str, Any]:
            return {"type": "mine", "url": url}

        def arrived(self, request: Received) -> list[bytes]:
            return request.body.split(b"\\n")

pytest runs it as it is, without plugins. Each test is told by its name; a failing one says in its message what the sink
did. What the suite plays with is at hand for a sink's own tests, too: `Destination`, `make_answer`, `make_batch`,
`odd_events`.
"""

# ruff: noqa: D102  a test's name says what it holds
import asyncio
import io
import logging
import math
import tempfile
import threading
import time
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import structlog.testing

from shipper.event import Batch, Event
from shipper.scripted import (
    EMPTY,
    GARBAGE,
    PERSON,
    Destination,
    Received,
    Reply,
    Step,
    gzip_bomb,
    make_answer,
    make_batch,
    make_event,
    make_events,
    odd_events,
)
from shipper.secret import Secret
from shipper.shape import envelope
from shipper.shape.redact import Redact
from shipper.sink import Fatal, Rejected, RequestLimits, Sink, Unavailable

__all__ = [
    "Destination",
    "Received",
    "Reply",
    "SinkContract",
    "make_answer",
    "make_batch",
    "make_event",
    "make_events",
    "odd_events",
]

SECRET = "canary-secret-4c1d"  # noqa: S105  made up, so that it can be looked for
MEMORY_BYTES = 40 << 20
ANSWER_BYTES = 16 << 20
DEADLINE_SECS = 0.3
PATIENCE_SECS = 2.0
"""How long the suite waits for what should happen at once."""

Outcome = float | None | Unavailable | Rejected | Fatal | TimeoutError


ONLY_HTTP = (
    "test_takes_no_more_room_than_its_overhead_says",
    "test_opens_while_the_destination_is_down",
    "test_one_write_is_at_most_one_request",
    "test_never_gives_events_up_for_what_a_person_must_put_right",
    "test_waits_for_a_destination_in_trouble",
    "test_waits_as_long_as_it_is_asked_to",
    "test_a_lost_connection_is_no_outcome",
    "test_follows_no_redirect",
    "test_takes_no_strangers_answer_for_success",
    "test_reads_no_endless_answer",
    "test_inflates_no_bomb",
    "test_ends_at_its_deadline",
    "test_can_be_cancelled",
    "test_uses_a_rotated_secret",
)
"""What only a sink that speaks HTTP can do wrong."""


class SinkContract:
    """Subclass it, name the class `Test…`, and fill in what follows."""

    sink_type: ClassVar[type[Sink]]
    secret: ClassVar[str] = "token"  # noqa: S105  a setting's name
    """The name of the setting that holds the secret; "" for none."""
    success: ClassVar[Reply] = EMPTY
    """What the destination answers when it has taken everything; `answer`, where that depends on the request."""
    status_is_enough: ClassVar[bool] = False
    """True where the destination says nothing but its status, so that a proxy's 200 can't be told from its own."""
    http: ClassVar[bool] = True
    """False for a sink that speaks no HTTP: it overrides `destination`, `make` and `arrived_at`."""

    def __init_subclass__(cls) -> None:
        """Takes out what does not apply, so that no test has to be skipped."""
        super().__init_subclass__()
        out = set() if cls.http else set(ONLY_HTTP)
        if cls.status_is_enough:
            out.add("test_takes_no_strangers_answer_for_success")
        if not cls.secret:
            out.add("test_uses_a_rotated_secret")
        for name in out:
            setattr(cls, name, None)
        sink_type = getattr(cls, "sink_type", None)
        if sink_type is not None and cls.secret and cls.secret not in sink_type.Config.model_fields:
            raise TypeError(
                f'{sink_type.__name__} has no setting "{cls.secret}": say in `secret` which one holds the secret, or ""'
            )

    def settings(self, url: str) -> dict[str, Any]:
        """The sink's own settings for a destination at this address, without the secret."""
        raise NotImplementedError

    def arrived(self, request: Received) -> Sequence[bytes]:
        """The events in one request, each as `Sink.bodies` gave it or as its `raw`."""
        raise NotImplementedError

    def answer(self, request: Received) -> Reply:
        """The destination's answer to a request whose events it has all taken."""
        del request
        return self.success

    def carries(self, request: Received, secret: str) -> bool:
        """Whether the request was made with this secret. To be overridden where it is encoded, or only signs."""
        return any(secret in text for text in (request.path, *request.headers.values()))

    def destination(self, script: Iterable[Step] = ()) -> AbstractContextManager[Any]:
        """A destination that is up and empty."""
        return Destination(script, default=self.answer)

    def make(self, destination: Any, secret: Secret | None = None, **general: Any) -> Sink:
        """The sink, not yet opened; `general` are settings that every sink has."""
        general = {"proxy": "none", "add_tenant_name": False, **general}
        if self.secret:
            general[self.secret] = secret or Secret(SECRET)
        return self.sink_type(self.sink_type.Config(**self.settings(destination.url), **general))

    def arrived_at(self, destination: Any) -> list[bytes]:
        """All that the destination holds, in the order in which it came."""
        return [event for request in destination.requests for event in self.arrived(request)]

    # What is delivered

    def test_delivers_every_event_once_and_in_order(self) -> None:
        batches = [make_batch(make_events(count, first)) for count, first in ((1, 1), (50, 2), (7, 52))]
        with self.destination() as destination:
            results = asyncio.run(self._write_all(self.make(destination), batches))
            assert all(result is None or (isinstance(result, float | int) and result >= 0) for result in results), (
                f"write returns {results}: nothing, or seconds to rest"
            )
            self._assert_arrived(destination, [event for batch in batches for event in batch.events])

    def test_never_changes_an_events_bytes(self) -> None:
        events = odd_events()
        with self.destination() as destination:
            asyncio.run(self._write_all(self.make(destination), [make_batch(events)]))
            self._assert_arrived(destination, events)

    def test_serves_several_lanes_at_once(self) -> None:
        batches = [make_batch(make_events(20, first), source=f"tenant{first}") for first in (1, 101, 201, 301)]

        async def side_by_side(sink: Sink) -> None:
            async with _opened(sink):
                results = await asyncio.gather(*(_outcome(sink, batch) for batch in batches))
                _assert_taken(results)

        with self.destination() as destination:
            asyncio.run(side_by_side(self.make(destination)))
            events = [event for batch in batches for event in batch.events]
            arrived = self.arrived_at(destination)
            assert sorted(arrived) == sorted(_shape(event, arrived) for event in events), (
                "lanes that write at the same time get in each other's way"
            )

    def test_takes_no_more_room_than_its_overhead_says(self) -> None:
        odd_one = make_event(1)
        hashed = Event("sha256-" + "0" * 64, odd_one.time, odd_one.date, odd_one.type, odd_one.raw)
        batches = [make_batch([hashed] * count, source="a-tenant-with-a-long-name") for count in (1, 100)]
        with self.destination() as destination:
            sink = self.make(destination, add_tenant_name=True)
            asyncio.run(self._write_all(sink, batches))
            for batch, request in zip(batches, destination.requests, strict=True):
                allowed = sum(len(event.raw) + sink.overhead for event in batch.events)
                needed = math.ceil((len(request.body) - allowed) / len(batch.events)) + sink.overhead
                assert needed <= sink.overhead, (
                    f"{len(batch.events)} events make a body of {len(request.body)} bytes; overhead allows {allowed}:"
                    f" it must be {needed} at least, not {sink.overhead}"
                )

    # What must not get out

    def test_sends_nothing_that_is_to_be_redacted(self) -> None:
        event = make_event(1, user_name="someone-in-particular", details={"note": "said-in-confidence"})
        redact = Redact(fields={"user_name": "drop", "details.note": "hmac"}, hmac_key=Secret("made-up"))
        with self.destination() as destination:
            asyncio.run(self._write_all(self.make(destination, redact=redact), [make_batch([event])]))
            [arrived] = self.arrived_at(destination)
            for word in (b"someone-in-particular", b"said-in-confidence"):
                assert word not in arrived, "what redact names is sent: take events from self.bodies(batch) alone"

    def test_an_event_that_can_t_be_redacted_is_refused_without_asking_the_destination(self) -> None:
        odd = msgspec.structs.replace(make_event(1), raw=b'["no object"]')
        with self.destination() as destination:
            sink = self.make(destination, redact=Redact(fields={"ip": "drop"}))
            [outcome] = asyncio.run(self._write_all(sink, [make_batch([odd])], failing=True))
            assert isinstance(outcome, Rejected), f"it is {outcome!r}, though self.bodies(batch) raises Rejected"
            assert (outcome.reason, outcome.own) == ("redaction", True)
            assert not self.arrived_at(destination), "it was sent"

    def test_prints_and_logs_neither_events_nor_secrets(self) -> None:
        async def play(sink: Sink) -> list[Outcome]:
            async with _opened(sink):
                return [await _outcome(sink, make_batch()) for _ in range(len(script) + 1)]

        script: list[Step] = [_echo(status) for status in (400, 401, 403, 404, 413, 429, 500)] if self.http else []
        if not self.status_is_enough and self.http:
            script.append(_echo(200))
        with self.destination(script) as destination:
            sink = self.make(destination)
            with _captured() as captured:
                outcomes = asyncio.run(play(sink))
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                _assert_clean("".join(traceback.format_exception(outcome)), f"the text of {type(outcome).__name__}")
        _assert_clean("\n".join(captured()), "the log or the output")

    def test_shows_its_secret_nowhere(self) -> None:
        async def texts(sink: Sink) -> list[str]:
            async with _opened(sink):
                await _outcome(sink, make_batch())
                config = sink.config
                return [f"{sink!r} {sink} {vars(sink)!r} {config!r} {config}", config.model_dump_json()]

        with self.destination() as destination:
            for text in asyncio.run(texts(self.make(destination))):
                assert SECRET not in text, "an attribute, repr, str or the dumped configuration shows the secret"

    def test_leaves_nothing_behind(self) -> None:
        async def live(destination: Any) -> None:
            tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
            sink = self.make(destination, request=RequestLimits(timeout_secs=DEADLINE_SECS))
            async with _opened(sink):
                await asyncio.gather(*(_outcome(sink, make_batch()) for _ in range(3)))
                if self.http:
                    destination.script.extend(["reset", "reset_mid_answer", "hang"])
                    for _ in range(3):
                        await _outcome(sink, make_batch(), DEADLINE_SECS * 2)
                    await _outcome(sink, make_batch())
            if self.http:
                await _becomes(lambda: destination.connections == 0, "a connection is open after close()")
            await _becomes(lambda: asyncio.all_tasks() <= tasks, "a task lives on after close()")
            await _becomes(lambda: set(threading.enumerate()) <= threads, "a thread lives on after close()")

        with self.destination() as destination:
            asyncio.run(live(destination))

    # How a destination fails

    def test_opens_while_the_destination_is_down(self) -> None:
        with self.destination() as destination:
            sink = self.make(destination)

        async def open_and_write() -> Outcome:
            try:
                await sink.open()
            except Exception as error:
                raise AssertionError(f"open() needs the destination: {type(error).__name__}") from error
            try:
                return await _outcome(sink, make_batch())
            finally:
                await sink.close()

        _assert_unavailable(asyncio.run(open_and_write()), "a destination that is down")

    def test_one_write_is_at_most_one_request(self) -> None:
        faults: list[Step] = [Reply(status) for status in (400, 401, 403, 404, 408, 413, 429, 500, 503)]
        # Between them a success: on a connection that was used before, some libraries repeat by themselves.
        script = [step for fault in (*faults, "reset", "reset_mid_answer") for step in (self.answer, fault)]
        with self.destination(script) as destination:
            asyncio.run(self._write_all(self.make(destination), [make_batch()] * len(script), failing=True))
            asked = len(destination.requests)
            assert asked == len(script), f"{len(script)} writes became {asked} requests: repeating is delivery's part"

    def test_never_gives_events_up_for_what_a_person_must_put_right(self) -> None:
        elsewhere = {"Location": "http://127.0.0.1:9/elsewhere"}
        self._assert_all_unavailable(
            [Reply(status) for status in (401, 403, 404)]
            + [Reply(status, headers=elsewhere) for status in (301, 302, 307, 308)]
        )

    def test_waits_for_a_destination_in_trouble(self) -> None:
        self._assert_all_unavailable([Reply(status) for status in (429, 500, 502, 503, 504)])

    def test_waits_as_long_as_it_is_asked_to(self) -> None:
        for status in (429, 503):
            outcome = self._one(Reply(status, headers={"Retry-After": "7"}))
            _assert_unavailable(outcome, f"HTTP {status}")
            asked = getattr(outcome, "retry_after", None)
            assert asked == 7, f"HTTP {status} with Retry-After: 7 becomes retry_after={asked}"

    def test_a_lost_connection_is_no_outcome(self) -> None:
        self._assert_all_unavailable(["reset", "reset_mid_answer", "no_http"])

    def test_follows_no_redirect(self) -> None:
        with Destination(default=self.success) as other:
            for status in (301, 302, 303, 307, 308):
                self._one(Reply(status, headers={"Location": f"{other.url}/elsewhere"}))
            assert not other.requests, "follows a redirect, and takes its secret along"

    def test_takes_no_strangers_answer_for_success(self) -> None:
        self._assert_all_unavailable([GARBAGE, EMPTY, Reply(200, b"{"), Reply(200, b"[" * 50_000), Reply(200, b"\xff")])

    def test_reads_no_endless_answer(self) -> None:
        async def write(destination: Destination) -> Outcome:
            async with _opened(self.make(destination)) as sink:
                return await _outcome(sink, make_batch())

        with self.destination(["endless"]) as destination:
            outcome = asyncio.run(write(destination))
            assert destination.sent_bytes < ANSWER_BYTES, f"reads {destination.sent_bytes} bytes of an endless answer"
        self._assert_no_success(outcome, "an endless answer")

    def test_inflates_no_bomb(self) -> None:
        gzip_bomb()  # made now, so that its making is not measured
        with _memory() as peak:
            outcome = self._one("gzip_bomb")
        assert peak() < MEMORY_BYTES, f"a compressed answer of 128 MiB takes {peak() >> 20} MiB of memory"
        self._assert_no_success(outcome, "a gzip bomb")

    def test_ends_at_its_deadline(self) -> None:
        steps: list[Step] = ["hang", "slow_loris"]
        for step in steps:
            started = time.monotonic()
            outcome = self._one(step, DEADLINE_SECS * 2, request=RequestLimits(timeout_secs=DEADLINE_SECS))
            took = time.monotonic() - started
            assert took < PATIENCE_SECS, f"{step}: takes {took:.1f} s where request.timeout_secs is {DEADLINE_SECS}"
            assert isinstance(outcome, Unavailable | TimeoutError), f"{step} becomes {outcome!r}"

    def test_can_be_cancelled(self) -> None:
        async def cancel(destination: Destination) -> None:
            async with _opened(self.make(destination)) as sink:
                write = asyncio.create_task(sink.write(make_batch()))
                await destination.received(1)
                write.cancel()
                await asyncio.wait([write], timeout=PATIENCE_SECS)
                assert write.cancelled(), "write() goes on, or says something else, when it is cancelled"
                again = await _outcome(sink, make_batch())
                assert not isinstance(again, Exception), f"after a cancelled write the next one fails: {again!r}"

        with self.destination(["hang"]) as destination:
            asyncio.run(cancel(destination))

    def test_uses_a_rotated_secret(self) -> None:
        secrets = ("the-first-one", "another-and-longer-one")

        async def rotate(destination: Destination, put: Callable[[str], object], secret: Secret) -> None:
            async with _opened(self.make(destination, secret)) as sink:
                for text in secrets:
                    put(text)
                    await _outcome(sink, make_batch())

        with tempfile.TemporaryDirectory() as folder, self.destination() as destination:
            file = Path(folder) / "secret"
            file.write_text("before-it-was-opened")
            asyncio.run(rotate(destination, file.write_text, Secret(path=file)))
            for request, secret in zip(destination.requests, secrets, strict=True):
                assert self.carries(request, secret), "a secret that changed in its file is not used"

    # What the tests are made of

    async def _write_all(self, sink: Sink, batches: Sequence[Batch], *, failing: bool = False) -> list[Outcome]:
        async with _opened(sink):
            outcomes = [await _outcome(sink, batch) for batch in batches]
        if not failing:
            _assert_taken(outcomes)
        return outcomes

    def _one(self, step: Step, deadline_secs: float = 10, **general: Any) -> Outcome:
        async def write(destination: Destination) -> Outcome:
            async with _opened(self.make(destination, **general)) as sink:
                return await _outcome(sink, make_batch(), deadline_secs)

        with self.destination([step]) as destination:
            return asyncio.run(write(destination))

    def _assert_all_unavailable(self, steps: Sequence[Step]) -> None:
        async def write() -> list[Outcome]:
            async with _opened(self.make(destination)) as sink:
                return [await _outcome(sink, make_batch()) for _ in steps]

        with self.destination(steps) as destination:
            for step, outcome in zip(steps, asyncio.run(write()), strict=True):
                _assert_unavailable(outcome, f"HTTP {step.status}" if isinstance(step, Reply) else str(step))

    def _assert_no_success(self, outcome: Outcome, what: str) -> None:
        if not self.status_is_enough:
            _assert_unavailable(outcome, what)

    def _assert_arrived(self, destination: Any, events: Sequence[Event]) -> None:
        arrived = self.arrived_at(destination)
        assert len(arrived) == len(events), f"{len(events)} events were written, {len(arrived)} arrived"
        for event, got in zip(events, arrived, strict=True):
            assert got in (envelope(event), event.raw), f"{event.id} arrives out of order, or changed: {got!r}"


@asynccontextmanager
async def _opened(sink: Sink) -> AsyncIterator[Sink]:
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def _outcome(sink: Sink, batch: Batch, deadline_secs: float = 10) -> Outcome:
    """What `write` returned or raised, within a deadline as delivery sets it; anything else than an outcome fails."""
    try:
        async with asyncio.timeout(deadline_secs):
            return await sink.write(batch)
    except (Unavailable, Rejected, Fatal, TimeoutError) as outcome:
        return outcome
    except Exception as error:
        raise AssertionError(f"write() raises {type(error).__name__}, which is no outcome of the contract") from error


def _assert_taken(outcomes: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert not failed, f"writes fail, where the destination answers as `success` or `answer` says: {failed[0]!r}"


def _assert_unavailable(outcome: Outcome, what: str) -> None:
    assert isinstance(outcome, Unavailable), f"{what} must be Unavailable, not {outcome!r}"


def _assert_clean(text: str, where: str) -> None:
    for canary, what in ((PERSON, "an event"), (SECRET, "the secret")):
        assert canary not in text, f"{where} shows {what}"


def _shape(event: Event, arrived: Sequence[bytes]) -> bytes:
    return event.raw if event.raw in arrived else envelope(event)


def _echo(status: int) -> Callable[[Received], Reply]:
    """An answer that quotes the request, as real ones do."""
    return lambda received: Reply(status, received.body + "\n".join(received.headers.values()).encode())


async def _becomes(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECS / 2
    while not condition():
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.005)


@contextmanager
def _captured() -> Iterator[Callable[[], list[str]]]:
    """All that is logged at any level, by either library, and all that is printed meanwhile."""
    printed = io.StringIO()
    root, handler = logging.getLogger(), logging.StreamHandler(printed)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with redirect_stdout(printed), redirect_stderr(printed), structlog.testing.capture_logs() as logged:
            yield lambda: [printed.getvalue(), *(repr(entry) for entry in logged)]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@contextmanager
def _memory() -> Iterator[Callable[[], int]]:
    """The most bytes that Python held at once meanwhile, over what it held before."""
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    peak = 0

    def measure() -> int:
        return peak

    try:
        yield measure
    finally:
        peak = tracemalloc.get_traced_memory()[1] - before
        if not tracing:
            tracemalloc.stop()
