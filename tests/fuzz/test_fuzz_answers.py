"""What destinations answer, by an enemy: only a clear yes counts as delivered, only a clear no as never."""

import json
from typing import Any

import pytest
from fuzz_case import fuzz
from hypothesis import strategies as st

from shipper import Answer, Rejected, Unavailable
from shipper.reasons import REASONS
from shipper.scripted import Reply, make_answer, make_batch
from shipper.secret import Secret
from sinks.datadog import Datadog
from sinks.splunk_hec import SplunkHec

WORDS = "words-of-theirs-that-may-quote-an-event"
MAX_DETAIL = 1024
LONGEST_WAIT_SECS = 300.0
HEC = SplunkHec(SplunkHec.Config(url="http://127.0.0.1:1", token=Secret("made-up")))
DATADOG = Datadog(Datadog.Config(url="http://127.0.0.1:1", api_key=Secret("made-up")))
BATCH = make_batch(3)

_odd = (
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers() | st.lists(st.integers(), max_size=2)
)
_codes = st.integers(-2, 40) | st.sampled_from([2**63, 10**400, 0.0, 24.0, "0", True, False, None, [0]]) | _odd
_numbers = st.integers(-2, 5) | st.sampled_from([2**63, 1.0, "1", True]) | _odd
_replies = st.fixed_dictionaries(
    {}, optional={"code": _codes, "invalid-event-number": _numbers, "text": st.just(WORDS) | _odd, "ackId": _odd}
)
_bodies = (
    _replies.map(lambda reply: json.dumps(reply).encode("utf-8", "replace"))
    | st.sampled_from([b"", b"{}", b"[]", b"null", b"0", b"\xff\xfe", b"<html>" + WORDS.encode(), b"[" * 5_000])
    | st.sampled_from([b'{"code":0', b'{"code":NaN}', b'{"code":0}{"code":0}', b' {"code":0} '])
    | st.binary(max_size=30)
)  # fmt: skip
_waits = st.sampled_from(
    ["1", "0", "-1", "1e9", "9" * 400, "nan", "inf", "soon", "", "Wed, 21 Oct 2099 07:28:00 GMT", "٣"]
)
_headers = st.dictionaries(
    st.sampled_from(["Retry-After", "X-Ratelimit-Reset", "Content-Type"]), _waits | st.text(max_size=10)
)
_statuses = st.sampled_from([
    200, 201, 202, 204, 206, 301, 302, 307, 308, 400, 401, 403, 404, 405, 407, 408, 409, 410, 411, 413, 415,
    418, 422, 429, 431,
    500, 502, 503, 504, 507, 511, 599,
]) | st.integers(200, 599)  # fmt: skip
_answers = st.builds(
    lambda status, headers, body: make_answer(Reply(status, body, headers)),
    _statuses, _headers, _bodies,
)  # fmt: skip


def outcome(sink: Any, answer: Answer) -> Unavailable | Rejected | None:
    """What the sink makes of it; anything else that it raises is the test's."""
    try:
        rest = sink.judge(BATCH, answer)
    except (Unavailable, Rejected) as judged:
        return judged
    assert rest is None or 0 <= rest <= LONGEST_WAIT_SECS
    return None


def is_well_formed(judged: Unavailable | Rejected) -> None:
    assert judged.reason in REASONS
    assert WORDS not in str(judged), "logs would show the destination's words"
    if isinstance(judged, Rejected):
        assert len(judged.detail.encode()) <= MAX_DETAIL
        assert judged.only is None or set(judged.only) <= set(range(len(BATCH.events)))
        assert judged.only != {}
    else:
        assert judged.retry_after is None or 0 <= judged.retry_after <= LONGEST_WAIT_SECS
        assert judged.only is None


def code_of(body: bytes) -> Any:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    code = found.get("code") if isinstance(found, dict) else None
    return code if type(code) is int else None


@fuzz(_answers)
def test_splunk_has_an_event_only_where_it_says_so(answer: Answer) -> None:
    judged = outcome(HEC, answer)
    if judged is None:
        assert (answer.status, code_of(answer.body) in (0, 24, 25)) == (200, True)
        return
    is_well_formed(judged)
    if isinstance(judged, Rejected):
        assert answer.status == 413 or (answer.status == 400 and code_of(answer.body) in (6, 12, 13, 15))


@fuzz(_answers)
def test_datadog_has_an_entry_only_where_it_says_so(answer: Answer) -> None:
    judged = outcome(DATADOG, answer)
    if judged is None:
        assert 200 <= answer.status < 300
        assert answer.status == 202 or not answer.body or answer.body.lstrip().startswith(b"{")
        return
    is_well_formed(judged)
    if isinstance(judged, Rejected):
        assert answer.status in (400, 413)


@pytest.mark.parametrize("sink", [HEC, DATADOG])
def test_the_answers_of_these_tests_hold_a_yes_a_later_and_a_never(sink: Any) -> None:
    yes = b'{"text":"Success","code":0}'
    found = [(200, yes), (202, b"{}"), (503, b""), (400, b'{"code":6,"invalid-event-number":1}')]
    judged = {type(outcome(sink, make_answer(Reply(status, body)))) for status, body in found}
    assert judged == {type(None), Unavailable, Rejected}
