import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from golden_batch import golden_batch

from shipper import Fatal, Unavailable
from shipper.shape import envelope
from shipper.testing import SinkContract, make_batch, make_events
from sinks.stdout import Stdout


class Pipe:
    """The other end of stdout: a thread that reads all lines."""

    def __enter__(self) -> Self:
        self._read_end, self.fd = os.pipe()
        self._got = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> bytes:
        """Everything that was written, once no more can come."""
        if self._thread.is_alive():
            os.close(self.fd)
            self._thread.join()
            os.close(self._read_end)
        return bytes(self._got)

    def _read(self) -> None:
        while data := os.read(self._read_end, 65536):
            self._got += data


class TestContract(SinkContract):
    sink_type = Stdout
    secret = ""
    http = False

    @contextlib.contextmanager
    def destination(self, script: Iterable[object] = ()) -> Iterator[Pipe]:
        with Pipe() as pipe:
            yield pipe

    def make(self, destination: Pipe, secret: object = None, **general: Any) -> Stdout:
        return Stdout(Stdout.Config(add_tenant_name=False, **general), fd=destination.fd)

    def arrived_at(self, destination: Pipe) -> list[bytes]:
        return destination.finish().splitlines()


def make_sink(fd: int, **settings: Any) -> Stdout:
    return Stdout(Stdout.Config(add_tenant_name=False, **settings), fd=fd)


def lines(first: int, count: int) -> bytes:
    return b"".join(envelope(event) + b"\n" for event in make_events(count, first))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of the smallest size, so that it is full at once: read end, write end."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    yield read_end, write_end
    for fd in (read_end, write_end):
        with contextlib.suppress(OSError):
            os.close(fd)


def read_exactly(fd: int, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        data = os.read(fd, min(65536, count - len(got)))
        assert data, f"only {len(got)} of {count} bytes came"
        got += data
    return bytes(got)


async def in_thread(work: Callable[[], bytes]) -> bytes:
    return await asyncio.to_thread(work)


async def test_prints_the_golden_file(golden: Path) -> None:
    with Pipe() as pipe:
        sink = Stdout(Stdout.Config(), fd=pipe.fd)
        await sink.open()
        await sink.write(golden_batch())
        await sink.close()
        assert pipe.finish() == (golden / "stdout.txt").read_bytes()


async def test_the_raw_format_is_the_event_alone() -> None:
    with Pipe() as pipe:
        sink = make_sink(pipe.fd, format="raw")
        await sink.open()
        await sink.write(make_batch(2))
        await sink.close()
        assert pipe.finish().splitlines() == [event.raw for event in make_events(2)]


def test_an_event_waits_for_no_fuller_batch() -> None:
    assert Stdout.Config().batch.timeout_secs == 0


async def test_a_full_pipe_does_not_stop_the_loop(pipe: tuple[int, int]) -> None:
    sink = make_sink(pipe[1])
    await sink.open()
    write = asyncio.create_task(sink.write(make_batch(100)))
    first = await in_thread(lambda: read_exactly(pipe[0], 1))  # so the thread has begun, and is stuck in the rest
    assert not write.done()
    expected = lines(1, 100)
    rest = await in_thread(lambda: read_exactly(pipe[0], len(expected) - 1))
    await write
    assert first + rest == expected
    await sink.close()


async def test_partial_writes_on_a_non_blocking_pipe_make_whole_lines(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    sink = make_sink(pipe[1])
    await sink.open()
    write = asyncio.create_task(sink.write(make_batch(500)))
    expected = lines(1, 500)
    assert await in_thread(lambda: read_exactly(pipe[0], len(expected))) == expected
    await write
    await sink.close()


async def cancelled_in_a_full_pipe(sink: Stdout, read_end: int, count: int) -> bytes:
    """A write of `count` events that began, blocked and was cancelled; what was read of it so far."""
    write = asyncio.create_task(sink.write(make_batch(count)))
    first = await in_thread(lambda: read_exactly(read_end, 1))
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    return first


async def test_a_cancelled_write_is_finished_before_the_next_one_begins(pipe: tuple[int, int]) -> None:
    sink = make_sink(pipe[1])
    await sink.open()
    first = await cancelled_in_a_full_pipe(sink, pipe[0], 100)
    other = asyncio.create_task(sink.write(make_batch(make_events(3, 500))))
    expected = lines(1, 100) + lines(500, 3)
    assert first + await in_thread(lambda: read_exactly(pipe[0], len(expected) - 1)) == expected
    await other
    await sink.close()


async def test_a_sink_in_the_place_of_one_that_is_stuck_waits_for_its_lines_to_end(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)  # so that both get their turns
    old, new = make_sink(pipe[1]), make_sink(pipe[1], format="raw")
    await old.open()
    first = await cancelled_in_a_full_pipe(old, pipe[0], 2000)
    await new.open()
    await old.close()
    write = asyncio.create_task(new.write(make_batch(2000)))
    expected = lines(1, 2000) + b"".join(event.raw + b"\n" for event in make_events(2000))
    assert first + await in_thread(lambda: read_exactly(pipe[0], len(expected) - 1)) == expected
    await write
    await new.close()


async def test_a_cancelled_batch_that_comes_again_is_not_printed_twice(pipe: tuple[int, int]) -> None:
    sink = make_sink(pipe[1])
    await sink.open()
    first = await cancelled_in_a_full_pipe(sink, pipe[0], 100)
    # It comes again with what arrived meanwhile behind it, as the journal cuts it anew.
    again = asyncio.create_task(sink.write(make_batch(120)))
    expected = lines(1, 120)
    assert first + await in_thread(lambda: read_exactly(pipe[0], len(expected) - 1)) == expected
    await again
    await sink.close()
    os.close(pipe[1])
    assert os.read(pipe[0], 1) == b"", "something was printed twice"


async def test_a_batch_that_is_out_when_its_deadline_passes_is_not_printed_twice(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    sink = Stdout(Stdout.Config(), fd=write_end)
    await sink.open()
    batch = make_batch(3)
    expected = b"".join(body + b"\n" for body in sink.bodies(batch))
    writing = asyncio.create_task(sink.write(batch))
    await asyncio.sleep(0)
    # The loop stands still while the last byte leaves, as on a busy machine; then it sees that the time is up.
    printed = b""
    while len(printed) < len(expected):
        printed += os.read(read_end, 65_536)
    assert sink._printer is not None
    last = sink._printer._last
    assert last is not None
    last.done.result(timeout=10)
    writing.cancel()
    await asyncio.wait([writing])
    assert writing.cancelled()
    await sink.write(batch)
    await sink.write(make_batch(1))
    await sink.close()
    printed += os.read(read_end, 65_536)
    assert printed == expected + expected.splitlines(keepends=True)[0]


async def test_a_write_that_was_cancelled_before_it_began_prints_nothing(pipe: tuple[int, int]) -> None:
    sink = make_sink(pipe[1])
    await sink.open()
    first = await cancelled_in_a_full_pipe(sink, pipe[0], 100)
    queued = asyncio.create_task(sink.write(make_batch(make_events(5, 500))))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    last = asyncio.create_task(sink.write(make_batch(make_events(1, 900))))
    expected = lines(1, 100) + lines(900, 1)
    assert first + await in_thread(lambda: read_exactly(pipe[0], len(expected) - 1)) == expected
    await last
    await sink.close()


async def test_close_does_not_wait_for_a_reader_that_never_reads(pipe: tuple[int, int]) -> None:
    sink = make_sink(pipe[1])
    await sink.open()
    await cancelled_in_a_full_pipe(sink, pipe[0], 1000)
    async with asyncio.timeout(5):
        await sink.close()
    os.close(pipe[0])  # lets the thread go


async def test_a_reader_that_went_away_is_fatal(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    sink = make_sink(pipe[1])
    await sink.open()
    with pytest.raises(Fatal) as caught:
        await sink.write(make_batch())
    assert (caught.value.reason, caught.value.note) == ("io", "stdout was closed")
    await sink.close()


async def test_a_closed_descriptor_is_fatal(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    sink = make_sink(pipe[1])
    await sink.open()
    for attempt in (sink.write(make_batch()), sink.probe()):
        with pytest.raises(Fatal) as caught:
            await attempt
        assert caught.value.reason == "io"
    await sink.close()


async def test_a_full_disk_is_waited_out() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = make_sink(fd)
    await sink.open()
    with pytest.raises(Unavailable) as caught:
        await sink.write(make_batch())
    assert caught.value.reason == "disk_full"
    await sink.close()
    os.close(fd)


async def test_probe_says_what_stdout_leads_to(pipe: tuple[int, int], tmp_path: Path) -> None:
    assert await make_sink(pipe[1]).probe() == "stdout is a pipe"
    with (tmp_path / "out").open("wb") as file:
        assert await make_sink(file.fileno()).probe() == "stdout is a file"


CHILD = """
    import asyncio, os, resource, signal, sys
    from shipper import Fatal, Unavailable
    from shipper.testing import make_batch, make_events
    from sinks.stdout import Stdout

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    async def write(sink, *batch):
        try:
            await sink.write(make_batch(*batch))
            return "delivered"
        except (Fatal, Unavailable) as outcome:
            return f"{type(outcome).__name__} {outcome}"

    async def main():
        sink = Stdout(Stdout.Config(add_tenant_name=False))
        await sink.open()
        BODY
        await sink.close()

    START
    asyncio.run(main())
"""


def child(body: str, start: str = "") -> str:
    indented = textwrap.indent(textwrap.dedent(body), "    ").strip()
    return textwrap.dedent(CHILD).replace("BODY", indented).replace("START", start)


def run_child(body: str, stdout: Any, *, start: str = "", closed: bool = False) -> Sequence[str]:
    """What a real process with this stdout says on stderr."""
    command = [sys.executable, "-c", child(body, start)]
    if closed:
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_a_file_system_that_fills_up_leaves_no_torn_line(tmp_path: Path) -> None:
    """The process's own limit on file sizes stands for the full disk: a write gets as far as it can, then fails."""
    body = """
        limit(1000)
        print(await write(sink, 20), file=sys.stderr)
        limit(3000)
        print(await write(sink, 20), file=sys.stderr)
        limit(resource.RLIM_INFINITY)
        print(await write(sink, 25), file=sys.stderr)
    """
    with (tmp_path / "out").open("wb") as out:
        said = run_child(body, out)
    assert [line.split(":")[0] for line in said] == ["Unavailable disk_full", "Unavailable disk_full", "delivered"]
    assert (tmp_path / "out").read_bytes() == lines(1, 25)


def test_a_torn_line_is_ended_before_another_batch(tmp_path: Path) -> None:
    body = """
        limit(1000)
        print(await write(sink, 20), file=sys.stderr)
        print(await write(sink, make_events(2, 700)), file=sys.stderr)
        limit(resource.RLIM_INFINITY)
        print(await write(sink, make_events(2, 700)), file=sys.stderr)
        print(await write(sink, 20), file=sys.stderr)
    """
    with (tmp_path / "out").open("wb") as out:
        said = run_child(body, out)
    assert [line.split(":")[0] for line in said] == ["Unavailable disk_full"] * 2 + ["delivered"] * 2
    torn = lines(1, 20)[:1000]
    assert (tmp_path / "out").read_bytes() == torn + b"\n" + lines(700, 2) + lines(1, 20)


def test_a_torn_line_is_ended_before_another_sinks_lines(tmp_path: Path) -> None:
    body = """
        limit(1000)
        print(await write(sink, 20), file=sys.stderr)
        limit(resource.RLIM_INFINITY)
        other = Stdout(sink.config)
        await other.open()
        print(await write(other, make_events(2, 700)), file=sys.stderr)
        print(await write(sink, 20), file=sys.stderr)
        print(await write(other, make_events(2, 800)), file=sys.stderr)
    """
    with (tmp_path / "out").open("wb") as out:
        said = run_child(body, out)
    assert [line.split(":")[0] for line in said] == ["Unavailable disk_full", *["delivered"] * 3]
    torn = lines(1, 20)[:1000]
    assert (tmp_path / "out").read_bytes() == torn + b"\n" + lines(700, 2) + lines(1, 20) + lines(800, 2)


@pytest.mark.parametrize("probe", ["await sink.probe()", "await sink.write(make_batch())"])
def test_stdout_that_was_closed_from_the_start_is_fatal_and_no_other_file_is_written_to(
    tmp_path: Path, probe: str
) -> None:
    start = f"assert os.open({str(tmp_path / 'journal')!r}, os.O_CREAT | os.O_RDWR) == 1, 'another number'"
    body = f"""
        try:
            {probe}
        except Fatal as fatal:
            print(fatal, file=sys.stderr)
    """
    assert run_child(body, None, start=start, closed=True) == ["io: stdout was closed"]
    assert (tmp_path / "journal").read_bytes() == b""


def test_a_real_reader_that_ends_is_fatal_and_no_signal_kills_the_process() -> None:
    body = """
        outcome = "delivered"
        while outcome == "delivered":
            outcome = await write(sink, 50)
        print(outcome, file=sys.stderr)
    """
    with subprocess.Popen(
        [sys.executable, "-c", child(body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() + process.stdout.readline() == lines(1, 2)
        process.stdout.close()
        assert process.stderr.read().decode().splitlines() == ["Fatal io: stdout was closed"]
        assert process.wait(30) not in (-signal.SIGPIPE, 1)
