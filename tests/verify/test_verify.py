"""`shipper verify`: the ledger, a bucket, a source, and what a SIEM exported."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from replay_case import START_MS, at, hours_of_events, id_at, scene
from s3_case import Bucket

from shipper.archive import Archive
from shipper.archive.closing import PATIENCE_MS, Closing
from shipper.journal import Burial, UnknownNameError
from shipper.replay.names import opened
from shipper.sources.chain import Checkpoint
from shipper.sources.start import synthetic_id
from shipper.tally import HOUR_MS

pytestmark = pytest.mark.usefixtures("aws")


async def test_what_was_delivered_whole_is_clean(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(3, 30)) as one:
        await one.fill("archive")
        status, printed = await one.verify()
        assert (status, printed) == (0, "acme: 3 hours with 90 events compared: all is there, once\n")
        assert (await one.verify())[0] == 0


async def test_an_object_that_was_deleted_is_missing_in_its_hour_and_repair_brings_it_back(
    tmp_path: Path, bucket: Bucket
) -> None:
    async with scene(tmp_path, bucket, hours_of_events(3, 30)) as one:
        await one.fill("archive")
        before = one.bucket.lines()
        (key, *_) = one.keys_of(1)
        gone = len(before[key])
        bucket.client.delete_object(Bucket=bucket.name, Key=key)

        status, printed = await one.verify()
        assert status == 1
        assert one.hour(1) in printed
        assert f"{gone} missing, 0 extra, 0 twice in 1 hours" in printed
        assert id_at(3600) in printed

        status, printed = await one.verify(repair=True)
        assert status == 0
        assert printed.endswith("all is there, once\n")
        assert one.bucket.lines() == before
        assert (await one.verify())[0] == 0


FAILURES = 'filter.include_types = ["fp"]\n'


async def test_what_a_filter_leaves_out_is_neither_missing_nor_repaired(tmp_path: Path, bucket: Bucket) -> None:
    events = [
        one.replace(b'"type":"s"', b'"type":"fp"') if n % 3 else one for n, one in enumerate(hours_of_events(3, 30))
    ]
    async with scene(tmp_path, bucket, events) as one:
        one.settings = one.configured(archive=FAILURES)
        await one.fill("archive")
        before = one.bucket.lines()
        status, printed = await one.verify()
        assert status == 0
        assert printed.startswith("30 more events of these hours were not for it to hold")
        assert printed.endswith("acme: 3 hours with 60 events compared: all is there, once\n")
        assert (await one.verify())[0] == 0

        for key in one.keys_of(1):
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        status, printed = await one.verify()
        assert "20 missing, 0 extra, 0 twice in 1 hours" in printed
        assert (await one.verify(repair=True))[0] == 0
        assert one.bucket.lines() == before


async def test_the_repair_takes_the_source_where_the_journal_has_let_go(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 20), keep_days=0) as one:
        await one.fill("archive", "siem")
        await one.journal.trim()
        before = sorted(one.archived())
        for key in one.keys_of(0):
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        status, _ = await one.verify(repair=True)
        assert status == 0
        assert sorted(one.archived()) == before


async def test_an_event_that_is_there_twice_is_named(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10)) as one:
        await one.fill("archive")
        assert await one.replay("archive") == 0
        assert (await one.verify())[0] == 0, "a replay brings an archive nothing that it has"
        (key,) = one.keys_of(0)
        whole = bucket.get(key)
        twin = key.replace(".jsonl", "-2.jsonl")
        bucket.client.put_object(Bucket=bucket.name, Key=twin, Body=whole["Body"], Metadata=whole["Metadata"])
        status, printed = await one.verify()
        assert status == 1
        assert "0 missing, 0 extra, 10 twice in 1 hours" in printed
        assert id_at(0) in printed


async def test_an_event_that_nobody_delivered_is_extra(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10)) as one:
        await one.fill("archive")
        (key,) = one.keys_of(0)
        line = b'{"log_id":"%s","data":{}}\n' % id_at(7, 77).encode()
        there = id_at(7, 77)
        strange = key.rpartition("/")[0] + f"/{there}-{there}.jsonl"
        metadata = {"events": "1", "first": there, "last": there, "content-sha256": hashlib.sha256(line).hexdigest()}
        bucket.client.put_object(Bucket=bucket.name, Key=strange, Body=line, Metadata=metadata)
        status, printed = await one.verify()
        assert status == 1
        assert "0 missing, 1 extra, 0 twice in 1 hours" in printed
        assert there in printed


async def test_an_object_that_is_not_ours_and_one_that_was_altered_are_differences(
    tmp_path: Path, bucket: Bucket
) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10)) as one:
        await one.fill("archive")
        folder = one.keys_of(0)[0].rpartition("/")[0]
        bucket.put(f"{folder}/notes.txt", b"mine")
        status, printed = await one.verify()
        assert status == 1
        assert "not ours: " in printed
        assert "notes.txt" in printed

        bucket.client.delete_object(Bucket=bucket.name, Key=f"{folder}/notes.txt")
        (key,) = one.keys_of(1)
        metadata = bucket.get(key)["Metadata"]
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"no gzip", Metadata=metadata)
        assert (await one.verify(quick=True))[0] == 0, "by its metadata alone it looks whole"
        status, printed = await one.verify()
        assert status == 1
        assert "damaged: " in printed
        assert "10 missing" in printed

        status, printed = await one.verify(repair=True)
        assert status == 1, "what stands there is for a person to judge"
        assert "damaged: " in printed
        assert "2 hours with 20 events compared: 0 missing, 0 extra, 0 twice" in printed
        assert len(one.keys_of(1)) == 2


async def test_an_altered_object_of_a_time_that_no_ledger_knows_is_found(tmp_path: Path, bucket: Bucket) -> None:
    """As an auditor has it, years later, with the journal long gone."""
    async with scene(tmp_path / "before", bucket, hours_of_events(2, 10)) as one:
        await one.fill("archive")
        (key,) = one.keys_of(0)
    async with scene(tmp_path, bucket, [at(8 * 3600)]) as one:
        one.settings = one.configured(source=f'start = "{id_at(7 * 3600)}"')
        await one.fill("archive")
        assert (await one.verify(with_source=False))[0] == 0
        there = bucket.get(key)
        altered = gzip.compress(gzip.decompress(there["Body"]).replace(b'"s"', b'"f"', 1))
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=altered, Metadata=there["Metadata"])
        status, printed = await one.verify(with_source=False)
        assert status == 1
        assert f"damaged: {key.removeprefix('auth0/')}: the lines are not those of its content-sha256" in printed


async def test_hours_with_events_on_their_way_are_open_and_no_difference(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10), now_hours=1.9) as one:
        await one.fill("archive")
        status, printed = await one.verify()
        assert status == 0
        assert f"still open, not compared: {one.hour(1)}" in printed
        assert "1 hours with 10 events" in printed


async def test_a_lane_that_has_not_delivered_yet_misses_nothing(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10)) as one:
        await one.fill()
        status, printed = await one.verify()
        assert status == 0
        assert f"still open, not compared: {one.hour(0)} to {one.hour(1)}" in printed


async def test_what_the_source_has_and_the_journal_never_stored_is_found(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10)) as one:
        await one.fill("archive")
        one.running.tenant.add(at(1800, 99))
        status, printed = await one.verify()
        assert status == 1
        assert "acme → journal" in printed
        assert id_at(1800, 99) in printed
        assert "1 missing, 0 extra, 0 twice" in printed
        assert (await one.verify(with_source=False))[0] == 0


async def test_a_bucket_that_can_not_be_read_ends_it_in_one_line(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 5)) as one:
        await one.fill("archive")
        store = f'type = "s3"\nbucket = "no-such-bucket"\nendpoint_url = "{bucket.url}"\nregion = "eu-west-1"\n'
        one.settings = one.configured(f'[sinks.elsewhere]\nproxy = "none"\n{store}')
        status, printed = await one.verify("elsewhere")
        assert status == 1
        assert printed == ""
        assert "shipper: the archive: not_found" in capsys.readouterr().err


async def test_an_export_of_a_siem_is_compared_with_the_ledger(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(3, 10)) as one:
        await one.fill("siem")
        ids = [json.loads(raw)["log_id"] for raw in one.siem.events]
        forms: list[Callable[[str], str]] = [
            str,
            json.dumps,
            lambda id_: json.dumps({"log_id": id_}),
            lambda id_: json.dumps({"data": {"log_id": id_, "type": "s"}}),
            lambda id_: json.dumps({"_id": id_}),
        ]
        file = tmp_path / "export.ndjson"

        def export(given: list[str]) -> None:
            file.write_text("\n".join(forms[n % len(forms)](id_) for n, id_ in enumerate(given)) + "\n")

        export(ids[::-1])
        assert await one.verify("siem", against=file) == (
            0,
            "acme: 3 hours with 30 events compared: all is there, once\n",
        )
        export([id_ for id_ in ids if id_ != ids[4]] + [ids[25]])
        status, printed = await one.verify("siem", against=file)
        assert status == 1
        assert "1 missing, 0 extra, 1 twice in 2 hours" in printed
        assert f"missing: {ids[4]}" in printed
        assert f"twice: {ids[25]}" in printed

        before = len(one.siem.events)
        status, _ = await one.verify("siem", against=file, repair=True)
        assert status == 1
        assert [json.loads(raw)["log_id"] for raw in one.siem.events[before:]] == [ids[4]]


async def test_lines_of_an_export_that_hold_no_id_are_told(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 5)) as one:
        await one.fill("siem")
        ids = [json.loads(raw)["log_id"] for raw in one.siem.events]
        file = tmp_path / "export.ndjson"
        file.write_text("\n".join([*ids, '{"log_id": 5}', "two words", "", id_at(-7200), "5f9f1b9b9b9b9b9b9b9b9b9b"]))
        status, printed = await one.verify("siem", against=file)
        assert status == 0
        assert "2 lines of the file hold no id" in printed
        assert "1 ids of the file are of other hours" in printed
        assert "1 ids of the file tell no time" in printed


async def test_dead_letters_are_not_missing_and_not_repaired(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 5)) as one:
        await one.fill()
        lane, _ = await one.journal.lane("acme", "archive")
        await lane.ack(5, [Burial(2, "refused")])
        status, printed = await one.verify()
        assert status == 1
        assert "4 missing" in printed
        status, printed = await one.verify(repair=True)
        assert status == 0
        assert len(one.archived()) == 4
        assert "\n1 more events of these hours were not for it to hold: dead letters, " in printed


async def test_what_arrives_while_it_is_compared_is_no_difference(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 5)) as one:
        await one.fill("archive")
        late = at(60, 77)
        real = one.ask
        ledgers = iter(["for the supplies", "for the comparison"])

        async def ask(what: str, question: object) -> object:
            answer = await real(what, question)
            if what == "ledger" and next(ledgers, "") == "for the comparison":
                await one.store(late)
                await one.deliver("archive")
            return answer

        one.ask = ask  # type: ignore[method-assign]
        status, printed = await one.verify(with_source=False)
        assert status == 0
        assert f"still open, not compared: {one.hour(0)}" in printed


async def test_an_auditor_finds_a_digest_that_was_changed(tmp_path: Path, bucket: Bucket) -> None:
    now_hours = 60.0
    async with scene(tmp_path, bucket, hours_of_events(3, 10), now_hours=now_hours) as one:
        await one.fill("archive")
        now = START_MS + int(now_hours * HOUR_MS)
        async with opened(one.settings, "archive") as sink:
            assert isinstance(sink, Archive)
            assert await Closing(sink, "acme", "archive", one.ask, one.log).run_once(now, now) >= 1
        status, printed = await one.verify()
        assert status == 0, printed
        assert "digests account for" in printed

        keys = bucket.keys()
        (key, *_) = [key for key in keys if "/_digest/" in key]
        bucket.put(key, bucket.get(key)["Body"].replace(b'"filtered": 0', b'"filtered": 1'))
        status, printed = await one.verify()
        assert status == 1
        assert "the chain of digests: 2026-09-22 broken_chain" in printed


async def test_a_day_that_came_again_into_its_own_objects_lacks_nothing(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(3, 30), now_hours=60.0) as one:
        await one.fill("archive")
        keys, before = bucket.keys(), START_MS - 1000
        await one.journal.set_checkpoint("acme", Checkpoint(synthetic_id(before)).encode(), "set", "me", before)
        await one.fill("archive")
        assert bucket.keys() == keys, "equal objects are there once"
        async with opened(one.settings, "archive") as sink:
            assert isinstance(sink, Archive)
            closing, now = Closing(sink, "acme", "archive", one.ask, one.log), START_MS + 60 * HOUR_MS
            assert await closing.run_once(now, now) == 0, "the ledger counts twice what stands there once"
            assert await closing.run_once(now + PATIENCE_MS, now) >= 1
        day: dict[str, Any] = {"since": START_MS - 14 * HOUR_MS, "until": START_MS + 10 * HOUR_MS, "with_source": False}
        status, printed = await one.verify(**day)
        assert status == 0, printed
        assert "fewer_events" in printed
        assert (await one.verify(**{**day, "since": START_MS}))[0] == 1, "of a part of a day nothing is known"
        assert (await one.verify(**day, quick=True))[0] == 1, "what was not read proves nothing"
        bucket.client.delete_object(Bucket=bucket.name, Key=one.keys_of(1)[0])
        assert "fewer_events" in (await one.verify(**day))[1]
        assert (await one.verify(**day))[0] == 1


async def test_the_repair_makes_the_very_objects_that_the_digests_list(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(3, 30), now_hours=60.0) as one:
        await one.fill("archive")
        now = START_MS + 60 * HOUR_MS
        async with opened(one.settings, "archive") as sink:
            assert isinstance(sink, Archive)
            await Closing(sink, "acme", "archive", one.ask, one.log).run_once(now, now)
        before, gone = one.archived(), one.keys_of(1)
        assert len(gone) == 2
        for key in gone:
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        status, printed = await one.verify(repair=True)
        assert status == 0, printed
        assert "missing_object" in printed
        assert one.keys_of(1) == gone
        assert one.archived() == before


async def test_a_gap_at_the_source_is_told(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(2, 10)) as one:
        await one.fill("archive")
        handle, _ = await one.journal.source("acme", "auth0:acme.us.auth0.com")
        await handle.gap(START_MS + 3 * HOUR_MS, START_MS + 4 * HOUR_MS, may_be_empty=False)
        _, printed = await one.verify()
        assert "a gap: the source had let go of 2026-09-21T" in printed


async def test_a_sink_that_can_not_be_read_back_needs_an_export(tmp_path: Path, bucket: Bucket) -> None:
    async with scene(tmp_path, bucket, hours_of_events(1, 3)) as one:
        await one.fill("siem")
        with pytest.raises(UnknownNameError, match=r"export its log_ids, and say --against FILE\.ndjson"):
            await one.verify("siem")
        with pytest.raises(UnknownNameError, match=r"nowhere\.ndjson: No such file"):
            await one.verify("siem", against=tmp_path / "nowhere.ndjson")


@pytest.mark.parametrize("word", ["recovered", "imported"])
async def test_a_source_that_goes_on_where_another_journal_was_is_compared_and_replayed(
    tmp_path: Path, bucket: Bucket, word: str
) -> None:
    events = hours_of_events(3, 30)
    (tmp_path / "lost").mkdir()
    async with scene(tmp_path / "lost", bucket, events[:45]) as one:
        await one.fill("archive")
    async with scene(tmp_path, bucket, events) as one:
        handle, _ = await one.journal.source("acme", "auth0:acme.us.auth0.com")
        since = START_MS + HOUR_MS // 2
        await one.journal.lane("acme", "archive", f"id:{json.loads(events[44])['log_id']}")
        await handle.begin(word, Checkpoint(synthetic_id(since)).encode(), since)
        await one.fill("archive", "siem")
        assert sorted(one.archived()) == sorted(events)
        status, printed = await one.verify()
        assert status == 0, printed
        assert f"nothing to compare with: {one.hour(0)}\n" in printed, "of its first hour it knows a part"
        assert "2 hours with 45 events compared: all is there, once" in printed
        one.siem.batches.clear()
        assert await one.replay("siem", since=START_MS + HOUR_MS, until=START_MS + 2 * HOUR_MS) == 0
        assert one.siem.events == events[30:60]

        bucket.client.delete_object(Bucket=bucket.name, Key=one.keys_of(1)[0])
        assert (await one.verify())[0] == 1, "what the earlier one brought is missed, too"


async def test_events_that_came_again_since_a_checkpoint_was_set_back_are_not_missing(
    tmp_path: Path, bucket: Bucket
) -> None:
    async with scene(tmp_path, bucket, hours_of_events(3, 30), keep_days=0) as one:
        await one.fill("archive", "siem")
        once, twice = one.place / "once.ndjson", one.place / "twice.ndjson"
        once.write_bytes(b"\n".join(one.siem.events))
        again = START_MS + HOUR_MS // 2
        await one.journal.set_checkpoint("acme", Checkpoint(synthetic_id(again)).encode(), "set", "me", again)
        await one.fill("archive", "siem")
        twice.write_bytes(b"\n".join(one.siem.events))

        for sink, against, with_source in (("archive", None, False), ("siem", twice, False), ("archive", None, True)):
            status, printed = await one.verify(sink, with_source=with_source, against=against)
            assert status == 0, printed
            assert "74 events are there once more, as the ledger says: a checkpoint was set back" in printed
        twice.write_bytes(b"\n".join([*one.siem.events, one.siem.events[0]]))
        _, printed = await one.verify("siem", with_source=False, against=twice)
        assert "0 missing, 0 extra, 1 twice in 1 hours" in printed, "more often than the ledger says"
        assert f"twice: {id_at(0)}" in printed
        status, printed = await one.verify("siem", with_source=False, against=once)
        assert status == 0, printed
        once.write_bytes(b"\n".join(one.siem.events[:40] + one.siem.events[41:90]))
        assert "1 missing, 0 extra, 0 twice" in (await one.verify("siem", with_source=False, against=once))[1]

        await one.journal.trim()
        assert (await one.verify(since=START_MS + HOUR_MS))[0] == 0, "what came again as a whole is told by the sums"
        _, printed = await one.verify("siem", with_source=False, against=once)
        assert "missing, 0 extra, 0 twice in 2 hours" in printed, "but for what came again in part, the sums tell"
