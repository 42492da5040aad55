"""The status page in a real browser, with the daemon's own answers or with made-up ones in their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, Route, sync_playwright

from shipper.reasons import HELD, WHAT_TO_DO, Reason
from shipper.status_page import PAGE, POLICY

AT = 1_795_000_000_000
ADDRESS = "http://127.0.0.1:9464/"
"""Of made-up answers: the browser's requests are answered here, and nothing listens there."""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
SINKS = {"archive": "s3", "observability": "datadog", "siem": "splunk_hec"}


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Browser]:
    """A browser that calls nobody by itself. profile: where it keeps its files."""
    with sync_playwright() as playwright:
        environ: dict[str, str | float | bool] = {"HOME": str(profile), "PATH": "/usr/bin:/bin"}
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, env=environ)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, with everything that it said and asked for. look: as Browser.new_page takes it."""

    def __init__(self, browser: Browser, answers: Mapping[str, Any] | None = None, **look: Any) -> None:
        self.page: Page = browser.new_page(**look)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.status = 200
        self.answers = answers
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        if answers is not None:
            self.page.route("**/*", self._answer)

    def _answer(self, route: Route) -> None:
        if "/api/status" not in route.request.url:
            route.fulfill(
                body=PAGE, headers={"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
            )
        elif self.status == 200:
            route.fulfill(json=self.answers)
        else:
            route.fulfill(status=self.status, body="no")

    def open(self, address: str = ADDRESS) -> Page:
        """Opens it and waits for the first figures."""
        self.page.goto(address)
        self.page.wait_for_selector("#body:not([hidden])")
        return self.page

    def text(self, selector: str) -> str:
        """What stands there, without breaks of lines."""
        return " ".join(self.page.inner_text(selector).split())

    def ask(self, answers: Mapping[str, Any] | None = None, status: int = 200) -> None:
        """Gives other answers from now on, and has the page ask at once, as when a person comes back to it."""
        self.answers, self.status = answers or self.answers, status
        with self.page.expect_response("**/api/status*"):
            self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def headline(self, text: str) -> None:
        """Waits until it says so."""
        self.page.get_by_role("heading", level=1, name=text, exact=True).wait_for(timeout=15_000)

    def faults(self, *rules: str) -> list[str]:
        """What axe-core finds wrong for people with disabilities, contrast among it; by these rules, or by all."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        how = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = self.page.evaluate("how => axe.run(how).then(found => ({violations: found.violations}))", how)
        return [
            f"{fault['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
            for fault in found["violations"]
            for node in fault["nodes"]
        ]


# -- what a daemon may answer ------------------------------------------------------------------------------------------


def part(reason: Reason | None = None, *, note: str = "", secs: float = 0.0, state: str = "") -> dict[str, Any]:
    """How a source or lane is doing."""
    state = state or ("running" if reason is None else "held" if reason in HELD else "waiting")
    return {
        "state": state,
        "reason": reason,
        "note": note,
        "do": WHAT_TO_DO[reason] if reason else "",
        "failures": 43 if reason else 0,
        "for_seconds": None if state == "disabled" else secs,
    }


def source(name: str, how: Mapping[str, Any] | None = None, **figures: Any) -> dict[str, Any]:
    """One source; figures: what differs from a healthy one."""
    lag = figures.get("lag_seconds", 1.5)
    retention = figures.get("retention_seconds", 86_400)
    return {
        "source": name,
        "tenant": f"{name.replace('_', '-')}.us.auth0.com",
        **(how or part()),
        "events": 120_000,
        "lag_seconds": lag,
        "retention_seconds": retention,
        "retention_headroom_seconds": None if lag is None else retention - lag,
        "retention_gaps": 0,
        "last_retention_gap": None,
        **figures,
    }


def lane(source: str, sink: str, how: Mapping[str, Any] | None = None, **figures: Any) -> dict[str, Any]:
    """One lane; figures: what differs from a healthy one."""
    return {
        "source": source,
        "sink": sink,
        **(how or part()),
        "lag_events": 0,
        "lag_seconds": 2.0,
        "delivered": 100_000,
        "dead_letters": 0,
        "dead_lettered": {},
        "queued": 0,
        "requeued": 0,
        "replayed": 0,
        **figures,
    }


def newest(name: str, *, failure: int, untold: int = 0) -> dict[str, Any]:
    """What the newest thousand events of a source tell of."""
    outcomes = {"success": 800 - failure - untold, "failure": failure, "other": 200, "untold": untold}
    categories = [("auth.login.success", 500), ("auth.token_exchange.success", 150), ("auth.login.fail", failure)]
    return {
        "source": name,
        "events": 1000,
        "outcomes": outcomes,
        "categories": [{"category": category, "events": events} for category, events in categories],
    }


def status(sources: list[dict[str, Any]], lanes: list[dict[str, Any]], samples: int = 60) -> dict[str, Any]:
    """What the daemon answers: a history in which every count has grown evenly and every lag was as it is."""
    back = list(range(samples, 0, -1))
    return {
        "version": "0.1.0",
        "at": AT,
        "uptime_seconds": 263_000.0,
        "journal": {"bytes": 1_300_000_000, "max_bytes": 10_737_418_240, "full": False},
        "dead_letters": {"bytes": 29_400, "max_bytes": 1_073_741_824},
        "sources": sources,
        "sinks": [{"sink": name, "type": SINKS.get(name, "stdout")} for name in {one["sink"]: 0 for one in lanes}],
        "lanes": lanes,
        "newest": [newest(one["source"], failure=100 + 10 * n) for n, one in enumerate(sources)],
        "history": {
            "every_seconds": 10.0,
            "whole": True,
            "times": [AT - 10_000 * step for step in back],
            "sources": [
                {"source": one["source"], "events": [one["events"] - 100 * b for b in back]} for one in sources
            ],
            "lanes": [
                {
                    "source": one["source"],
                    "sink": one["sink"],
                    "delivered": [one["delivered"] - (100 * b if one["state"] == "running" else 0) for b in back],
                    "lag_events": [one["lag_events"] for _ in back],
                    "lag_seconds": [one["lag_seconds"] for _ in back],
                }
                for one in lanes
            ],
        },
    }


HELD_BY_AUTH = part("auth", note="splunk.example answers HTTP 403 (code 4, Invalid token)", secs=731.0)


def fine() -> dict[str, Any]:
    """Nothing is wrong."""
    return status([source("acme")], [lane("acme", sink) for sink in SINKS])


def one_down() -> dict[str, Any]:
    """Two tenants; one sink takes nothing from either, and another has refused some events."""
    lanes = []
    for name in ("acme", "beta"):
        lanes.append(lane(name, "archive", lag_events=311, lag_seconds=92.0))
        lanes.append(lane(name, "observability", dead_letters=7, dead_lettered={"refused": 7}))
        lanes.append(lane(name, "siem", HELD_BY_AUTH, lag_events=20_811, lag_seconds=734.0))
    return status([source("acme"), source("beta")], lanes)


def everything_wrong() -> dict[str, Any]:
    """Every state, every kind of remark, the longest names."""
    long = "a" * 31
    gap = {"since": AT - 8 * 3_600_000, "until": AT - 3_600_000, "may_be_empty": True}
    sources = [
        source(long, part("auth", note="HTTP 401", secs=50_000.0), lag_seconds=50_000.0),
        source("beta", part("journal_full", state="paused", secs=40.0), retention_gaps=2, last_retention_gap=gap),
        source("gamma", lag_seconds=90_000.0),
        source("new", lag_seconds=None),
    ]
    lanes = [
        lane(long, long, part("tls", note="x" * 500, secs=49_000.0), lag_events=9_000_000, lag_seconds=50_000.0),
        lane(long, "archive", part("unreachable", note="no connection", secs=75.0), lag_events=12),
        lane("beta", "archive", lag_events=60_000, lag_seconds=1_400.0),
        lane("beta", "old_siem", part(state="disabled"), lag_events=1_200, lag_seconds=9_000.0),
        lane("gamma", "archive", dead_letters=3, dead_lettered={"refused": 2, "too_large": 1}),
        lane("new", "archive", lag_seconds=None, delivered=0),
    ]
    answer = status(sources, lanes)
    answer["journal"] |= {"bytes": 10_700_000_000, "full": True}
    return answer


def many() -> dict[str, Any]:
    """Fifty tenants, one of which can't be delivered to a sink."""
    sources = [source(f"tenant_{number:02}") for number in range(50)]
    lanes = [lane(one["source"], sink) for one in sources for sink in SINKS]
    lanes[26] |= part("unreachable", note="splunk.example: no connection", secs=390.0)
    return status(sources, lanes)
