"""`shipper export --to`: the same work as a replay, of what was chosen; lanes keep their places."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from replay_case import START_MS, Scene, at, hours_of_events, scene
from s3_case import Bucket

from shipper.config import Settings
from shipper.export.session import Request, export
from shipper.journal import UnknownNameError
from shipper.scripted import Received, Reply
from shipper.sources.selection import EVER, Selection
from shipper.tally import HOUR_MS

pytestmark = pytest.mark.usefixtures("aws")
DAY: dict[str, Any] = {"since": START_MS, "until": START_MS + 10 * HOUR_MS}


async def exported(one: Scene, to: str = "siem", *, since: int = EVER[0], until: int = EVER[1], **typed: Any) -> int:
    """The exit status."""
    of_request = {name: typed.pop(name) for name in ("resume", "rate", "accept_dead") if name in typed}
    request = Request("acme", Selection(**typed), since, until, "in the test", to=to, page_secs=0.0, **of_request)

    @asynccontextmanager
    async def asked(_settings: Settings) -> AsyncIterator[Any]:
        yield one.ask

    return await export(one.settings, request, asked=asked)


def failures(count: int) -> list[bytes]:
    """Events of another type between those of the hours."""
    return [at(20 + 7 * number, 500 + number).replace(b'"type":"s"', b'"type":"fp"') for number in range(count)]


@pytest.mark.parametrize("typed", [DAY, {"query": "type:s"}, {"query": "", **DAY}])
async def test_what_was_chosen_is_delivered_counted_and_audited_and_the_lane_keeps_its_place(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str], typed: dict[str, Any]
) -> None:
    events = hours_of_events(3, 50)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        before = one.journal.figures.sources["acme"].lanes["siem"]
        one.siem.batches.clear()
        assert await exported(one, **typed) == 0
        assert one.siem.events == events
        after = one.journal.figures.sources["acme"].lanes["siem"]
        assert (after.position, after.delivered, after.replayed) == (before.position, before.delivered, len(events))
        audits = [question["audit"] for what, question in one.asked if what == "replayed" and "audit" in question]
        query = f"query {typed['query']!a}, " if "query" in typed else ""
        assert audits == [f"export acme, to siem, {query}in the test using source"]
        assert capsys.readouterr().err.splitlines()[-1] == "shipper: 150 events of acme delivered to siem"
        assert list((tmp_path / "state" / "replay").iterdir()) == []


async def test_a_search_brings_only_what_it_finds(tmp_path: Path, bucket: Bucket) -> None:
    found = failures(120)
    async with scene(tmp_path, bucket, [*hours_of_events(2, 40), *found]) as one:
        await one.fill("siem")
        one.siem.batches.clear()
        assert await exported(one, query="type:fp", rate=100_000.0) == 0
        assert one.siem.events == found


async def test_an_archive_gets_only_what_it_lacks_and_nothing_that_its_lane_is_still_at(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(3, 20)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("archive")
        for key in one.keys_of(1):
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        assert await exported(one, "archive", query="") == 0
        assert sorted(one.archived()) == sorted(events)
        assert "20 events of acme delivered to archive, 40 were there already" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [DAY, {"query": ""}])
async def test_interrupted_it_goes_on_and_repeats_no_more_than_a_part_of_the_search(
    tmp_path: Path, bucket: Bucket, typed: dict[str, Any]
) -> None:
    events = [at(number % 3_500, number) for number in range(1_500)]
    events.sort()
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        one.siem.batches.clear()
        running = asyncio.create_task(exported(one, **typed))

        def broken_off(request: Received) -> Reply:
            if len(one.siem.batches) == 90:
                running.get_loop().call_soon_threadsafe(running.cancel)
                return Reply(503)
            return one.siem(request)

        one.destination.default = broken_off
        await asyncio.wait([running])
        assert running.cancelled()
        first = one.siem.events
        assert len(first) == 900
        one.siem.batches.clear()
        one.destination.default = one.siem
        assert await exported(one, **typed) == 0
        assert {*first, *one.siem.events} == set(events)
        assert len(one.siem.events) <= 600 + (1_000 if "query" in typed else 10)
        assert list((tmp_path / "state" / "replay").iterdir()) == []


async def test_what_is_refused_is_named_and_a_destination_in_trouble_is_waited_out(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(2, 20)
    bad = json.loads(events[7])["log_id"]
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        one.siem.batches.clear()

        def choosy(request: Received) -> Reply:
            if bad.encode() in request.body:
                return Reply(400, b'{"text":"Invalid data format","code":6}')
            return one.siem(request)

        one.destination.default = choosy
        one.destination.script.extend([Reply(503), "reset", Reply(429), Reply(401)])
        assert await exported(one, query="type:s") == 1
        assert one.siem.events == events[:7] + events[8:]
        said = capsys.readouterr().err
        assert f"refused (refused): {bad}" in said
        (file,) = (tmp_path / "state" / "replay").iterdir()
        assert file.name.startswith("export-acme-siem-")


async def test_a_sink_that_is_not_there_or_does_not_take_the_source_is_said(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 3)) as one:
        await one.fill("siem")
        with pytest.raises(UnknownNameError, match="there is no sink 'nowhere'"):
            await exported(one, "nowhere", query="")
        other = '[sources.other]\ntype = "auth0"\ndomain = "other.us.auth0.com"\ntoken = "x"\n'
        one.settings = one.configured('from_sources = ["other"]\n', other)
        with pytest.raises(UnknownNameError, match="the sink siem does not take acme"):
            await exported(one, query="")


async def test_what_the_tenant_refuses_brings_nothing_and_one_line(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 3)) as one:
        await one.fill("siem")
        one.siem.batches.clear()
        assert await exported(one, query="nix:1") == 1
        assert one.siem.events == []
        assert "acme: refused: HTTP 400" in capsys.readouterr().err.splitlines()[-1]
