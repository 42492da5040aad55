"""The table of what a tenant can do to its source, S1 to S18, and what then has to be seen.

A row's `step` makes scripted answers for a simulated tenant (`Tenant.script`, for the token endpoint
`Tenant.token_script`), which a soak's tenant takes as well.

Not here, since other tests hold it: one renewal for many requests (`tests/source/test_source_answers.py`,
`test_requests_that_are_refused_together_renew_the_token_once`); every spelling of a foreign Link, CRLF included
(`test_source_checkpoint.py`, `test_a_link_that_leads_elsewhere_is_not_followed`); the memory that a bomb takes
(`test_source_memory.py`); odd events byte for byte, S14 (`test_source_chain.py`, `test_odd_events_pass_between_their_
neighbours`; `test_source_split.py`); a stepping clock and the token's life (`test_source_token.py`,
`test_it_is_renewed_at_four_fifths_of_its_life_however_the_wall_clock_jumps`); a retention that has passed, S16
(`test_source_retention.py`); the empty page that leads to itself, S17 (`test_source_chain.py`,
`test_an_empty_page_waits_for_the_poll_interval_and_then_asks_again`); names and certificates, S18 (`tests/test_tls.py`,
`tests/test_http.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from source_case import LOGS, altered, dated, event, with_links

from shipper.reasons import HELD, Reason
from shipper.scripted import PERSON, gzip_bomb
from shipper.simulator.answer import Answer, Asked, error
from shipper.simulator.tenant import Tenant
from shipper.sources.start import EARLIEST

SECRET = "c4n4ry-client-secret"
FIRST, MID, SHUTDOWN = MOMENTS = ("first-page", "mid-chain", "shutdown")
EVENTS = 450
DEADLINE_SECS = 0.6

Scripted = Callable[[Asked], Answer | None]


@dataclass(frozen=True)
class SourceFault:
    """One row.

    reason: of the trouble; None where it is none. counts: a metric that must have moved, with its labels. words: in a
    log line's note or event (a regular expression). asks: the seconds that the tenant asks for. times: so many bad
    answers, one after another. token: the answers are the token endpoint's. reorders: what is stored is in the order
    of that page.
    """

    id: str
    step: Callable[[Tenant], Scripted]
    reason: Reason | None = None
    counts: tuple[str, dict[str, str]] | None = None
    words: str = ""
    asks: float | None = None
    times: int = 2
    token: bool = False
    reorders: bool = False
    moments: tuple[str, ...] = MOMENTS
    tenant: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """What the source is meanwhile, which is also the log's word."""
        return "held" if self.reason in HELD else "waiting"


def issued() -> list[bytes]:
    """What the tenant issued: five pages, each event with a person in it."""
    return [event(number - EVENTS, number, more=b',"user_name":"%s"' % PERSON.encode()) for number in range(EVENTS)]


# -- scripted answers --------------------------------------------------------------------------------------------------


def usual(_: Asked) -> None:
    """The tenant answers by itself."""


def fails(status: int, **headers: str) -> Callable[[Tenant], Scripted]:
    """An error that quotes the request, as careless ones do."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda _: lambda asked: error(status, "Error", f"{asked.headers} {asked.body!r}", "", named)


def fixed(answer: Answer) -> Callable[[Tenant], Scripted]:
    return lambda _: lambda _: answer


def revoked(tenant: Tenant) -> Scripted:
    return lambda _: tenant.revoke_tokens()


def reset_at(secs: float) -> Callable[[Tenant], Scripted]:
    """429 with a reset so many seconds from now."""

    def make(tenant: Tenant) -> Scripted:
        def step(asked: Asked) -> Answer:
            limits = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(asked.at + secs))}
            return dated(tenant, error(429, "Too Many Requests", "x", "", limits))

        return step

    return make


def body(change: Callable[[bytes], bytes]) -> Callable[[Tenant], Scripted]:
    """The tenant's own page with another body."""
    return lambda tenant: altered(tenant, lambda _, answer: replace(answer, body=change(answer.body)))


def cut(tenant: Tenant) -> Scripted:
    return altered(tenant, lambda _, answer: replace(answer, cut_after=len(answer.body) // 2))


def linked(*links: str) -> Callable[[Tenant], Scripted]:
    return lambda tenant: with_links(tenant, *links)


def to_itself(tenant: Tenant) -> Scripted:
    def step(asked: Asked) -> Answer:
        return with_links(tenant, f"<ORIGIN{LOGS}?from={asked.query['from']}&take=100>; rel=next")(asked)

    return step


def page_from(steps_back: int) -> Callable[[Tenant], Scripted]:
    """The page behind a position so many events before the one that was asked for."""

    def make(tenant: Tenant) -> Scripted:
        ids = [EARLIEST, *tenant.ids()]

        def step(asked: Asked) -> Answer:
            at = max(0, ids.index(asked.query["from"]) - steps_back)
            return tenant.answer(replace(asked, query={**asked.query, "from": ids[at]}))

        return step

    return make


def _reversed(page: bytes) -> bytes:
    events = page[1:-1].split(b"},{")
    whole = [b"{%b}" % one.strip(b"{}") for one in events]
    return b"[%b]" % b",".join(reversed(whole))


def _twice(page: bytes) -> bytes:
    return page[:-1] + b"," + page[1:]


# -- the table ---------------------------------------------------------------------------------------------------------

_REQUESTS, _LINKS, _DUPLICATES, _STUCK, _TOKENS = (
    "shipper_source_requests_total",
    "shipper_links_refused_total",
    "shipper_events_duplicate_total",
    "shipper_no_progress_total",
    "shipper_token_requests_total",
)
_HTML = Answer(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in</title>")
_BOMB = {"Content-Encoding": "gzip"}
_EVIL = f"<https://evil.example{LOGS}?from=LAST&take=100>; rel=next"
_USER = f"<https://u:p@acme.us.auth0.com{LOGS}?from=LAST&take=100>; rel=next"
_SHORT: dict[str, Any] = {"request": {"timeout_secs": DEADLINE_SECS}}
_SLOW = fixed(Answer(delay_secs=3.0))


def _code(code: str) -> tuple[str, dict[str, str]]:
    return _REQUESTS, {"code": code}


SOURCE_FAULTS = (
    SourceFault("S1-401-once", revoked, counts=(_TOKENS, {}), times=1),
    SourceFault("S1-401-fresh-token", fails(401), "auth", _code("401"), "read:logs"),
    SourceFault("S1-403", fails(403), "forbidden", _code("403"), "read:logs"),
    SourceFault("S2-token-503", fails(503), "server_error", (_TOKENS, {}), "token request: HTTP 503", token=True),
    SourceFault("S2-token-429", fails(429, Retry_After="9"), "throttled", (_TOKENS, {}), asks=9, token=True),
    SourceFault("S2-token-401", fails(401), "auth", (_TOKENS, {}), "client secret", token=True),
    SourceFault("S2-token-html", fixed(_HTML), "bad_answer", (_TOKENS, {}), "no access token", token=True),
    SourceFault("S2-token-slow", _SLOW, "timeout", (_TOKENS, {}), token=True, times=1, settings=_SHORT),
    SourceFault("S3-reset-ahead", reset_at(17), "throttled", _code("429"), asks=17),
    SourceFault("S3-reset-past", reset_at(-3600), "throttled", _code("429")),
    SourceFault("S3-reset-absurd", reset_at(1e9), "throttled", _code("429"), asks=60, times=1),
    SourceFault("S3-no-reset", fails(429), "throttled", _code("429")),
    SourceFault("S4-500", fails(500), "server_error", _code("500"), "HTTP 500"),
    SourceFault("S4-502-html", fixed(Answer(502, {}, b"<html>")), "server_error", _code("502")),
    SourceFault("S4-503", fails(503), "server_error", _code("503")),
    SourceFault("S4-slow", _SLOW, "timeout", _code("timeout"), times=1, settings=_SHORT),
    SourceFault("S5-half-a-page", body(lambda page: page[: len(page) // 2]), "bad_answer", words="page"),
    SourceFault("S5-cut", cut, "bad_answer", _code("error"), "cut off"),
    SourceFault("S6-page-again", page_from(100), "bad_answer", (_STUCK, {}), "no progress", moments=(MID, SHUTDOWN)),
    SourceFault("S6-overlap", page_from(30), counts=(_DUPLICATES, {}), moments=(MID, SHUTDOWN)),
    SourceFault("S7-out-of-order", body(_reversed), reorders=True),
    SourceFault("S7-twice-in-a-page", body(_twice), counts=(_DUPLICATES, {})),
    SourceFault("S8-no-link", linked(), counts=(_LINKS, {}), words="Link is missing"),
    SourceFault("S9-foreign-host", linked(_EVIL), counts=(_LINKS, {}), words="leads elsewhere"),
    SourceFault("S9-userinfo", linked(_USER), counts=(_LINKS, {}), words="leads elsewhere"),
    SourceFault("S9-other-path", linked("<ORIGIN/api/v2/users?from=LAST>; rel=next"), counts=(_LINKS, {})),
    SourceFault("S9-other-scheme", linked(f"<ftp://acme.us.auth0.com{LOGS}?from=LAST>; rel=next"), counts=(_LINKS, {})),
    SourceFault("S10-leads-to-itself", to_itself, "bad_answer", (_STUCK, {}), "no progress"),
    SourceFault("S11-html", fixed(_HTML), "bad_answer", words="no JSON array"),
    SourceFault("S11-empty", fixed(Answer(200)), "bad_answer", words="no JSON array"),
    SourceFault("S12-17-MiB", fixed(Answer(200, {}, b"[" + b" " * (17 << 20))), "bad_answer", _code("error"), "bytes"),
    SourceFault("S12-depth", fixed(Answer(200, {}, b"[" * 10_000)), "bad_answer", words="can't be split"),
    SourceFault("S13-bomb", fixed(Answer(200, _BOMB, gzip_bomb())), "bad_answer", _code("error"), "bytes"),
    SourceFault("S13-no-gzip", fixed(Answer(200, _BOMB, b"[]")), "bad_answer", _code("error"), "gzip"),
    SourceFault("S15-an-hour-ahead", lambda _: usual, tenant={"skew_secs": 3600.0}, moments=(FIRST,)),
    SourceFault("S15-an-hour-behind", lambda _: usual, tenant={"skew_secs": -3600.0}, moments=(FIRST,)),
    SourceFault("S15-ten-years-ahead", lambda _: usual, tenant={"skew_secs": 3.2e8}, moments=(FIRST,)),
    SourceFault("S15-ten-years-behind", lambda _: usual, tenant={"skew_secs": -3.2e8}, moments=(FIRST,)),
    SourceFault("S16-400", fails(400), "refused", _code("400"), "400"),
    SourceFault("S18-reset", fixed(Answer(cut_after=-1)), "unreachable", _code("error")),
)
