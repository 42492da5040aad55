"""`shipper export` from Logto: by time and by its three filters, whatever its list does meanwhile."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from export_case import Naps, cut_off
from logto_case import MARGIN, NOW, event, events

from shipper.config import Settings, load
from shipper.export.session import Request, export
from shipper.simulator.answer import Answer, Asked
from shipper.simulator.logto import LogtoTenant
from shipper.simulator.server import Serving, serve
from shipper.sources.selection import EVER, Selection, SelectionError


class Scene:
    """A Logto tenant, a configuration that names it, and a file for what is exported."""

    def __init__(self, place: Path, running: Serving[LogtoTenant], source: str = "") -> None:
        self.running, self.out, self.progress = running, place / "out.ndjson", place / "out.ndjson.progress"
        file = place / "config.toml"
        file.write_text(
            f'[sources.acme]\ntype = "logto"\nendpoint = "{running.url}"\napp_id = "simulated-client"\n'
            f'app_secret = "simulated-secret"\nproxy = "none"\nretention_days = 3650\n{source}\n'
            '[sinks.console]\ntype = "stdout"\n'
        )
        self.settings: Settings = load(file, {"SHIPPER_STATE_DIR": str(place / "state")})

    @property
    def tenant(self) -> LogtoTenant:
        return self.running.tenant

    @property
    def asked(self) -> list[Asked]:
        """Requests for events."""
        return [one for one in self.tenant.requests if one.path == "/api/logs"]

    async def export(self, *, since: int = EVER[0], until: int = EVER[1], **selection: Any) -> int:
        """The exit status."""
        form = selection.pop("format", "raw")
        times = f"from {since} until {until}"
        request = Request(
            "acme", Selection(**selection), since, until, times, output=str(self.out), format=form, page_secs=0.0
        )
        return await export(self.settings, request, sleep=Naps())

    def lines(self) -> list[bytes]:
        """What stands in the file."""
        return self.out.read_bytes().splitlines()

    async def interrupted(self, request: int, **selection: Any) -> bool:
        """Exports until this request and no further. Returns whether there were so many."""
        return await cut_off(self.export(**selection), self.tenant, request)


@asynccontextmanager
async def scene(place: Path, given: Sequence[bytes], source: str = "", **options: Any) -> AsyncIterator[Scene]:
    tenant = LogtoTenant(events=given, clock=lambda: NOW / 1000, logs_tokens=False, **options)
    async with serve(tenant) as running:
        yield Scene(place, running, source)


def times(lines: Sequence[bytes]) -> list[int]:
    return [json.loads(line)["createdAt"] for line in lines]


def of(user: str, application: str, number: int, key: str = "Interaction.SignIn.Submit") -> bytes:
    more = f',"userId":"{user}","applicationId":"{application}"'.encode()
    return event(NOW - 60_000 + number, number, key=key, more=more)


@pytest.mark.parametrize("knows_times", [True, False])
async def test_everything_comes_oldest_first_with_its_own_bytes(tmp_path: Path, knows_times: bool) -> None:
    crowd = [event(NOW - 500_000, 10_000 + number) for number in range(40)]
    given = [*events(900), *crowd]
    async with scene(tmp_path, given, knows_times=knows_times) as one:
        assert await one.export() == 0
        assert sorted(one.lines()) == sorted(given)
        assert times(one.lines()) == sorted(times(given))
        assert not one.progress.exists()


async def test_a_range_begins_with_its_first_moment_and_ends_before_its_last(tmp_path: Path) -> None:
    given = events(400)
    async with scene(tmp_path, given) as one:
        assert await one.export(since=NOW - MARGIN - 300_000, until=NOW - MARGIN - 100_000) == 0
        assert one.lines() == given[99:299]


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        ({"user": "jane"}, [0, 1, 4]),
        ({"application": "a"}, [0, 2, 4]),
        ({"key": "ExchangeTokenBy.ClientCredentials"}, [3, 4]),
        ({"user": "jane", "application": "a"}, [0, 4]),
        ({"user": "jane", "key": "ExchangeTokenBy.ClientCredentials"}, [4]),
        ({"user": "nobody"}, []),
    ],
)
async def test_filters_are_the_services_own(tmp_path: Path, selection: dict[str, Any], numbers: list[int]) -> None:
    tokens = "ExchangeTokenBy.ClientCredentials"
    given = [
        of("jane", "a", 0),
        of("jane", "b", 1),
        of("joe", "a", 2),
        of("joe", "b", 3, tokens),
        of("jane", "a", 4, tokens),
    ]
    async with scene(tmp_path, given) as one:
        assert await one.export(**selection) == 0
        assert one.lines() == [given[number] for number in numbers]


@pytest.mark.parametrize("knows_times", [True, False])
async def test_interrupted_at_any_request_the_same_command_goes_on_with_nothing_missing_or_twice(
    tmp_path: Path, knows_times: bool
) -> None:
    """Though many are of one time, and come in another order with each request."""
    given = events(150, step_ms=60_000)
    given += [event(NOW - 200_000 + number // 20 * 1_000, 1_000 + number) for number in range(1_300)]
    async with scene(tmp_path, given, knows_times=knows_times) as one:
        request, gone_on = 1, 0
        while await one.interrupted(request):
            gone_on += one.out.stat().st_size > 0
            assert await one.export() == 0
            assert sorted(one.lines()) == sorted(given)
            one.out.unlink()
            request += 6
        assert gone_on >= 2


async def test_what_comes_in_meanwhile_moves_nothing_out(tmp_path: Path) -> None:
    given = events(700)
    async with scene(tmp_path, given) as one:
        number = iter(range(5_000, 9_000))

        def grows(_: Asked) -> None:
            one.tenant.add(event(NOW, next(number)))

        one.tenant.script += [grows] * 500
        assert await one.export() == 0
        assert one.lines() == given


@pytest.mark.parametrize(
    ("source", "selection", "says"),
    [
        ("", {"query": "type:s"}, "--query is Auth0's: for Logto say --user, --application or --key"),
        ("", {"sort": "date:1"}, "--include-totals are Auth0's: Logto gives whole events, here the oldest first"),
        ("", {"fields": ("id",)}, "--include-totals are Auth0's"),
        ("", {"excluded": ("id",)}, "--include-totals are Auth0's"),
        ("", {"user": "x", "page": 1}, "--include-totals are Auth0's"),
        ("", {"per_page": 1}, "--include-totals are Auth0's"),
        ("", {"totals": True}, "--include-totals are Auth0's"),
        ('user_id = "joe"', {"user": "jane"}, "--user: the source itself is only for 'joe'"),
        ('application_id = "a"', {"application": "b"}, "--application: the source itself is only for 'a'"),
        ('log_key = "Unknown"', {"key": "x"}, "--key: the source itself is only for 'Unknown'"),
    ],
)
async def test_what_is_not_offered_is_said(tmp_path: Path, source: str, selection: dict[str, Any], says: str) -> None:
    async with scene(tmp_path, [], source) as one:
        with pytest.raises(SelectionError, match=says):
            await one.export(**selection)
        assert one.tenant.requests == []


async def test_a_sources_own_filters_hold_beside_those_that_are_typed(tmp_path: Path) -> None:
    given = [of("jane", "a", 0), of("jane", "b", 1), of("joe", "a", 2)]
    async with scene(tmp_path, given, 'user_id = "jane"') as one:
        assert await one.export(application="a") == 0
        assert one.lines() == given[:1]
        one.out.unlink()
        assert await one.export(user="jane") == 0
        assert one.lines() == given[:2]


async def test_what_is_younger_than_the_margin_is_left_and_that_is_said_where_it_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = events(20, upto=NOW)
    async with scene(tmp_path, given) as one:
        assert await one.export(until=NOW) == 0
        assert one.lines() == given[:10]
        assert "what is younger than window_margin_secs is left out" in capsys.readouterr().err
        one.out.unlink()
        assert await one.export() == 0
        assert one.lines() == given[:10]
        assert "margin" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(400, {}, b'{"code":"guard.invalid_input"}'), "acme: refused: HTTP 400 (guard.invalid_input)"),
        (Answer(403, {}, b""), "acme: forbidden: HTTP 403: the application needs a role for the Logto Management API"),
        (Answer(404, {}, b""), "acme: not_found: HTTP 404 from 127.0.0.1"),
    ],
)
async def test_what_logto_refuses_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer, says: str
) -> None:
    async with scene(tmp_path, events(3)) as one:
        one.tenant.script.append(answer)
        assert await one.export(user="x") == 1
        said = capsys.readouterr().err.splitlines()
        assert says in said[-1]
        assert len(said) == 2


async def test_an_envelope_has_logtos_id_beside_the_events_own_bytes(tmp_path: Path) -> None:
    given = events(2)
    async with scene(tmp_path, given) as one:
        assert await one.export(format="envelope") == 0
        ids = [json.loads(raw)["id"].encode() for raw in given]
        assert one.lines() == [b'{"log_id":"%b","data":%b}' % pair for pair in zip(ids, given, strict=True)]
