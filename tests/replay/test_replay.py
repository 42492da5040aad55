"""`shipper replay`: from the journal, the source and an archive; interrupted, refused, and with trouble out there."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from replay_case import START_MS, Scene, at, hours_of_events, id_at, scene
from s3_case import Bucket

from shipper.journal import UnknownNameError
from shipper.replay.missing import alone
from shipper.replay.supply import SourceSupply, SupplyError
from shipper.scripted import Received, Reply
from shipper.shape.formats import FORMATS, Format
from shipper.sources.chain import Checkpoint
from shipper.sources.start import synthetic_id
from shipper.tally import HOUR_MS

pytestmark = pytest.mark.usefixtures("aws")


def audited(one: Scene) -> list[str]:
    """What was asked to be written into the audit list."""
    return [question["audit"] for what, question in one.asked if what == "replayed" and "audit" in question]


def replayed(one: Scene) -> int:
    """The journal's own counter."""
    return one.journal.figures.sources["acme"].lanes["siem"].replayed


async def test_the_journal_is_used_where_it_has_everything_and_the_live_lane_keeps_its_place(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(3, 12)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        before = one.journal.figures.sources["acme"].lanes["siem"]
        one.siem.batches.clear()
        assert await one.replay("siem", since=START_MS + HOUR_MS, until=START_MS + 2 * HOUR_MS) == 0
        assert one.siem.events == events[12:24]
        after = one.journal.figures.sources["acme"].lanes["siem"]
        assert (after.position, after.delivered) == (before.position, before.delivered)
        assert replayed(one) == 12
        (words,) = audited(one)
        assert words.startswith("replay acme to siem from 2026-09-21T")
        assert words.endswith(" using journal")
        assert "using the journal" in capsys.readouterr().err
        assert list((tmp_path / "state" / "replay").iterdir()) == []


@pytest.mark.parametrize("using", ["journal", "source"])
async def test_a_replay_goes_by_the_sinks_filter_as_it_is_today(tmp_path: Path, bucket: Bucket, using: str) -> None:
    events = [
        one.replace(b'"type":"s"', b'"type":"fp"') if n % 4 == 0 else one
        for n, one in enumerate(hours_of_events(3, 12))
    ]
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        one.siem.batches.clear()
        one.settings = one.configured(more='filter.include_categories = ["auth.login.fail"]\n')
        assert await one.replay("siem", using=using) == 0
        assert (one.siem.events, replayed(one)) == (events[::4], 9)


async def test_the_source_is_used_where_the_journal_has_let_go(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(3, 80)
    async with scene(tmp_path, bucket, events, keep_days=0) as one:
        await one.fill("siem", "archive")
        await one.journal.trim()
        one.siem.batches.clear()
        assert await one.replay("siem") == 0
        assert one.siem.events == events
        assert "using the source" in capsys.readouterr().err


async def test_the_archive_is_used_where_neither_has_it_and_its_bytes_are_the_source_s(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(3, 50)
    async with scene(tmp_path, bucket, events, keep_days=0) as one:
        await one.fill("siem", "archive")
        await one.journal.trim()
        one.siem.batches.clear()
        one.settings = one.configured()
        short = one.settings.sources["acme"].model_copy(update={"retention_days": 0.001})
        one.settings = one.settings.model_copy(update={"sources": {"acme": short}})
        assert await one.replay("siem", since=START_MS + 1) == 0
        assert one.siem.events == events[1:]
        assert "using the archive" in capsys.readouterr().err


@pytest.mark.parametrize("using", ["journal", "source", "archive"])
async def test_an_operator_may_say_where_the_events_come_from(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str], using: Any
) -> None:
    events = hours_of_events(2, 15)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem", "archive")
        one.siem.batches.clear()
        assert await one.replay("siem", using=using) == 0
        assert one.siem.events == events
        assert f"using the {using}" in capsys.readouterr().err


async def test_where_nothing_has_all_events_it_says_what_each_lacks(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 15), keep_days=0) as one:
        await one.fill("siem", "archive")
        await one.journal.trim()
        for key in one.keys_of(1):
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        short = one.settings.sources["acme"].model_copy(update={"retention_days": 0.001})
        one.settings = one.settings.model_copy(update={"sources": {"acme": short}})
        one.siem.batches.clear()
        assert await one.replay("siem") == 1
        said = capsys.readouterr().err
        assert "the journal keeps none of it any more" in said
        assert "acme keeps 0.001 days" in said
        assert "the archive lacks events of 1 hours" in said
        assert one.siem.events == []


async def test_what_a_set_checkpoint_stepped_over_is_not_taken_from_the_journal(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(3, 12)
    async with scene(tmp_path, bucket, events[:12]) as one:
        await one.fill("siem", "archive")
        for raw in events[12:]:
            one.running.tenant.add(raw)
        over = START_MS + 2 * HOUR_MS - 60_000
        await one.journal.set_checkpoint("acme", Checkpoint(synthetic_id(over)).encode(), "set", "me", over)
        await one.fill("siem")
        assert one.siem.events == events[:12] + events[24:]
        one.siem.batches.clear()
        assert await one.replay("siem") == 0
        assert one.siem.events == events
        assert "using the source" in capsys.readouterr().err
        one.siem.batches.clear()
        assert await one.replay("siem", since=over) == 0
        assert one.siem.events == events[24:]
        assert "using the journal" in capsys.readouterr().err


async def test_a_replay_is_not_called_complete_where_its_journal_was_trimmed_meanwhile(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(12, 100)
    async with scene(tmp_path, bucket, events, keep_days=0) as one:
        await one.fill("siem")
        one.siem.batches.clear()
        answer, trimmed = one.ask, 0

        async def trimmed_behind_the_first_answer(what: str, question: Any) -> Any:
            nonlocal trimmed
            found = await answer(what, question)
            if what == "events" and question["limit"] > 1 and not trimmed:
                await one.deliver("archive")
                await one.journal.trim()
                trimmed += 1
            return found

        one.ask = trimmed_behind_the_first_answer  # type: ignore[method-assign]
        assert await one.replay("siem", until=START_MS + 20 * HOUR_MS) == 1
        assert "the journal let go of events of acme before they were read" in capsys.readouterr().err
        assert len(one.siem.events) < len(events)
        one.siem.batches.clear()
        assert await one.replay("siem", until=START_MS + 20 * HOUR_MS) == 0
        assert one.siem.events == events
        assert "using the source" in capsys.readouterr().err


async def test_a_source_s_retention_that_overtakes_the_reading_is_told(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(3, 60)) as one:
        day_ms, now_ms = 86_400_000, START_MS + 9 * HOUR_MS
        config = one.settings.sources["acme"].model_copy(update={"retention_days": (now_ms - START_MS) / day_ms + 0.01})

        async def an_hour(_secs: float) -> None:
            nonlocal now_ms
            now_ms += 2 * HOUR_MS

        supply = SourceSupply("acme", config, page_secs=1.0, sleep=an_hour, wall=lambda: now_ms / 1000)
        assert await supply.lacks(START_MS, now_ms) == ""
        with pytest.raises(SupplyError, match="acme may have let go of events before they were read"):
            [portion async for portion in supply.events(START_MS, now_ms)]


@pytest.mark.parametrize("using", ["journal", "source", "archive"])
async def test_an_interrupted_replay_goes_on_and_repeats_one_batch_at_most(
    tmp_path: Path, bucket: Bucket, using: Any
) -> None:
    events = hours_of_events(3, 30)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem", "archive")
        one.siem.batches.clear()
        running = asyncio.create_task(one.replay("siem", using=using))

        def broken_off(request: Received) -> Reply:
            if len(one.siem.batches) == 4:
                running.get_loop().call_soon_threadsafe(running.cancel)
                return Reply(503)
            return one.siem(request)

        one.destination.default = broken_off
        with pytest.raises(asyncio.CancelledError):
            await running
        assert one.siem.events == events[:40]
        assert [file.suffix for file in (tmp_path / "state" / "replay").iterdir()] == [".json"]

        one.destination.default = one.siem
        assert await one.replay("siem", using=using) == 0
        assert one.siem.events[40:] in (events[40:], events[30:])
        assert list((tmp_path / "state" / "replay").iterdir()) == []


async def test_a_signal_lets_the_write_in_hand_finish_and_the_same_command_goes_on(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(3, 30)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        one.siem.batches.clear()

        def signalled(request: Received) -> Reply:
            if len(one.siem.batches) == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return one.siem(request)

        one.destination.default = signalled
        file = tmp_path / "progress.json"
        assert await one.replay("siem", resume=file) == 1
        assert "stopped before the end" in capsys.readouterr().err
        stopped_behind = json.loads(file.read_bytes())["delivered"]
        assert one.siem.events == events[:stopped_behind]
        assert 50 <= stopped_behind < 90

        one.destination.default = one.siem
        assert await one.replay("siem", resume=file) == 0
        assert one.siem.events == events
        assert not file.exists()


async def test_a_destination_in_trouble_is_waited_out(tmp_path: Path, bucket: Bucket) -> None:
    events = hours_of_events(2, 20)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        one.siem.batches.clear()
        one.destination.script.extend([Reply(503), "reset", one.siem, Reply(429), Reply(401), one.siem])
        assert await one.replay("siem") == 0
        assert one.siem.events == events


async def test_events_that_are_refused_are_told_with_their_reason_and_kept_in_a_file(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(2, 20)
    bad = {id_at(0), json.loads(events[25])["log_id"], json.loads(events[39])["log_id"]}
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        one.siem.batches.clear()

        def choosy(request: Received) -> Reply:
            if any(id_.encode() in request.body for id_ in bad):
                return Reply(400, b'{"text":"Invalid data format","code":6}')
            return one.siem(request)

        one.destination.default = choosy
        assert await one.replay("siem") == 1
        assert sorted(one.siem.events) == sorted(raw for raw in events if json.loads(raw)["log_id"] not in bad)
        said = capsys.readouterr().err
        assert all(f"refused (refused): {id_}" in said for id_ in bad)
        assert "37 events of acme delivered to siem" in said
        (file,) = (tmp_path / "state" / "replay").iterdir()
        kept = [json.loads(line) for line in file.read_text().splitlines()]
        assert {line["log_id"] for line in kept} == bad
        assert {line["reason"] for line in kept} == {"refused"}
        assert file.stat().st_mode & 0o777 == 0o600
        assert replayed(one) == 37


async def test_a_replay_that_is_held_for_refusing_everything_goes_on_where_an_operator_accepts_that(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(2, 10)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("siem")
        one.settings = one.configured("max_dead_in_a_row = 3\n")
        refuse = Reply(400, b'{"text":"their words","code":6,"invalid-event-number":0}')
        one.siem.batches.clear()
        one.destination.script.extend([refuse] * 8)
        assert await one.replay("siem", accept_dead=8) == 1
        assert one.siem.events == events[8:]
        assert "8 events were refused" in capsys.readouterr().err


async def test_where_everything_is_refused_nothing_is_called_delivered(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 5)) as one:
        await one.fill("siem")
        one.destination.default = Reply(400, b'{"text":"Invalid data format","code":6}')
        assert await one.replay("siem") == 1
        assert replayed(one) == 0
        (file,) = (tmp_path / "state" / "replay").iterdir()
        assert len(file.read_text().splitlines()) == 5


async def test_an_archive_gets_only_what_it_lacks_and_nothing_that_its_lane_is_still_to_bring(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    events = hours_of_events(3, 30)
    async with scene(tmp_path, bucket, events, now_hours=2.8) as one:
        await one.fill("archive")
        (key, *_) = one.keys_of(0)
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
        for key in one.keys_of(2):
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        assert await one.replay("archive") == 0
        assert sorted(one.archived()) == sorted(events[:60])
        said = capsys.readouterr().err
        assert "30 events of acme delivered to archive, 30 were there already" in said
        assert "left to the lane itself, which is still at it: 1 hours" in said


async def test_of_two_that_fill_an_archive_at_once_the_second_is_refused(tmp_path: Path, bucket: Bucket) -> None:
    events = hours_of_events(2, 60)
    async with scene(tmp_path, bucket, events) as one:
        await one.fill("archive")
        for key in one.keys_of(0) + one.keys_of(1):
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        # Both would find the archive empty, and cut their objects at other events.
        both = one.replay("archive", since=START_MS + HOUR_MS // 2), one.replay("archive")
        one_of_them, other = await asyncio.gather(*both, return_exceptions=True)
        refused = other if one_of_them == 0 else one_of_them
        assert isinstance(refused, UnknownNameError)
        assert "another replay, export or repair is writing into an archive: let it end first" in str(refused)
        assert await one.replay("archive") == 0
        assert sorted(one.archived()) == sorted(events)


async def test_while_one_fills_an_archive_nothing_is_repaired_and_a_siem_is_replayed_to(
    tmp_path: Path, bucket: Bucket
) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10)) as one:
        await one.fill("archive", "siem")
        bucket.client.delete_object(Bucket=bucket.name, Key=one.keys_of(0)[0])
        with alone(one.settings.state_dir):
            with pytest.raises(UnknownNameError, match="let it end first"):
                await one.verify(repair=True)
            assert (await one.verify())[0] == 1
            assert await one.replay("siem") == 0
        assert (await one.verify(repair=True))[0] == 0


async def test_a_rate_is_kept(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 30)) as one:
        await one.fill("siem")
        one.siem.batches.clear()
        began = asyncio.get_running_loop().time()
        assert await one.replay("siem", rate=100.0) == 0
        # The third batch of ten may not leave before the first two had their tenths of a second.
        assert asyncio.get_running_loop().time() - began >= 0.2
        assert len(one.siem.events) == 30


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_an_odd_event_is_survives_the_archive(tmp_path: Path, bucket: Bucket, format_: Format) -> None:
    odd = [
        b'{"date":"2026-09-21T14:00:01.000Z","type":"s"}',
        b'{"log_id":"%s","type":"s","x":"\\ud83d"}' % id_at(5).encode(),
        b'{"_id":"5f9f1b9b9b9b9b9b9b9b9b9b","date":"2026-09-21T14:00:02.000Z","n":1e400}',
    ]
    async with scene(tmp_path, bucket, [*odd, at(7)]) as one:
        one.settings = one.configured(archive=f'format = "{format_}"\n')
        await one.fill("siem", "archive")
        live = list(one.siem.events)
        assert sorted(live) == sorted([*odd, at(7)])
        one.siem.batches.clear()
        assert await one.replay("siem", using="archive") == 0
        assert sorted(one.siem.events) == sorted(live)
        assert (await one.verify())[0] == 0


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"to": "nowhere"}, "there is no sink 'nowhere' (there are: archive, siem)"),
        ({"to": "siem", "source": "nobody"}, "there is no source 'nobody' (there are: acme)"),
        ({"to": "siem", "archive": "siem"}, "what the sink siem wrote can't be read back"),
        ({"to": "siem", "resume": "another"}, "belongs to another run: replay acme to siem from 1970"),
        ({"to": "siem", "resume": "broken"}, "is no file of progress"),
    ],
)
async def test_names_that_are_not_there_end_it_in_one_line(
    tmp_path: Path, bucket: Bucket, typed: dict[str, Any], words: str
) -> None:
    (tmp_path / "another").write_text('{"what":"replay acme to siem from 1970","using":"journal"}')
    (tmp_path / "broken").write_text("{")
    if "resume" in typed:
        typed = {**typed, "resume": tmp_path / typed["resume"]}
    async with scene(tmp_path, bucket, hours_of_events(1, 3)) as one:
        await one.fill("siem")
        with pytest.raises(UnknownNameError) as raised:
            await one.replay(typed["to"], **{name: value for name, value in typed.items() if name != "to"})
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)
