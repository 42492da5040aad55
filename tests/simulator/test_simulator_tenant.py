"""The tenant's decisions without a socket: search, retention, errors, limits, tokens; the clock is a parameter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from multidict import CIMultiDict

from shipper.simulator.answer import Answer, Asked
from shipper.simulator.tenant import Tenant

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


class Clock:
    """A time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time


class Reader:
    """Asks a tenant as a client would, with a token of its own."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.tenant = Tenant(**{"clock": self.clock, "plan": "none", **options})
        self.token = self.tenant.issue_token()

    def answer(self, path: str = "/api/v2/logs", method: str = "GET", **query: str) -> Answer:
        headers = CIMultiDict({"host": "127.0.0.1:8", "authorization": f"Bearer {self.token}"})
        names = {name.rstrip("_"): value for name, value in query.items()}
        return self.tenant.answer(Asked(method, path, names, headers, self.tenant.now()))

    def ask(self, **query: str) -> list[dict[str, Any]]:
        answer = self.answer(**query)
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = json.loads(answer.body)
        return found

    def message(self, **query: str) -> tuple[int, str]:
        answer = self.answer(**query)
        return answer.status, json.loads(answer.body)["message"]


def synthetic(when: float) -> str:
    return f"900{datetime.fromtimestamp(when, UTC):%Y%m%d%H%M%S}" + "0" * 39


def post(tenant: Tenant, body: bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    headers = CIMultiDict({"Content-Type": content_type})
    answer = tenant.answer(Asked("POST", "/oauth/token", {}, headers, tenant.now(), body))
    return answer.status, json.loads(answer.body)


GRANT = {
    "grant_type": "client_credentials",
    "client_id": "simulated-client",
    "client_secret": "simulated-secret",
    "audience": "https://acme.us.auth0.com/api/v2/",
}


def test_a_synthetic_id_starts_behind_its_time_and_misses_no_event_of_a_later_date() -> None:
    reader = Reader(count=1_000, history_secs=1_000)
    since = NOW - 500
    first = reader.ask(from_=synthetic(since), take="1")[0]
    dates = {json.loads(raw)["date"]: log_id for log_id, raw in reader.tenant.issued()}
    later = [log_id for date, log_id in dates.items() if datetime.fromisoformat(date).timestamp() >= since]
    assert first["log_id"] <= min(later)


def test_a_position_older_than_the_retention_goes_on_silently_at_the_oldest_event_left() -> None:
    reader = Reader(count=1_000, history_secs=3 * 86_400, retention_days=1)
    day_ago = synthetic(NOW - 86_400)
    first = reader.ask(from_=synthetic(NOW - 30 * 86_400), take="1")[0]
    everything = [log_id for log_id, _ in reader.tenant.issued()]
    assert len(everything) == 1_000
    assert first["log_id"] == min(log_id for log_id in everything if log_id > day_ago)


def test_events_vanish_from_every_answer_when_their_retention_is_over() -> None:
    reader = Reader(count=20, history_secs=60, retention_days=1)
    assert len(reader.ask(from_="", take="100")) == 20
    reader.clock.time += 86_400 - 30
    left = reader.ask(from_="", take="100")
    assert 5 < len(left) < 15
    reader.token = reader.tenant.issue_token()
    assert [event["log_id"] for event in reader.ask()] == [event["log_id"] for event in reversed(left)]
    reader.clock.time += 60
    assert reader.ask(from_="") == []


def test_given_events_vanish_too() -> None:
    old, new, undated = synthetic(NOW - 90_000), synthetic(NOW - 80_000), b'{"type":"x"}'
    given = [json.dumps({"log_id": log_id}).encode() for log_id in (old, new)]
    reader = Reader(events=[*given, undated], retention_days=1)
    assert reader.ask(from_="") == [{"log_id": new}, {"type": "x"}]


def test_parameters_beside_from_are_ignored() -> None:
    reader = Reader(count=10)
    everything = reader.ask(from_="", take="10")
    assert (
        reader.ask(from_="", take="10", q="nonsense:", sort="x:9", per_page="1", page="3", fields="date") == everything
    )


@pytest.mark.parametrize("take", ["0", "101", "-1", "x", "", "٣"])
def test_a_take_out_of_range_is_refused(take: str) -> None:
    status, _ = Reader().message(from_="", take=take)
    assert status == 400


@pytest.mark.parametrize("position", ["0", "a b", "<script>", "x" * 200])
def test_a_from_that_is_no_id_is_refused(position: str) -> None:
    assert Reader().message(from_=position)[0] == 400


def test_search_answers_pages_by_number_up_to_a_thousand_results() -> None:
    reader = Reader(count=1_200)
    newest = [log_id for log_id, _ in reader.tenant.issued()][::-1]
    assert [event["log_id"] for event in reader.ask(page="2", per_page="10")] == newest[20:30]
    assert [event["log_id"] for event in reader.ask(page="9", per_page="100")] == newest[900:1_000]
    status, message = reader.message(page="10", per_page="100")
    assert status == 400
    assert "Requesting page 10 exceeds the allowed maximum of 1000 records" in message
    assert reader.message(per_page="101")[0] == 400


def brute(reader: Reader, since: float) -> list[tuple[str, str]]:
    events = [json.loads(raw) for _, raw in reader.tenant.issued()]
    found = [(event["date"], event["log_id"]) for event in events]
    return sorted(pair for pair in found if datetime.fromisoformat(pair[0]).timestamp() >= since)


@pytest.mark.parametrize("sort", ["date:1", "date:-1"])
@pytest.mark.parametrize("since", [NOW - 1_000_000, NOW - 30.5, NOW - 7])
def test_search_by_date_finds_what_a_look_at_every_event_finds(sort: str, since: float) -> None:
    reader = Reader(count=4_000, history_secs=60)
    expected = [date for date, _ in brute(reader, since)]
    if sort == "date:-1":
        expected.reverse()
    text = datetime.fromtimestamp(since, UTC).isoformat().replace("+00:00", "Z")
    found = [
        event["date"]
        for page in range(10)
        for event in reader.ask(q=f"date:[{text} TO *]", sort=sort, per_page="100", page=str(page))
    ]
    assert found == expected[:1_000]


def test_a_date_without_a_zone_is_utc() -> None:
    reader = Reader(count=100, history_secs=60)
    with_zone, without = (reader.ask(q=f"date:[2026-11-20T11:59:30{zone} TO *]", per_page="100") for zone in ("Z", ""))
    assert with_zone == without
    assert 0 < len(without) < 100


def test_search_by_log_id_includes_that_event() -> None:
    reader = Reader(count=100)
    everything = [log_id for log_id, _ in reader.tenant.issued()]
    found = reader.ask(q=f"log_id:[{everything[90]} TO *]")
    assert [event["log_id"] for event in found] == everything[90:][::-1]


@pytest.mark.parametrize(
    "query",
    [
        {"q": "date:[yesterday TO *]"},
        {"q": "type:s AND date:[2026-13 TO *]"},
        {"q": "nothing:s"},
        {"q": "user:jane"},
        {"q": "(type:s"},
        {"q": "type:s)"},
        {"q": "type:"},
        {"q": "AND type:s"},
        {"q": "type:s?"},
        {"q": "user_name:*om"},
        {"q": "date:[2026-11]"},
        {"sort": "log_id:1"},
        {"sort": "date:2"},
        {"fields": "log_id"},
        {"per_page": "0"},
    ],
)
def test_a_search_that_the_documents_do_not_have_is_refused(query: dict[str, str]) -> None:
    assert Reader().message(**query)[0] == 400


PEOPLE: list[dict[str, Any]] = [
    {"log_id": synthetic(NOW - 5), "date": "2026-11-20T11:59:55.000Z", "type": "s", "user_id": "auth0|1"},
    {"log_id": synthetic(NOW - 4), "date": "2026-11-20T11:59:53.999Z", "type": "fp", "user_name": "jane"},
    {"log_id": synthetic(NOW - 3), "date": "2026-11-19T23:00:00.000Z", "type": "f", "client_name": "jane's"},
    {"log_id": synthetic(NOW - 2), "type": "sapi", "scope": ["jane"], "description": 'say "jane"'},
]


@pytest.mark.parametrize(
    ("q", "numbers"),
    [
        ("type:s", [0]),
        ("type:s OR type:fp", [0, 1]),
        ("type:(s OR f)", [0, 2]),
        ("type:s type:f", [0, 2]),
        ("type:f*", [1, 2]),
        ("type:F*", []),
        ("NOT type:f*", [0, 3]),
        ("user_id:auth0", []),
        ('user_id:"auth0|1"', [0]),
        ("jane", [1]),
        ("jane*", [1, 2]),
        ("*jane*", [1, 2, 3]),
        ('description:"say \\"jane\\""', [3]),
        ("type:s AND date:[2026-11-20 TO *]", [0]),
        ("(type:s OR type:f) AND NOT user_id:*", [2]),
        ("date:[* TO 2026-11-20}", [2]),
        ("date:[2026-11-19 TO 2026-11-19]", [2]),
        ("date:{2026-11-19 TO *]", [0, 1]),
        ("date:[2026-11 TO 2026-11]", [0, 1, 2]),
        ("date:[2026 TO 2027}", [0, 1, 2]),
        ("date:[2026-11-20T11:59:53.999Z TO 2026-11-20T11:59:55.000Z}", [1]),
        ("date:{2026-11-20T11:59:53.999Z TO 2026-11-20T11:59:55.000Z]", [0]),
        ("date:[2026-11-20T12:59+01:00 TO 2026-11-20T11:59:54}", [1]),
        ("type:{f TO s]", [0, 1]),
    ],
)
def test_a_query_finds_what_the_documents_say(q: str, numbers: list[int]) -> None:
    reader = Reader(events=[json.dumps(one).encode() for one in PEOPLE])
    assert sorted(one["log_id"] for one in reader.ask(q=q)) == [PEOPLE[number]["log_id"] for number in numbers]


def test_a_private_cloud_searches_by_user_and_application_and_parts_of_them() -> None:
    reader = Reader(events=[json.dumps(one).encode() for one in PEOPLE], plan="private_cloud")
    assert [one["type"] for one in reader.ask(q="user:an")] == ["fp"]
    assert [one["type"] for one in reader.ask(q='application:"jane"')] == []
    assert [one["type"] for one in reader.ask(q="application:jane")] == ["f"]


def test_the_dates_of_a_query_only_spare_it_looks() -> None:
    reader = Reader(count=2_000, history_secs=60)
    low, high = "2026-11-20T11:59:20.000Z", "2026-11-20T11:59:40.000Z"
    dates = [json.loads(raw)["date"] for _, raw in reader.tenant.issued() if json.loads(raw)["type"] == "s"]
    found = [
        one["date"]
        for page in range(10)
        for one in reader.ask(q=f"type:s AND date:[{low} TO {high}}}", per_page="100", page=str(page), sort="date:1")
    ]
    assert found == sorted(date for date in dates if low <= date < high)
    assert found


@pytest.mark.parametrize("field", ["type", "user_name", "details", "date"])
def test_results_are_sorted_by_any_of_the_thirteen_fields(field: str) -> None:
    reader = Reader(count=60)
    up, down = (
        [json.dumps(one.get(field)) for one in reader.ask(sort=f"{field}:{way}", per_page="100")] for way in (1, -1)
    )
    assert up == list(reversed(down))
    assert len(set(up)) > 1


def test_totals_make_an_object_of_the_array_and_count_the_page_alone() -> None:
    reader = Reader(count=130)
    found: Any = reader.ask(include_totals="true", page="1", per_page="100")
    assert (found["start"], found["limit"], found["length"], found["total"]) == (100, 100, 30, 30)
    assert len(found["logs"]) == 30
    assert isinstance(reader.ask(include_totals="true"), list)
    before: Any = Reader(count=130, totals_of_all=True).ask(include_totals="true", page="0", per_page="1")
    assert (before["length"], before["total"]) == (1, 130)


def test_a_users_events_come_in_pages_only_where_per_page_says_so_and_their_link_is_plain_http() -> None:
    names = ("auth0|1", "auth0|2", 'x"/y')
    events = [
        json.dumps({"log_id": synthetic(NOW - number), "user_id": names[number % 3]}).encode() for number in range(450)
    ]
    reader = Reader(events=events)

    def of(user: str, **query: str) -> Answer:
        return reader.answer(f"/api/v2/users/{user}/logs", **query)

    ids = [log_id for log_id, _ in reader.tenant.issued()][::-1]
    for user, first in zip(names, range(3), strict=True):
        page = json.loads(of(user, per_page="40", page="1").body)
        assert [one["log_id"] for one in page] == ids[first::3][40:80]
    assert len(json.loads(of("auth0|1", page="1").body)) == 100
    assert json.loads(of("auth0|1", page="1").body)[0]["log_id"] == ids[0]
    assert "Link" not in of("auth0|1", page="1").headers
    assert of("auth0|1", per_page="40", page="0").headers["Link"] == (
        '<http://127.0.0.1:8/api/v2/users/auth0%7C1/logs?per_page=40&page=0>; rel="first", '
        '<http://127.0.0.1:8/api/v2/users/auth0%7C1/logs?per_page=40&page=3>; rel="last"'
    )
    assert json.loads(of("nobody", per_page="2").body) == []
    assert [of("auth0|1", per_page="100", page=page).status for page in ("9", "10")] == [200, 400]
    assert of("auth0|1", per_page="9", sort="log_id:1").status == 400
    # fields and include_fields belong to the search alone.
    assert "user_id" in json.loads(of("auth0|1", per_page="1", fields="date").body)[0]


def test_a_request_that_is_too_long_is_414() -> None:
    reader = Reader()
    asked = Asked("GET", "/api/v2/logs", {}, {}, NOW, target_bytes=8_001)
    assert reader.tenant.answer(asked).status == 414


def test_fields_answer_the_id_and_their_opposite_drops_nearly_everything() -> None:
    reader = Reader(count=5)
    assert list(reader.ask(fields="date", per_page="1")[0]) == ["date", "_id"]
    assert set(reader.ask(fields="date", include_fields="false", per_page="1")[0]) <= {"_id", "isMobile", "user_agent"}


def test_past_the_burst_every_request_is_429_until_the_second_that_reset_names() -> None:
    reader = Reader(plan="essentials")
    answers = [reader.answer(from_="") for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert [answers[n].headers["x-ratelimit-remaining"] for n in (0, 9, 10)] == ["9", "0", "0"]
    assert json.loads(answers[10].body)["errorCode"] == "too_many_requests"
    assert "Retry-After" not in answers[10].headers
    reader.clock.time = float(answers[10].headers["x-ratelimit-reset"])
    assert [reader.answer(from_="").status for _ in range(2)] == [200, 429]


def test_reset_and_date_are_in_the_tenants_own_time() -> None:
    reader = Reader(plan="enterprise", skew_secs=7_200)
    answer = reader.answer(from_="")
    assert answer.headers["Date"] == "Fri, 20 Nov 2026 14:00:00 GMT"
    assert int(answer.headers["x-ratelimit-reset"]) >= NOW + 7_200
    assert answer.headers["x-ratelimit-limit"] == "50"


def test_the_plan_none_has_no_limit_and_says_nothing_of_one() -> None:
    reader = Reader(plan="none")
    answers = [reader.answer(from_="") for _ in range(100)]
    assert {answer.status for answer in answers} == {200}
    assert not any(name.lower().startswith("x-ratelimit") for name in answers[-1].headers)


def test_an_unknown_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="essentials"):
        Tenant(plan="platinum")


@pytest.mark.parametrize("form", [False, True])
def test_a_token_is_given_for_json_and_for_a_form(form: bool) -> None:
    tenant = Tenant(token_life_secs=60)
    if form:
        body = "&".join(f"{name}={value}" for name, value in GRANT.items()).encode()
        status, token = post(tenant, body, "application/x-www-form-urlencoded")
    else:
        status, token = post(tenant, json.dumps(GRANT).encode())
    assert status == 200
    assert {**token, "access_token": ""} == {
        "access_token": "",
        "scope": "read:logs read:logs_users",
        "expires_in": 60,
        "token_type": "Bearer",
    }
    assert tenant.tokens.requests == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"client_secret": "wrong"}, 401, "access_denied"),
        ({"client_id": "wrong"}, 401, "access_denied"),
        ({"audience": "https://acme.us.auth0.com/api/v2"}, 403, "access_denied"),
        ({"audience": "https://login.example.com/api/v2/"}, 403, "access_denied"),
        ({"grant_type": "password"}, 403, "unsupported_grant_type"),
    ],
)
def test_a_token_is_refused_in_the_token_endpoints_own_words(change: dict[str, str], status: int, code: str) -> None:
    answered, body = post(Tenant(), json.dumps(GRANT | change).encode())
    assert (answered, body["error"]) == (status, code)
    assert set(body) == {"error", "error_description"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_a_token_request_that_can_not_be_read_is_refused(body: bytes) -> None:
    assert post(Tenant(), body)[0] == 400


def test_a_token_expires_and_is_revoked_with_the_recorded_body() -> None:
    reader = Reader(token_life_secs=60)
    assert reader.answer(from_="").status == 200
    reader.clock.time += 60
    expired = reader.answer(from_="")
    assert expired.status == 401
    assert "Expired token" in json.loads(expired.body)["attributes"]["error"]
    reader.token = reader.tenant.issue_token()
    assert reader.answer(from_="").status == 200
    reader.tenant.revoke_tokens()
    assert reader.answer(from_="").body == expired.body


def test_an_unknown_token_is_401_and_a_missing_scope_403() -> None:
    reader = Reader(scope="read:users")
    refused = reader.answer(from_="")
    assert refused.status == 403
    assert json.loads(refused.body)["errorCode"] == "insufficient_scope"
    reader.token = "guessed"
    assert reader.answer(from_="").status == 401


def test_a_fixed_token_is_accepted() -> None:
    reader = Reader(token="fixed")
    reader.token = "fixed"
    assert reader.answer(from_="").status == 200


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("429", 429, b"too_many_requests"),
        ("500", 500, b'"statusCode":500'),
        ("503", 503, b'"statusCode":503'),
        ("401", 401, b"Expired token"),
        ("html", 200, b"<html>"),
    ],
)
def test_a_fault_answers_what_its_name_says(fault: str, status: int, body: bytes) -> None:
    answer = Reader(fault=f"{fault}:1").answer(from_="")
    assert answer.status == status
    assert body in answer.body


def test_faults_of_the_body_leave_a_page_that_does_not_parse() -> None:
    whole = Reader(fault="cut:1").answer(from_="")
    assert whole.cut_after == len(whole.body) // 2
    half = Reader(fault="truncated:1").answer(from_="")
    with pytest.raises(ValueError, match=r"string|Expecting|delimiter"):
        json.loads(half.body)
    assert Reader(fault="reset:1").answer(from_="").cut_after == -1
    assert Reader(fault="slow:1", slow_secs=3, latency_secs=0.5).answer(from_="").delay_secs == 3.5


def test_the_same_seed_disturbs_the_same_requests() -> None:
    def statuses(seed: int) -> list[int]:
        reader = Reader(fault="500:0.3", seed=seed, count=1)
        return [reader.answer(from_="").status for _ in range(50)]

    assert statuses(3) == statuses(3)
    assert statuses(3) != statuses(4)
    assert set(statuses(3)) == {200, 500}


def test_other_methods_and_paths_are_refused() -> None:
    reader = Reader()
    assert reader.answer(method="POST").status == 405
    assert reader.answer(path="/oauth/token").status == 405
    assert reader.answer(path="/api/v2/users").status == 404


def test_events_can_only_be_added_where_they_are_given() -> None:
    with pytest.raises(TypeError):
        Tenant(count=1).add(b"{}")


def test_one_event_is_asked_by_its_id_under_the_same_token_limits_and_retention() -> None:
    reader = Reader(count=100, history_secs=2 * 86_400, retention_days=1, plan="free")
    issued = list(reader.tenant.issued())
    (old, _), (new, raw) = issued[0], issued[-1]
    assert reader.answer(f"/api/v2/logs/{new}").body == raw
    assert [reader.answer(f"/api/v2/logs/{one}").status for one in (old, "9" * 56, "", new)] == [404, 429, 429, 429]
    reader.clock.time += 60
    assert [reader.answer(f"/api/v2/logs/{one}").status for one in ("9" * 56, "")] == [404, 404]
    reader.tenant.revoke_tokens()
    assert reader.answer(f"/api/v2/logs/{new}").status == 401
