"""The table of what a tenant can do to its source, S1 to S18, and what then has to be seen.

A row's `step` makes scripted answers for a simulated tenant (`Tenant.script`, for the token endpoint
`Tenant.token_script`), which a soak's tenant takes as well. A row with `logto` is one of a Logto tenant, too.

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

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from logto_case import MARGIN, NOW, logto_rigged
from logto_case import event as logto_event
from source_case import LOGS, AnyRig, altered, dated, event, rigged, with_links

from shipper.reasons import HELD, Reason
from shipper.scripted import PERSON, gzip_bomb
from shipper.secret import Secret
from shipper.simulator.answer import Answer, Asked, error
from shipper.simulator.logto import LogtoTenant
from shipper.simulator.served import Served
from shipper.sources.start import EARLIEST

SECRET = "c4n4ry-client-secret"
FIRST, MID, SHUTDOWN = MOMENTS = ("first-page", "mid-chain", "shutdown")
EVENTS = 450
DEADLINE_SECS = 0.6

Kind = Literal["auth0", "logto"]
KINDS: tuple[Kind, ...] = ("auth0", "logto")
Scripted = Callable[[Asked], Answer | None]


@dataclass(frozen=True)
class SourceFault:
    """One row.

    reason: of the trouble; None where it is none. counts: a metric that must have moved, with its labels. words: in a
    log line's note or event (a regular expression). asks: the seconds that the tenant asks for. times: so many bad
    answers, one after another. token: the answers are the token endpoint's. reorders: what is stored is in the order
    of that page. logto: what differs where the tenant is Logto's; None where the fault is none there. only_logto: it
    is none of Auth0's.
    """

    id: str
    step: Callable[[Served], Scripted]
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
    logto: dict[str, Any] | None = None
    only_logto: bool = False

    @property
    def state(self) -> str:
        """What the source is meanwhile, which is also the log's word."""
        return "held" if self.reason in HELD else "waiting"


def issued(kind: Kind) -> list[bytes]:
    """What the tenant issued: five pages, each event with a person in it."""
    if kind == "logto":
        person = b',"params":{"identifier":"%s"}' % PERSON.encode()
        begin = NOW - MARGIN - 1000 * EVENTS
        return [logto_event(begin + 1000 * number, number, more=person) for number in range(EVENTS)]
    return [event(number - EVENTS, number, more=b',"user_name":"%s"' % PERSON.encode()) for number in range(EVENTS)]


def faults_of(kind: Kind) -> list[SourceFault]:
    """The rows for tenants of this kind."""
    if kind == "auth0":
        return [fault for fault in SOURCE_FAULTS if not fault.only_logto]
    return [replace(fault, **fault.logto) for fault in SOURCE_FAULTS if fault.logto is not None]


@asynccontextmanager
async def rig_of(kind: Kind, place: Path, tenant: dict[str, Any], settings: dict[str, Any]) -> AsyncIterator[AnyRig]:
    """A source of this kind, whose application shows a secret that must not show anywhere else."""
    if kind == "logto":
        proof: dict[str, Any] = {"app_id": "simulated-client", "app_secret": Secret(SECRET), **settings}
        async with logto_rigged(place, tenant=tenant, **proof) as logto_rig:
            yield logto_rig
    else:
        proof = {"client_id": "simulated-client", "client_secret": Secret(SECRET), **settings}
        async with rigged(place, tenant=tenant, **proof) as rig:
            yield rig


# -- scripted answers --------------------------------------------------------------------------------------------------


def usual(_: Asked) -> None:
    """The tenant answers by itself."""


def fails(status: int, **headers: str) -> Callable[[Served], Scripted]:
    """An error that quotes the request, as careless ones do."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda _: lambda asked: error(status, "Error", f"{asked.headers} {asked.body!r}", "", named)


def fixed(answer: Answer) -> Callable[[Served], Scripted]:
    """As it is, but with the number that Logto's answers have."""

    def make(tenant: Served) -> Scripted:
        is_logto = isinstance(tenant, LogtoTenant) and answer.status == 200
        headers = {"Total-Number": str(EVENTS), **answer.headers} if is_logto else answer.headers
        return lambda _: replace(answer, headers=headers)

    return make


def numbered(change: int) -> Callable[[Served], Scripted]:
    """The tenant's own page, whose number says that there are so many more events."""

    def count(_: Asked, answer: Answer) -> Answer:
        return replace(answer, headers={**answer.headers, "Total-Number": str(EVENTS + change)})

    return lambda tenant: altered(tenant, count)


def revoked(tenant: Served) -> Scripted:
    return lambda _: tenant.revoke_tokens()


def reset_at(secs: float) -> Callable[[Served], Scripted]:
    """429 with a reset so many seconds from now."""

    def make(tenant: Served) -> Scripted:
        def step(asked: Asked) -> Answer:
            limits = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(asked.at + secs))}
            return dated(tenant, error(429, "Too Many Requests", "x", "", limits))

        return step

    return make


def body(change: Callable[[bytes], bytes]) -> Callable[[Served], Scripted]:
    """The tenant's own page with another body."""
    return lambda tenant: altered(tenant, lambda _, answer: replace(answer, body=change(answer.body)))


def cut(tenant: Served) -> Scripted:
    return altered(tenant, lambda _, answer: replace(answer, cut_after=len(answer.body) // 2))


def linked(*links: str) -> Callable[[Served], Scripted]:
    return lambda tenant: with_links(tenant, *links)


def to_itself(tenant: Served) -> Scripted:
    def step(asked: Asked) -> Answer:
        return with_links(tenant, f"<ORIGIN{LOGS}?from={asked.query['from']}&take=100>; rel=next")(asked)

    return step


def page_from(steps_back: int) -> Callable[[Served], Scripted]:
    """The page behind a position so many events before the one that was asked for."""

    def make(tenant: Served) -> Scripted:
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


_ELSEWHERE = Answer(302, {"Location": "https://evil.example/"})
_LARGE = Answer(200, {}, b"[" + b" " * (17 << 20))
_NO_NUMBER = Answer(200, {"Total-Number": ""}, b"[]")
SAME: dict[str, Any] = {}
MANY = 6
"""So many bad answers are one more than what is under way at once, and asked for again by itself, takes in."""
_LOGTO: dict[str, Any] = {"logto": SAME, "only_logto": True}
_WINDOW = (MID, SHUTDOWN)
_ADDS_UP: dict[str, Any] = {"words": "add up", "times": 40, "moments": _WINDOW, **_LOGTO}


def _code(code: str) -> tuple[str, dict[str, str]]:
    return _REQUESTS, {"code": code}


SOURCE_FAULTS = (
    SourceFault("S1-401-once", revoked, counts=(_TOKENS, {}), times=1, logto=SAME),
    SourceFault(
        "S1-401-fresh-token",
        fails(401),
        "auth",
        _code("401"),
        "read:logs",
        logto={"words": "Management API", "times": MANY},
    ),
    SourceFault("S1-403", fails(403), "forbidden", _code("403"), "read:logs", logto={"words": "role"}),
    SourceFault(
        "S2-token-503", fails(503), "server_error", (_TOKENS, {}), "token request: HTTP 503", token=True, logto=SAME
    ),
    SourceFault(
        "S2-token-429", fails(429, Retry_After="9"), "throttled", (_TOKENS, {}), asks=9, token=True, logto=SAME
    ),
    SourceFault(
        "S2-token-401", fails(401), "auth", (_TOKENS, {}), "client secret", token=True, logto={"words": "app_secret"}
    ),
    SourceFault("S2-token-html", fixed(_HTML), "bad_answer", (_TOKENS, {}), "no access token", token=True, logto=SAME),
    SourceFault("S2-token-slow", _SLOW, "timeout", (_TOKENS, {}), token=True, times=1, settings=_SHORT, logto=SAME),
    SourceFault("S3-reset-ahead", reset_at(17), "throttled", _code("429"), asks=17),
    SourceFault("S3-reset-past", reset_at(-3600), "throttled", _code("429")),
    SourceFault("S3-reset-absurd", reset_at(1e9), "throttled", _code("429"), asks=60, times=1),
    SourceFault("S3-no-reset", fails(429), "throttled", _code("429"), logto=SAME),
    SourceFault("S3-retry-after", fails(429, Retry_After="9"), "throttled", _code("429"), asks=9, logto=SAME),
    SourceFault("S4-500", fails(500), "server_error", _code("500"), "HTTP 500", logto=SAME),
    SourceFault("S4-502-html", fixed(Answer(502, {}, b"<html>")), "server_error", _code("502"), logto=SAME),
    SourceFault("S4-503", fails(503), "server_error", _code("503"), logto=SAME),
    SourceFault("S4-slow", _SLOW, "timeout", _code("timeout"), times=1, settings=_SHORT, logto=SAME),
    SourceFault("S5-half-a-page", body(lambda page: page[: len(page) // 2]), "bad_answer", words="page", logto=SAME),
    SourceFault("S5-cut", cut, "bad_answer", _code("error"), "cut off", logto=SAME),
    SourceFault("S6-page-again", page_from(100), "bad_answer", (_STUCK, {}), "no progress", moments=(MID, SHUTDOWN)),
    SourceFault("S6-overlap", page_from(30), counts=(_DUPLICATES, {}), moments=(MID, SHUTDOWN)),
    SourceFault("S6-more-are-counted", numbered(7), "bad_answer", **_ADDS_UP),
    SourceFault("S6-fewer-are-counted", numbered(-7), "bad_answer", **_ADDS_UP),
    SourceFault("S6-empty-page", body(lambda _: b"[]"), "bad_answer", **_ADDS_UP),
    SourceFault("S7-out-of-order", body(_reversed), reorders=True, logto={"reorders": False}),
    SourceFault("S7-twice-in-a-page", body(_twice), counts=(_DUPLICATES, {}), logto={"counts": None}),
    SourceFault("S8-no-link", linked(), counts=(_LINKS, {}), words="Link is missing"),
    SourceFault("S9-foreign-host", linked(_EVIL), counts=(_LINKS, {}), words="leads elsewhere"),
    SourceFault("S9-userinfo", linked(_USER), counts=(_LINKS, {}), words="leads elsewhere"),
    SourceFault("S9-other-path", linked("<ORIGIN/api/v2/users?from=LAST>; rel=next"), counts=(_LINKS, {})),
    SourceFault("S9-other-scheme", linked(f"<ftp://acme.us.auth0.com{LOGS}?from=LAST>; rel=next"), counts=(_LINKS, {})),
    SourceFault("S9-redirect", fixed(_ELSEWHERE), "redirected", _code("302"), "302", logto=SAME),
    SourceFault("S10-leads-to-itself", to_itself, "bad_answer", (_STUCK, {}), "no progress"),
    SourceFault("S11-html", fixed(_HTML), "bad_answer", words="no JSON array", logto=SAME),
    SourceFault("S11-empty", fixed(Answer(200)), "bad_answer", words="no JSON array", logto=SAME),
    SourceFault("S11-no-number", fixed(_NO_NUMBER), "bad_answer", words="Total-Number", moments=_WINDOW, **_LOGTO),
    SourceFault("S12-17-MiB", fixed(_LARGE), "bad_answer", _code("error"), "bytes", logto=SAME),
    SourceFault("S12-depth", fixed(Answer(200, {}, b"[" * 10_000)), "bad_answer", words="can't be split", logto=SAME),
    SourceFault("S13-bomb", fixed(Answer(200, _BOMB, gzip_bomb())), "bad_answer", _code("error"), "bytes", logto=SAME),
    SourceFault("S13-no-gzip", fixed(Answer(200, _BOMB, b"[]")), "bad_answer", _code("error"), "gzip", logto=SAME),
    SourceFault("S15-an-hour-ahead", lambda _: usual, tenant={"skew_secs": 3600.0}, moments=(FIRST,), logto=SAME),
    SourceFault("S15-an-hour-behind", lambda _: usual, tenant={"skew_secs": -3600.0}, moments=(FIRST,), logto=SAME),
    SourceFault("S15-ten-years-ahead", lambda _: usual, tenant={"skew_secs": 3.2e8}, moments=(FIRST,), logto=SAME),
    SourceFault("S15-ten-years-behind", lambda _: usual, tenant={"skew_secs": -3.2e8}, moments=(FIRST,), logto=SAME),
    SourceFault("S16-400", fails(400), "refused", _code("400"), "400", logto=SAME),
    SourceFault("S18-reset", fixed(Answer(cut_after=-1)), "unreachable", _code("error"), logto={"times": MANY}),
)
