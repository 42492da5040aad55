"""The fault matrix of stdout: a reader that goes, that does not read or reads slowly, a descriptor that is closed.

Over real processes, a file that fills up and stdout closed from the start: `tests/sinks/test_stdout.py`.
"""

import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lane_under_fault_case import LaneUnderFault, assert_told, issued, lane_for, repeats

from shipper import Event, Fatal
from sinks.stdout import Stdout

PIPE_BYTES = 4096
DEADLINE_SECS = 0.25

moments = pytest.mark.parametrize("moment", ["first-batch", "mid-backlog", "shutdown"])


class _Line(msgspec.Struct):
    data: msgspec.Raw


def events_in(printed: bytes) -> list[bytes]:
    """The events in whole lines; a line that was not ended is none."""
    return [bytes(msgspec.json.decode(line, type=_Line).data) for line in printed.split(b"\n")[:-1]]


class Reader:
    """The other end of a small pipe: a thread that reads while it may, and knows what came."""

    def __init__(self, *, blocking: bool = True) -> None:
        self._read_end, self.fd = os.pipe()
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.fd, blocking)
        self.may_read = threading.Event()
        self._got = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while self.may_read.wait() and (data := os.read(self._read_end, 1000)):
            self._got += data

    def finish(self) -> list[bytes]:
        """The events that came, once no more can."""
        if self._thread.is_alive():
            self.may_read.set()
            os.close(self.fd)
            self._thread.join()
            os.close(self._read_end)
        return events_in(bytes(self._got))


@contextmanager
def reader(**options: Any) -> Iterator[Reader]:
    found = Reader(**options)
    try:
        yield found
    finally:
        found.finish()


def sink_of(fd: int, batch: int) -> Stdout:
    request = {"timeout_secs": DEADLINE_SECS}
    settings: dict[str, Any] = {"add_tenant_name": False, "batch": {"max_events": batch}, "request": request}
    return Stdout(Stdout.Config(**settings), fd=fd)


@asynccontextmanager
async def printing(
    fd: int, state_dir: Path, moment: str, batch: int
) -> AsyncIterator[tuple[LaneUnderFault, list[Event]]]:
    """A lane to this descriptor, with three batches in all; but at the first moment one is delivered already."""
    events = issued(3 * batch)
    async with lane_for(sink_of(fd, batch), state_dir) as lane:
        before = 0 if moment == "first-batch" else batch
        if before:
            await lane.store(events[:before])
            await lane.deliver()
        await lane.store(events[before:])
        yield lane, events


async def next_process(lane: LaneUnderFault, fd: int, batch: int) -> None:
    """Another process, with another stdout: it delivers what is left."""
    await lane.sink.close()
    lane.sink = sink_of(fd, batch)
    await lane.sink.open()
    await lane.reopen()
    await lane.deliver()


@pytest.mark.parametrize("moment", ["first-batch", "mid-backlog"])
@pytest.mark.parametrize("gone", ["reader", "descriptor"])
async def test_where_stdout_is_gone_the_program_ends_and_the_next_one_delivers(
    tmp_path: Path, moment: str, gone: str
) -> None:
    read_end, fd = os.pipe()
    with contextlib.closing(os.fdopen(read_end, "rb", buffering=0)) as first, reader() as second:
        async with printing(fd, tmp_path, moment, 4) as (lane, events):
            came = events_in(os.read(read_end, 1 << 16)) if moment == "mid-backlog" else []
            first.close() if gone == "reader" else os.close(fd)
            with pytest.raises(Fatal) as caught:
                await lane.delivery.run()
            assert (caught.value.reason, caught.value.note) == ("io", "stdout was closed")
            assert lane.failures_by_reason() == {"io": 1}
            await lane.assert_nothing_lost(events, [came])
            second.may_read.set()
            await next_process(lane, second.fd, 4)
            printed = [came, second.finish()]
            await lane.assert_nothing_lost(events, printed)
            assert (lane.lane.figures.lag, repeats(printed)) == (0, 0)
    if gone == "reader":
        os.close(fd)


@moments
async def test_a_full_pipe_is_waited_out_and_nothing_is_printed_twice_by_one_process(
    tmp_path: Path, moment: str
) -> None:
    with reader() as there, reader() as second:
        if moment != "first-batch":
            there.may_read.set()
        async with printing(there.fd, tmp_path, moment, 80) as (lane, events):
            there.may_read.clear()
            if moment == "shutdown":
                await cut_off(lane)
                await lane.sink.close()
                first = there.finish()
                second.may_read.set()
                await next_process(lane, second.fd, 80)
                printed = [first, second.finish()]
                assert repeats(printed) <= 80
            else:
                lane.heal, lane.heal_after = there.may_read.set, 1
                await lane.deliver()
                printed = [there.finish()]
                assert repeats(printed) == 0
                assert lane.failures() == lane.failed_until_healed == 1
                assert lane.failures_by_reason() == {"timeout": 1}
                assert_told(lane.lines("waiting")[0], "timeout", "took longer than")
                assert len(lane.lines("recovered")) == 1
            assert lane.lane.figures.lag == 0
            await lane.assert_nothing_lost(events, printed)


async def cut_off(lane: LaneUnderFault) -> None:
    """The process is told to end, and does not wait for the write in hand for ever."""
    lane.parked = asyncio.Event()
    task = asyncio.create_task(lane.delivery.run())
    await lane.parked.wait()
    lane.delivery.stop(task)
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


@moments
async def test_a_pipe_that_someone_made_non_blocking_is_written_to_whole(tmp_path: Path, moment: str) -> None:
    with reader(blocking=False) as there, reader() as second:
        there.may_read.set()
        async with printing(there.fd, tmp_path, moment, 80) as (lane, events):
            if moment == "shutdown":
                task = asyncio.create_task(lane.delivery.run())
                await asyncio.sleep(0)
                lane.delivery.stop(task)
                await asyncio.wait([task], timeout=5)
                await lane.sink.close()
                first = there.finish()
                second.may_read.set()
                await next_process(lane, second.fd, 80)
                printed = [first, second.finish()]
            else:
                await lane.deliver()
                printed = [there.finish()]
            assert set(lane.writes()) == {"delivered"}
            assert (lane.lane.figures.lag, repeats(printed), lane.waits) == (0, 0, [])
            await lane.assert_nothing_lost(events, printed)
