"""`shipper export` by search and by user, whatever the cap, equal times, changes meanwhile or hostile answers do."""

import json
import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from export_case import LOGS, NOW_MS, Scene, at_page, by_date, dates, made, scene, spread

from shipper.export.session import export
from shipper.simulator.answer import Answer, Asked, error, json_answer
from shipper.simulator.tenant import Tenant
from shipper.sources.selection import SelectionError

pytestmark = pytest.mark.filterwarnings("error")


def pages(one: Scene) -> list[str]:
    return [asked.query.get("page", "") for asked in one.asked]


# -- what fits ---------------------------------------------------------------------------------------------------------


async def test_what_a_search_finds_comes_oldest_first_with_its_own_bytes(tmp_path: Path) -> None:
    found, others = spread(250, type="fp"), spread(90, 700)
    async with scene(tmp_path, [*found, *others]) as one:
        assert await one.export(query="type:fp") == 0
        assert one.lines() == found
        assert pages(one) == ["0", "9", "1", "2", "3"]
        assert {asked.query["sort"] for asked in one.asked} == {"date:-1"}
        assert {asked.query["q"] for asked in one.asked} == {"type:fp"}


async def test_newest_first_where_that_is_asked_for(tmp_path: Path) -> None:
    found = spread(120)
    async with scene(tmp_path, found) as one:
        assert await one.export(query="", sort="date:-1") == 0
        assert one.lines() == found[::-1]


@pytest.mark.parametrize("sort", ["date:1", "date:-1"])
async def test_a_range_of_time_goes_by_date_with_its_beginning_and_without_its_end(tmp_path: Path, sort: str) -> None:
    found = spread(50)
    async with scene(tmp_path, found) as one:
        assert await one.export(query="type:s", since=NOW_MS - 40_000, until=NOW_MS - 20_000, sort=sort) == 0
        assert sorted(one.lines()) == sorted(found[10:30])
        assert dates(one.lines()) == by_date(found[10:30], newest_first=sort.endswith("-1"))


async def test_other_fields_sort_what_fits(tmp_path: Path) -> None:
    found = [made(number * 10, number, user_name=f"user{number * 7 % 130:03d}") for number in range(130)]
    async with scene(tmp_path, found) as one:
        assert await one.export(query="", sort="user_name:1") == 0
        names = [json.loads(line)["user_name"] for line in one.lines()]
        assert names == sorted(names)
        assert len(names) == 130


async def test_nothing_found_is_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene(tmp_path, spread(5)) as one:
        assert await one.export(query="type:nothing") == 0
        assert one.lines() == []
        assert not one.progress.exists()
        assert capsys.readouterr().err.splitlines()[-1] == f"shipper: 0 events of acme in {one.out}"


async def test_fields_leave_the_id_and_nothing_is_sent_of_the_others(tmp_path: Path) -> None:
    async with scene(tmp_path, spread(150)) as one:
        assert await one.export(query="", fields=("date", "type")) == 0
        assert {tuple(json.loads(line)) for line in one.lines()} == {("date", "type", "_id")}
        assert {asked.query["fields"] for asked in one.asked} == {"date,type"}
        one.out.unlink()
        assert await one.export(query="", excluded=("date",), format="envelope") == 0
        assert {tuple(json.loads(line)["data"]) for line in one.lines()} == {("_id",)}
        assert all(json.loads(line)["log_id"] == json.loads(line)["data"]["_id"] for line in one.lines())
        assert one.asked[-1].query["include_fields"] == "false"


@pytest.mark.parametrize("user", ["", "auth0|1"])
async def test_one_page_is_one_request_and_totals_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], user: str
) -> None:
    found = spread(60, user_id="auth0|1")
    which: dict[str, Any] = {"user": user} if user else {"query": ""}
    async with scene(tmp_path, found) as one:
        assert await one.export(page=2, per_page=25, sort="date:1", totals=True, **which) == 0
        assert one.lines() == found[50:]
        assert len(one.asked) == 1
        said = capsys.readouterr().err
        assert "shipper: acme: the tenant counts: start 50, limit 25, length 10, total 10 (total may be" in said


async def test_totals_of_a_whole_search_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = spread(250)
    async with scene(tmp_path, found, totals_of_all=True) as one:
        assert await one.export(query="", totals=True) == 0
        assert one.lines() == found
        assert capsys.readouterr().err.count("the tenant counts: start 0, limit 100, length 100, total 250") == 1


# -- more than fits ----------------------------------------------------------------------------------------------------


def crowded(seed: int) -> list[bytes]:
    """Crowds in a millisecond, in a second, and long times with nothing; dates are not in the order of ids."""
    chance = random.Random(seed)
    moments = [chance.randrange(30 * 86_400_000) for _ in range(500)]
    moments += [7_000_000] * 700 + [9_000_000 + chance.randrange(1000) for _ in range(1800)] + [1] * 5
    return [made(ms, number, date=ms + chance.randrange(5_400)) for number, ms in enumerate(moments)]


@pytest.mark.parametrize("sort", ["", "date:-1"])
async def test_a_search_beyond_the_cap_is_parted_until_each_part_fits(tmp_path: Path, sort: str) -> None:
    found = crowded(1)
    others = spread(300, 5_000, type="other")
    async with scene(tmp_path, [*found, *others]) as one:
        assert await one.export(query="type:s", sort=sort) == 0
        lines = one.lines()
        assert sorted(lines) == sorted(found)
        assert dates(lines) == by_date(found, newest_first=bool(sort))
        assert len(one.asked) < 150
        assert all(int(asked.query["page"]) < 10 for asked in one.asked)


async def test_many_of_one_millisecond_and_of_any_bounds_are_parted_from_the_rest(tmp_path: Path) -> None:
    found = [made(50_000, number) for number in range(900)] + [made(49_999, number) for number in range(800, 1_100)]
    async with scene(tmp_path, found) as one:
        assert await one.export(query="type:s", since=NOW_MS - 50_000, until=NOW_MS - 49_998) == 0
        assert sorted(one.lines()) == sorted(found)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"totals_of_all": True}, "203 more can't be had, by the tenant's own count"),
        ({}, "more can't be had, and nobody says how many"),
    ],
)
async def test_a_millisecond_that_does_not_fit_is_told_and_the_rest_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], says: str
) -> None:
    crowd, rest = [made(50_001, number) for number in range(1_203)], spread(900, 100)
    async with scene(tmp_path, [*crowd, *rest], **options) as one:
        assert await one.export(query="type:s") == 1
        lines = one.lines()
        assert len(lines) == len(set(lines))
        assert set(rest) <= set(lines)
        assert len(set(lines) & set(crowd)) == 1_000
        said = capsys.readouterr().err
        moment = datetime.fromisoformat(json.loads(crowd[0])["date"]).strftime("%Y-%m-%dT%H:%M:%S.999Z")
        came = "1,000 of them came, which is what a search gives, and"
        assert f"acme: too many events in the millisecond {moment}: {came} {says}. Say" in said
        lacking = "203 events" if options else "some events"
        assert said.splitlines()[-1] == f"shipper: {lacking} could not be had: see above"


async def test_a_millisecond_that_just_fits_is_whole(tmp_path: Path) -> None:
    crowd = [made(50_000, number) for number in range(999)]
    async with scene(tmp_path, [*crowd, made(1)]) as one:
        assert await one.export(query="") == 0
        assert len(set(one.lines())) == 1_000


async def test_more_than_fits_is_refused_where_no_order_of_time_can_part_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(tmp_path, spread(1_200)) as one:
        assert await one.export(query="", sort="type:1") == 1
        assert one.lines() == []
        assert (
            capsys.readouterr()
            .err.splitlines()[-1]
            .startswith(
                "shipper: acme: refused: there are more than the 1,000 results that a search gives: sort them by date"
            )
        )


# -- what changes meanwhile --------------------------------------------------------------------------------------------


async def test_an_event_that_comes_in_between_two_pages_moves_nothing_out(tmp_path: Path) -> None:
    found = spread(450)
    late = made(120_500, 9_999, date=200_500)
    async with scene(tmp_path, found) as one:
        one.tenant.script += [at_page(2, lambda tenant: tenant.add(late), one.tenant)] * 20
        assert await one.export(query="") == 0
        lines = one.lines()
        assert len(lines) == len(set(lines))
        assert set(found) <= set(lines)


async def test_what_the_retention_takes_between_two_pages_moves_nothing_out(tmp_path: Path) -> None:
    now = [NOW_MS / 1000]
    found = [made(86_400_000 - 60_000 + number, number) for number in range(100)] + spread(500)
    async with scene(tmp_path, found, clock=lambda: now[0], retention_days=1) as one:
        one.tenant.script += [at_page(2, lambda _: now.__setitem__(0, now[0] + 120), one.tenant)] * 20
        assert await one.export(query="") == 0
        lines = one.lines()
        assert set(found[100:]) <= set(lines)
        assert len(lines) == len(set(lines))


async def test_events_of_one_moment_may_come_in_another_order_each_time(tmp_path: Path) -> None:
    found = [made(50_000, number) for number in range(300)]
    chance = random.Random(3)

    async with scene(tmp_path, found) as one:

        def shuffled(asked: Asked) -> Answer:
            answer = one.tenant.answer(Asked(asked.method, asked.path, {**asked.query, "page": "0"}, {}, asked.at))
            del answer
            order = chance.sample(found, len(found))
            page = int(asked.query["page"])
            body = b"[" + b",".join(order[page * 100 : page * 100 + 100]) + b"]"
            return Answer(200, {"Content-Type": "application/json"}, body)

        one.tenant.script += [shuffled] * 500
        assert await one.export(query="", since=NOW_MS - 50_000, until=NOW_MS - 49_999) == 0
        assert sorted(one.lines()) == sorted(found)


# -- a user's events ---------------------------------------------------------------------------------------------------

USER = "auth0|5f7c/8e c?7"


async def test_a_users_events_come_page_by_page_and_no_link_is_followed(tmp_path: Path) -> None:
    found, others = spread(250, user_id=USER), spread(100, 1_300, user_id="auth0|2")
    async with scene(tmp_path, [*found, *others]) as one:
        assert await one.export(user=USER) == 0
        assert one.lines() == found
        assert pages(one) == ["0", "9", "1", "2", "3"]
        assert {asked.path for asked in one.asked} == {f"/api/v2/users/{USER}/logs"}
        assert all(asked.query["per_page"] == "100" for asked in one.asked)


async def test_a_users_events_of_some_time_are_picked_out(tmp_path: Path) -> None:
    found = spread(50, user_id=USER)
    async with scene(tmp_path, found) as one:
        assert await one.export(user=USER, since=NOW_MS - 30_000, until=NOW_MS - 10_000, sort="date:-1") == 0
        assert one.lines() == found[20:40][::-1]


async def test_a_user_with_more_events_than_can_be_paged_is_searched_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quoted = 'auth0|"x\\y'
    found, others = spread(1_400, user_id=quoted), spread(100, 1_300, user_id="auth0|2")
    async with scene(tmp_path, [*found, *others]) as one:
        assert await one.export(user=quoted) == 0
        assert one.lines() == found
        assert {asked.query["q"] for asked in one.asked if asked.path == LOGS} >= {'user_id:"auth0|\\"x\\\\y"'}
        assert "acme: going on by a search for user_id, in parts" in capsys.readouterr().err


# -- what the tenant refuses, and nonsense -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            {"query": "nix:1"},
            "refused: HTTP 400: the tenant rejects the request (Query validation error: the field nix",
        ),
        (
            {"query": "user:jane"},
            "rejects the request: user can be searched in a Private Cloud only; elsewhere say user_",
        ),
        ({"query": "application:x"}, "application can be searched in a Private Cloud only; elsewhere say client_id or"),
        (
            {"query": 'type:s? AND "user:x"'},
            "HTTP 400: the tenant rejects the request (Query validation error: ? is not",
        ),
        ({"query": "type:" + "s" * 9_000}, "HTTP 414: the request is longer than the tenant takes: shorten the query"),
        ({"query": "", "sort": "log_id:1"}, "rejects the request (Query validation error: sort must be one of date, "),
    ],
)
async def test_what_the_tenant_refuses_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: dict[str, Any], says: str
) -> None:
    async with scene(tmp_path, spread(5)) as one:
        assert await one.export(**typed) == 1
        said = capsys.readouterr().err.splitlines()
        assert says in said[-1]
        assert len(said) == 2
        assert len(one.asked) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            error(400, "Bad Request", "\x1b]0;x\x07\r\n" + "y" * 999),
            "rejects the request (\\u001b]0;x\\u0007\\u000d\\u000ayyy",
        ),
        (error(403, "Forbidden", "no"), "acme: forbidden: HTTP 403: the application needs the scope read:logs on the"),
        (error(404, "Not Found", "no"), "acme: not_found: HTTP 404 from 127.0.0.1"),
        (Answer(302, {"Location": "http://127.0.0.1:1/"}), "acme: redirected: HTTP 302 from 127.0.0.1"),
        (Answer(400, {}, b"<html>\xff"), "acme: refused: HTTP 400: the tenant rejects the request"),
        (json_answer(400, {"message": ["x"]}), "acme: refused: HTTP 400: the tenant rejects the request"),
    ],
)
async def test_a_refusal_ends_it_at_once_and_the_same_command_begins_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer, says: str
) -> None:
    found = spread(5)
    async with scene(tmp_path, found) as one:
        one.tenant.script.append(answer)
        assert await one.export(query="") == 1
        said = capsys.readouterr().err.splitlines()
        assert says in said[-1]
        assert len(said[-1]) < 500
        assert len(one.asked) == 1
        assert await one.export(query="") == 0
        assert one.lines() == found


async def test_an_unknown_user_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene(tmp_path, spread(5)) as one:
        one.tenant.script.append(error(404, "Not Found", "no"))
        assert await one.export(user="auth0|1") == 1
        assert "acme: not_found: HTTP 404: the tenant knows no such user" in capsys.readouterr().err


def answered(body: bytes, **headers: str) -> Callable[[Tenant], Callable[[Asked], Answer]]:
    return lambda _tenant: lambda _asked: Answer(200, {"Content-Type": "application/json", **headers}, body)


def moved(tenant: Tenant) -> Callable[[Asked], Answer]:
    """Answers each search as if it had no dates."""
    return lambda asked: tenant.answer(
        Asked(asked.method, asked.path, {**asked.query, "q": "type:s"}, asked.headers, asked.at)
    )


def stuck(tenant: Tenant) -> Callable[[Asked], Answer | None]:
    """Always the first page, but for the last that can be had, which it has not."""
    del tenant

    def answer(asked: Asked) -> Answer:
        body = b"[]" if asked.query["page"] == "9" else b"[" + b",".join(spread(100)) + b"]"
        return Answer(200, {"Content-Type": "application/json"}, body)

    return answer


@pytest.mark.parametrize(
    ("nonsense", "says"),
    [
        (answered(b"<html>"), "bad_answer: HTTP 200 but no page that can be split into events"),
        (answered(b'[{"log_id":'), "bad_answer: HTTP 200 but no page that can be split into events"),
        (answered(b'{"total":1}'), "bad_answer: HTTP 200 but neither an array of events nor an object with one"),
        (answered(b'{"logs":'), "bad_answer: HTTP 200 but neither an array of events nor an object with one"),
        (answered(b'{"logs":{}}'), "bad_answer: HTTP 200 but no page that can be split into events"),
        (answered(b"[" + b",".join(spread(101)) + b"]"), "bad_answer: the tenant sends more events than a page was to"),
        (answered(b"[]" + b" " * (17 << 20)), "answers with more than 16777216 bytes"),
        (moved, "bad_answer: the tenant answers with an event of 2026-09-21T14:04:"),
        (stuck, "bad_answer: the tenant sends the same events for two pages"),
    ],
)
async def test_nonsense_is_waited_out_for_some_minutes_and_then_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    nonsense: Callable[[Tenant], Callable[[Asked], Answer]],
    says: str,
) -> None:
    async with scene(tmp_path, spread(900)) as one:
        one.tenant.script += [nonsense(one.tenant)] * 500
        assert await one.export(query="type:s", since=NOW_MS - 500_000, until=NOW_MS) == 1
        said = capsys.readouterr().err.splitlines()
        assert says in said[-1]
        assert sum("acme: waiting: bad_answer: " in line for line in said) == 1
        assert sum(one.naps.secs) > 300
        assert one.lines() == []


async def test_trouble_between_the_pages_is_waited_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = spread(1_500)

    def slow_down(asked: Asked) -> Answer:
        headers = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(asked.at) + 7)}
        headers["Date"] = formatdate(asked.at, usegmt=True)
        return error(429, "Too Many Requests", "no", "too_many_requests", headers)

    async with scene(tmp_path, found) as one:
        troubles: list[Any] = [
            slow_down,
            error(503, "x", "y"),
            Answer(cut_after=-1),
            Answer(200, {}, b"[{", cut_after=1),
        ]
        for _ in range(12):
            one.tenant.script += [lambda _: None, *troubles]
        assert await one.export(query="type:s") == 0
        assert one.lines() == found
        assert max(one.naps.secs) >= 6
        said = capsys.readouterr().err.splitlines()
        assert "shipper: acme: waiting: throttled: HTTP 429: the tenant's rate limit is used up" in said
        assert said.count("shipper: acme: goes on again") == sum("acme: waiting: " in line for line in said)


@pytest.mark.parametrize("oldest", [True, False])
async def test_a_search_that_takes_too_long_is_parted_until_it_does_not(tmp_path: Path, oldest: bool) -> None:
    """As those of large tenants do."""
    found = spread(150, 60_000)

    def slow(asked: Asked) -> Answer | None:
        if oldest and asked.query.get("sort") == "date:1":
            return None
        bounds = [datetime.fromisoformat(one) for one in re.findall(r"\d{4}-\S+?Z", asked.query.get("q", ""))]
        first = datetime.fromisoformat(json.loads(found[0])["date"])
        if len(bounds) == 2 and bounds[1] - max(bounds[0], first) < timedelta(hours=1):
            return None
        return error(504, "Gateway Timeout", "no", "", {"Date": formatdate(asked.at, usegmt=True)})

    async with scene(tmp_path, found) as one:
        one.tenant.script += [slow] * 1_000
        assert await one.export(query="type:s") == 0
        assert one.lines() == found
        assert len(one.asked) < 250


async def test_the_reserve_of_the_tenants_limit_is_left_to_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = spread(2_000)
    now = [NOW_MS / 1000]
    async with scene(tmp_path, found, plan="essentials", clock=lambda: now[0]) as one:
        least = [10]

        async def nap(secs: float) -> None:
            assert one.tenant.bucket is not None
            least[0] = min(least[0], one.tenant.bucket.take(now[0]).remaining)
            now[0] += secs + 1 / (100 / 60)  # what this look at the bucket took

        assert await export(one.settings, one.request(query=""), sleep=nap) == 0
        assert one.lines() == found
        assert least[0] >= 10 // 5 - 1
        assert "waiting" not in capsys.readouterr().err


# -- what is not offered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            {"user": "x", "sort": "log_id:1"},
            "a user's events can be sorted by date, connection, client_id, client_name",
        ),
        ({"user": "x", "sort": "date"}, "--sort is FIELD:1 for ascending or FIELD:-1 for descending, like date:-1"),
        ({"query": "x", "sort": "date:2"}, "--sort is FIELD:1"),
        ({"query": "x", "sort": "da te:1"}, "--sort is FIELD:1"),
        ({"user": "x", "query": "y"}, "a user's events can't be searched: say --query 'user_id:"),
        ({"user": "x", "fields": ("date",)}, "Auth0 gives a user's events whole"),
        ({"sort": "date:1"}, "belong to a search: say --query too"),
        ({"fields": ("date",)}, "belong to a search: say --query too"),
        ({"page": 0}, "belong to a search: say --query too"),
        ({"per_page": 5}, "belong to a search: say --query too"),
        ({"totals": True}, "belong to a search: say --query too"),
        ({"query": "", "fields": ("da te",)}, "'da te' is no field"),
        ({"query": "", "page": 10}, "--page 10 lies beyond the 1,000 results that a search gives"),
        ({"query": "(a"}, "the query has a parenthesis or a quotation mark too many, or one too few"),
        ({"query": "a) OR (b"}, "the query has a parenthesis"),
        ({"query": 'a "b'}, "the query has a parenthesis or a quotation mark"),
        ({"query": "a\\"}, "the query has a parenthesis or a quotation mark"),
        ({"query": "ip:\u201c203.0.113.7\u201d"}, "the query has typographic quotation marks"),
        ({"application": "x"}, "--application and --key are Logto's"),
        ({"key": "x"}, "--application and --key are Logto's"),
    ],
)
async def test_what_is_not_offered_is_said_before_anything_is_asked_or_written(
    tmp_path: Path, typed: dict[str, Any], says: str
) -> None:
    async with scene(tmp_path, []) as one:
        with pytest.raises(SelectionError, match=says.replace("(", r"\(")):
            await one.export(**typed)
        assert one.tenant.requests == []
        assert not one.out.exists()


@pytest.mark.parametrize("query", ['a "(" b', r"a\(b", '(a OR ("b) c" AND d))', r'"a\"("'])
async def test_what_is_in_quotation_marks_need_not_be_closed(tmp_path: Path, query: str) -> None:
    async with scene(tmp_path, []) as one:
        assert await one.export(query=query) == 0
