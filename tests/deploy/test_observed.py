"""A real Prometheus looks at a real daemon: its metrics, the rules and the dashboard of deploy/, a sink that dies."""

import math
import re
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from daemon_case import STARTED, SUCCESS, Daemon, Destination, Hec, Reply, TenantThread, until
from dashboard_case import DASHBOARD, filled_in, queries
from expiry_case import certificate
from prometheus_case import Prometheus
from promql_case import GOLDEN, OF_THE_TARGET, golden
from tool_case import tool

from shipper.scripted import Received
from shipper.simulator.tenant import Tenant

UNAVAILABLE = Reply(503, b'{"text":"Server is busy","code":9}')
REFUSES_ONE = Reply(400, b'{"text":"Invalid data format","code":6,"invalid-event-number":0}')
DEAD = """batch.max_events = 50
[sinks.dead]
type = "splunk_hec"
url = "{url}"
token = "made-up"
request.retry_initial_backoff_secs = 0.1
request.retry_max_duration_secs = 0.1
tls.cert_file = "client.pem"
tls.key_file = "client.key"
"""


class Observed(NamedTuple):
    """One tenant; `siem` refuses one event, `dead` has been answering 503 all the time, `console` is well."""

    daemon: Daemon
    dead: Destination
    prometheus: Prometheus


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    tool("prometheus")
    place = tmp_path_factory.mktemp("observed")
    certificate(place, 90)
    hec = Hec()

    def siem(request: Received) -> Reply:
        return REFUSES_ONE if len(destination.requests) == 2 else hec(request)

    options: dict[str, Any] = {"client_id": "canary-client", "client_secret": "canary-client-secret"}
    tenant = Tenant(count=0, backlog=200, rate=40, **options)
    with TenantThread(tenant) as running, Destination(default=siem) as destination, Destination() as dead:
        dead.default = UNAVAILABLE
        daemon = Daemon(
            place, running.url, destination.url, siem="batch.max_events = 50\n", extra=DEAD.format(url=dead.url)
        )
        daemon.start()
        # It lives for the whole module, which the fixture that leaves no process behind does not know.
        STARTED.remove(daemon.process)
        try:
            with Prometheus.scraping(place, daemon.address.removeprefix("http://")) as prometheus:
                yield Observed(daemon, dead, prometheus)
        finally:
            daemon.process.kill()
            daemon.wait()


def test_promtool_finds_nothing_wrong_with_what_is_served(observed: Observed) -> None:
    status, text = observed.daemon.get("/metrics")
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (status, done.returncode, done.stdout + done.stderr) == (200, 0, "")


def test_every_query_of_the_dashboard_gets_data(observed: Observed) -> None:
    ours = observed.daemon.address.removeprefix("http://").rstrip("/")
    waiting = {query: filled_in(query, ours) for query in queries()}

    def all_have_data() -> bool:
        for query, expression in list(waiting.items()):
            if any(math.isfinite(value) for value in observed.prometheus.values(expression)):
                del waiting[query]
        return not waiting

    until(all_have_data, lambda: f"these get nothing: {sorted(waiting)}")
    of_all = {
        series["metric"]["instance"]
        for query in queries()
        for series in observed.prometheus.query(filled_in(query, ours))
        if "instance" in series["metric"]
    }
    assert of_all == {ours}


def test_every_variable_of_the_dashboard_has_its_values(observed: Observed) -> None:
    found = {}
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            series = observed.prometheus.get("/api/v1/series", **{"match[]": filled_in(asked[1])})
            found[variable["name"]] = {one[asked[2]] for one in series}
    assert found["job"] == {"shipper"}
    assert len(found["instance"]) == 1
    assert (found["source"], found["sink"]) == ({"acme"}, {"siem", "console", "dead"})


def test_prometheus_holds_the_metrics_of_the_golden_file_with_their_labels_and_no_others(observed: Observed) -> None:
    found: dict[str, set[str]] = {}
    for series in observed.prometheus.get("/api/v1/series", **{"match[]": '{__name__=~"shipper_.+"}'}):
        found.setdefault(series.pop("__name__"), set()).update(series)
    expected = {name: {*labels} | OF_THE_TARGET for name, labels in golden().items()}
    assert found == expected, f"a rename is a decision: {GOLDEN}"


def test_the_rules_are_evaluated_without_an_error_and_the_freshness_of_lanes_is_recorded(observed: Observed) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = observed.prometheus.get("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in rules()))
    assert {rule["health"] for rule in rules()} == {"ok"}, [rule.get("lastError") for rule in rules()]

    def late() -> dict[str, str]:
        return {s["metric"]["sink"]: s["value"][1] for s in observed.prometheus.query("lane:shipper_late:bool")}

    until(lambda: late() == {"siem": "0", "console": "0", "dead": "1"}, late)


def test_a_dead_sink_alarms_until_it_is_mended_and_a_dead_daemon_does_then(observed: Observed) -> None:
    behind, refused = ("ShipperLaneBehind", "dead"), ("ShipperEventsDeadLettered", "siem")
    firing = observed.prometheus.firing
    until(lambda: behind in firing(), firing)
    alerts = observed.prometheus.get("/api/v1/alerts")["alerts"]
    (alert,) = [one for one in alerts if (one["labels"]["alertname"], one["labels"].get("sink")) == behind]
    assert alert["annotations"]["summary"] == "dead is behind acme."
    assert {sink for name, sink in firing() if name == "ShipperLaneBehind"} == {"dead"}
    observed.dead.default = SUCCESS
    may_go_on = {refused, ("ShipperDeadLettersKept", "siem"), *burnt()}
    until(lambda: firing() <= may_go_on, firing)
    observed.daemon.process.kill()
    until(lambda: ("ShipperDown", "") in firing(), firing)


def burnt() -> set[tuple[str, str]]:
    """The objective does not forget as fast as the lane recovers."""
    return {(f"ShipperFreshnessBurns{pace}", "dead") for pace in ("Fast", "Slowly")}
