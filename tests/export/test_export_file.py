"""`shipper export` into a file and to stdout: exact bytes, each once, wherever it was interrupted."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from export_case import NOW_MS, Scene, cut_off, made, scene, spread

from shipper.export.output import output_to
from shipper.export.session import export
from shipper.journal import UnknownNameError
from shipper.replay.progress import Progress, save
from shipper.shape.formats import FORMATS, Format, lines, parts
from shipper.simulator.answer import Answer, Asked, error
from shipper.simulator.tenant import Tenant
from shipper.sources import split
from shipper.sources.kinds import kind_of
from shipper.sources.selection import EVER

OLD_ID = b"90020260101" + b"0" * 45
MODES: list[dict[str, Any]] = [{}, {"query": "type:s"}, {"query": "", "sort": "date:-1"}, {"user": "auth0|1"}]


async def interrupted(one: Scene, request: int, **typed: Any) -> bool:
    """Exports until this request and no further. Returns whether there were so many."""
    return await cut_off(one.export(**typed), one.tenant, request)


# -- by the tenant's own order -----------------------------------------------------------------------------------------


async def test_everything_comes_in_the_tenants_order_with_its_own_bytes(tmp_path: Path) -> None:
    found = [
        b'{"log_id":"%b", "n":1e400 ,"cut":"\\ud83e","u":"\xc3\xa9"}' % OLD_ID,
        b'{"date":"2026-09-21T10:00:00Z","_id":"5f7c8ec7c33c6c004bbafe82"}',
        b'{"type":"no id at all","nested":{"log_id":"1"}}',
        *spread(350),
    ]
    async with scene(tmp_path, found) as one:
        assert await one.export() == 0
        assert one.lines() == [raw for _, raw in one.tenant.issued()]
        assert not one.progress.exists()


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_line_is_in_the_format_that_was_asked_for(tmp_path: Path, format_: Format) -> None:
    found = spread(3)
    async with scene(tmp_path, found) as one:
        assert await one.export(format=format_) == 0
        events = [split.event_of(raw, 0) for raw in found]
        origin = kind_of(one.settings.sources["acme"]).origin("acme")
        assert one.lines() == lines(format_, events, origin, add_tenant_name=False)
        assert format_ == "raw" or [parts(line) for line in one.lines()] == [(one.id, one.raw) for one in events]


async def test_a_range_begins_with_its_first_moment_and_ends_before_its_last(tmp_path: Path) -> None:
    found = spread(400)
    async with scene(tmp_path, found) as one:
        assert await one.export(since=NOW_MS - 300_000, until=NOW_MS - 100_000) == 0
        assert one.lines() == found[100:300]
        # Nothing of what lies long before is asked for.
        assert len(one.asked) <= 6


async def test_it_ends_where_the_tenant_was_when_it_began(tmp_path: Path) -> None:
    """Whatever this machine's clock says, and though there is never an empty page."""
    found = spread(250)
    async with scene(tmp_path, found) as one:
        more = iter(range(1, 1_000))

        def busy(_: Asked) -> None:
            one.tenant.add(made(-next(more) * 1_000, 500))

        one.tenant.script += [busy] * 500
        assert await one.export() == 0
        assert one.lines() == found


async def test_an_envelope_has_the_id_beside_the_events_own_bytes(tmp_path: Path) -> None:
    found = spread(3)
    async with scene(tmp_path, found) as one:
        assert await one.export(format="envelope") == 0
        ids = [json.loads(raw)["log_id"].encode() for raw in found]
        assert one.lines() == [b'{"log_id":"%b","data":%b}' % pair for pair in zip(ids, found, strict=True)]


async def test_where_made_up_positions_are_refused_it_searches_for_its_beginning(tmp_path: Path) -> None:
    found = spread(400)

    def refuses(asked: Asked) -> Answer | None:
        position = asked.query.get("from", "")
        return error(400, "Bad Request", "no such log_id") if position.endswith("0" * 39) else None

    async with scene(tmp_path, found) as one:
        one.tenant.script += [refuses] * 50
        assert await one.export(since=NOW_MS - 100_000) == 0
        assert one.lines() == found[300:]


def with_link(link: str) -> Callable[[Tenant], Callable[[Asked], Answer]]:
    def of(tenant: Tenant) -> Callable[[Asked], Answer]:
        def answer(asked: Asked) -> Answer:
            usual = tenant.answer(asked)
            return Answer(usual.status, {**usual.headers, "Link": link}, usual.body)

        return answer

    return of


@pytest.mark.parametrize("link", ["", "<http://evil.example/api/v2/logs?from=1&take=100>; rel=next", "<//["])
async def test_a_link_that_leads_elsewhere_is_never_followed(tmp_path: Path, link: str) -> None:
    found = spread(350)
    async with scene(tmp_path, found) as one:
        one.tenant.script += [with_link(link)(one.tenant)] * 50
        assert await one.export() == 0
        assert one.lines() == found


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (f"</api/v2/logs?from={900}{'0' * 53}&take=100>; rel=next", "the tenant's chain makes no progress"),
        (
            "</api/v2/logs?from=90019700101000000000000000000000000000000000000000000000&take=100>; rel=next",
            "no progress",
        ),
    ],
)
async def test_a_chain_that_leads_back_ends_in_words_and_repeats_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], link: str, says: str
) -> None:
    found = spread(350)
    async with scene(tmp_path, found) as one:
        one.tenant.script += [lambda _: None, lambda _: None] + [with_link(link)(one.tenant)] * 200
        assert await one.export(since=NOW_MS - 400_000) == 1
        assert one.lines() == found[:100]
        assert says in capsys.readouterr().err
        one.tenant.script.clear()
        assert await one.export(since=NOW_MS - 400_000) == 0
        assert one.lines() == found


async def test_what_may_be_gone_is_said_and_the_rest_comes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene(tmp_path, spread(50)) as one:
        one.settings = one.configured().model_copy(
            update={"sources": {"acme": one.settings.sources["acme"].model_copy(update={"retention_days": 0.0001})}}
        )
        assert await one.export(since=NOW_MS - 30_000) == 0
        assert len(one.lines()) == 30
        assert "acme: events may be gone: it keeps 0.0001 days: since " in capsys.readouterr().err
        one.out.unlink()
        # All that there is was asked for.
        assert await one.export() == 0
        assert "may be gone" not in capsys.readouterr().err


# -- interrupted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", MODES)
async def test_interrupted_at_any_request_the_same_command_goes_on_with_nothing_missing_or_twice(
    tmp_path: Path, typed: dict[str, Any]
) -> None:
    events = spread(450, 60_000, user_id="auth0|1")
    # Without a position of its own, an event is known by the page that it came in.
    events += [] if typed else [b'{"no":"id"}', b'{"nor":"id"}']
    async with scene(tmp_path, events) as one:
        assert await one.export(**typed, output=str(tmp_path / "whole")) == 0
        whole = (tmp_path / "whole").read_bytes()
        requests = len(one.asked)
        assert requests >= 5
        for request in range(1, requests + 1):
            assert await interrupted(one, request, **typed)
            assert whole.startswith(one.out.read_bytes())
            assert await one.export(**typed) == 0
            assert one.out.read_bytes() == whole
            assert not one.progress.exists()
            one.out.unlink()


async def test_interrupted_again_and_again_it_comes_to_its_end(tmp_path: Path) -> None:
    events = [made(60_000 * (number % 7), number) for number in range(2_500)]
    async with scene(tmp_path, events) as one:
        size = -1
        while await interrupted(one, 30, query="type:s"):
            assert one.out.stat().st_size > size, "it gets nowhere"
            size = one.out.stat().st_size
        lines = one.lines()
        assert sorted(lines) == sorted(events)


@pytest.mark.parametrize("torn", [b"", b"x", b'{"log_id":"1"}\n{"half', b"\0" * 200_000])
async def test_a_file_that_was_torn_behind_the_last_whole_state_is_cut_back(tmp_path: Path, torn: bytes) -> None:
    """As a kill leaves it between writing events and writing down that they are there."""
    events = spread(450)
    async with scene(tmp_path, events) as one:
        for request in range(2, 7):
            await interrupted(one, request)
            with one.out.open("ab") as file:
                file.write(torn)
            one.progress.with_name(one.progress.name + ".new").write_bytes(b'{"what":"ha')
            assert await one.export() == 0
            assert one.lines() == events
            one.out.unlink()


async def test_killed_before_anything_was_written_down_it_begins_with_the_empty_file(tmp_path: Path) -> None:
    events = spread(5)
    async with scene(tmp_path, events) as one:
        one.out.touch(0o644)
        assert await one.export() == 0
        assert one.lines() == events
        assert stat.S_IMODE(one.out.stat().st_mode) == 0o600


@pytest.mark.parametrize("query", [None, ""])
async def test_killed_behind_the_last_event_it_only_ends(tmp_path: Path, query: str | None) -> None:
    events = spread(150)
    async with scene(tmp_path, events) as one:
        assert await one.export(query=query) == 0
        last = json.loads(events[-1])["log_id"]
        place = json.dumps({"last": last}) if query is None else json.dumps({"windows": []})
        size = one.out.stat().st_size
        save(one.progress, Progress(one.request(query=query).words, "source", place, 150, until=EVER[1], size=size))
        assert await one.export(query=query) == 0
        assert one.lines() == events
        assert not one.progress.exists()


async def test_a_range_that_ends_now_keeps_its_end_when_it_goes_on(tmp_path: Path) -> None:
    events = spread(350)
    async with scene(tmp_path, events) as one:
        await interrupted(one, 3, until=NOW_MS - 50_000)
        # The same words, some time later.
        later = msgspec.structs.replace(one.request(until=NOW_MS), times=one.request(until=NOW_MS - 50_000).times)
        assert await export(one.settings, later, sleep=one.naps) == 0
        assert one.lines() == events[:300]


async def test_what_has_become_too_old_meanwhile_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene(tmp_path, spread(350)) as one:
        await interrupted(one, 4)
        short = one.settings.sources["acme"].model_copy(update={"retention_days": 0.0001})
        one.settings = one.settings.model_copy(update={"sources": {"acme": short}})
        assert await one.export() == 0
        assert "it stopped at 2026-09-21T14:" in capsys.readouterr().err


async def test_progress_is_kept_where_it_is_said(tmp_path: Path) -> None:
    events = spread(350)
    async with scene(tmp_path, events) as one:
        elsewhere = tmp_path / "state of it.json"
        await interrupted(one, 4, resume=elsewhere)
        assert elsewhere.exists()
        assert not one.progress.exists()
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
        assert await one.export(resume=elsewhere) == 0
        assert one.lines() == events
        assert not elsewhere.exists()


async def test_missing_events_are_not_forgotten_by_what_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = [made(900_000, number) for number in range(1_203)]
    async with scene(tmp_path, [*crowd, *spread(800)], totals_of_all=True) as one:
        assert await one.export(query="", output=str(tmp_path / "whole")) == 1
        requests = len(one.asked)
        await interrupted(one, requests - 2, query="")
        capsys.readouterr()
        assert await one.export(query="") == 1
        assert capsys.readouterr().err.splitlines()[-1] == "shipper: 203 events could not be had: see above"
        assert one.out.read_bytes() == (tmp_path / "whole").read_bytes()


# -- files that are there ----------------------------------------------------------------------------------------------


async def refused(one: Scene, says: str, **typed: Any) -> None:
    before = one.out.read_bytes() if one.out.is_file() else None
    with pytest.raises(UnknownNameError) as found:
        await one.export(**typed)
    assert says in str(found.value)
    assert "\n" not in str(found.value)
    assert (one.out.read_bytes() if one.out.is_file() else None) == before


async def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    async with scene(tmp_path, spread(350)) as one:
        one.out.write_bytes(b"somebody's\n")
        await refused(one, f"{one.out}: is there already: name a new file")
        one.out.unlink()
        assert await one.export() == 0
        await refused(one, f"{one.out}: is there already")


async def test_progress_of_another_export_is_not_gone_on_with(tmp_path: Path) -> None:
    async with scene(tmp_path, spread(350)) as one:
        await interrupted(one, 4)
        for typed in (
            {"query": ""},
            {"format": "envelope"},
            {"since": 5},
            {"user": "x"},
            {"query": "", "sort": "ip:1"},
        ):
            await refused(one, "belongs to another run: export acme, as raw, from 0 until None: name another", **typed)
        one.progress.write_bytes(b"\xff{")
        await refused(
            one, f"{one.progress} is no file of progress: name another file with --resume, or remove this one"
        )


async def test_a_file_that_someone_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    async with scene(tmp_path, spread(350)) as one:
        await interrupted(one, 5)
        one.out.write_bytes(one.out.read_bytes()[:-1])
        await refused(one, f"{one.out}: something else made it shorter than {one.progress} says: remove both to begin")
        one.out.unlink()
        await refused(one, f"{one.out}: is gone: remove {one.progress} to begin anew")
        assert not one.out.exists()


async def test_only_a_regular_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene(tmp_path, spread(3)) as one:
        await refused(
            one, "/dev/null: is no regular file: name one, or - for stdout", output="/dev/null", resume=one.out
        )
        (tmp_path / "link").symlink_to(one.out)
        assert await one.export(output=str(tmp_path / "link")) == 74
        assert await one.export(output=str(tmp_path)) == 74
        os.mkfifo(tmp_path / "pipe")
        assert await one.export(output=str(tmp_path / "pipe")) == 74
        assert await one.export(output=str(tmp_path / "none/x")) == 74
        said = capsys.readouterr().err.splitlines()
        assert [line.rpartition("/")[2] for line in said] == [
            "link: Too many levels of symbolic links",
            f"{tmp_path.name}: Is a directory",
            "pipe: No such device or address",
            "x: No such file or directory",
        ]
        assert not one.out.exists()


async def test_two_exports_never_write_one_file(tmp_path: Path) -> None:
    async with scene(tmp_path, spread(350)) as one:
        with output_to(one.out, one.progress, "something", lambda: Progress("something", "source")):
            await refused(one, "belongs to another run")
            await refused(one, f"{one.out}: another export is writing it", resume=tmp_path / "other")


# -- to stdout ---------------------------------------------------------------------------------------------------------


async def test_stdout_gets_exact_bytes(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    events = [
        b'{"log_id":"%b","x":"\x1b\x7f\xc3\xa9"}' % OLD_ID,
        *spread(120),
    ]
    async with scene(tmp_path, events) as one:
        assert await one.export(output="-") == 0
        printed = capfdbinary.readouterr()
        assert printed.out == b"".join(raw + b"\n" for raw in events)
        assert printed.err.splitlines()[-1] == b"shipper: 121 events of acme"
        assert not one.out.exists()
