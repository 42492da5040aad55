"""What is counted while running. What the journal knows stands in `scene.py`, read from its figures at scrape time.

Label values come from closed sets (names in the configuration, reasons, states, status codes), never from an event.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shipper.event import NOTICES, Notice
from shipper.reasons import REASONS, Reason

TOO_OLD_ACTIONS = ("restamp", "dead_letter")
CODES = ("200", "400", "401", "403", "404", "429", "500", "502", "503", "504", "error", "timeout")
"""What a request for a page usually ends in; other statuses join when they first come."""
RELOADS = ("applied", "refused")
OUTCOMES = ("delivered", "unavailable", "rejected", "partly_rejected", "timeout", "bug")
WRITE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
DELIVERY_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0)


class Metrics:
    """The registry and what is counted while running."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # OpenMetrics adds when each series began, which Prometheus 2 stores as so many more series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._labelled: list[tuple[set[str], Counter | Gauge | Histogram]] = []
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)
        source, lane = ["source"], ["source", "sink"]
        self.duplicates = self._counter("shipper_events_duplicate", "Events that were stored already", source)
        self.late = self._counter(
            "shipper_late_events", "Events that the overlap check found behind the checkpoint", source
        )
        self.requests = self._counter(
            "shipper_source_requests", "Requests for a page by HTTP status, error or timeout", ["source", "code"]
        )
        self.source_failures = self._counter(
            "shipper_source_failures", "Pages that could not be had, by reason", ["source", "reason"]
        )
        self.remaining = Gauge(
            "shipper_source_rate_limit_remaining",
            "Requests left in the tenant's bucket, as the last answer said",
            source,
            registry=self.registry,
        )
        self._labelled.append(({"source"}, self.remaining))
        self.links_refused = self._counter("shipper_links_refused", "Links that lead elsewhere or are missing", source)
        self.no_progress = self._counter("shipper_no_progress", "Pages that lead to themselves", source)
        self.tokens = self._counter("shipper_token_requests", "Requests for an access token", source)
        self.odd_pages = self._counter("shipper_odd_pages", "Pages that only the tolerant splitter could read", source)
        self.writes = self._counter("shipper_writes", "Writes by outcome", [*lane, "outcome"])
        self.write_failures = self._counter("shipper_write_failures", "Failed writes by reason", [*lane, "reason"])
        self.too_old = self._counter(
            "shipper_events_too_old",
            "Events older than the destination takes, by what became of them",
            [*lane, "action"],
        )
        self.notices = self._counter(
            "shipper_notices", "What a person should know of although nothing fails", [*lane, "notice"]
        )
        self.write_secs = Histogram(
            "shipper_write_seconds", "Time of one write", ["sink"], buckets=WRITE_BUCKETS, registry=self.registry
        )
        self._labelled.append(({"sink"}, self.write_secs))
        self._commit_secs = Histogram(
            "shipper_journal_commit_seconds", "Time of one commit", buckets=COMMIT_BUCKETS, registry=self.registry
        )
        self._journal_errors = self._counter("shipper_journal_errors", "Failed journal operations", ["reason"])
        self._reloads = self._counter(
            "shipper_config_reloads", "Times that the configuration was to be read again", ["outcome"]
        )
        self._reload_succeeded = Gauge(
            "shipper_config_last_reload_successful",
            "1 where what stands in the configuration file is in force",
            registry=self.registry,
        )
        self._reload_succeeded.set(1)
        self.delivery = DeliverySeconds()
        self.registry.register(self.delivery)
        build = Gauge("shipper_build_info", "The running version", ["version"], registry=self.registry)
        build.labels(version("identity-log-shipper")).set(1)
        for reason in ("disk_full", "journal_full", "io", "bug"):
            self._journal_errors.labels(reason)
        for outcome in RELOADS:
            self._reloads.labels(outcome)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        counter = Counter(name, text, labels, registry=self.registry)
        self._labelled.append((set(labels), counter))
        return counter

    def committed(self, secs: float) -> None:
        """A journal commit took so long. Safe from any thread."""
        self._commit_secs.observe(secs)

    def journal_error(self, reason: Reason) -> None:
        """A journal operation failed."""
        self._journal_errors.labels(reason).inc()

    def reloaded(self, outcome: str) -> None:
        """The configuration was to be read again: one of RELOADS; refused: the one before goes on."""
        self._reloads.labels(outcome).inc()
        self._reload_succeeded.set(outcome == "applied")

    def drop(self, **labels: str) -> None:
        """Forgets what has all of these labels (source, sink), since it runs no more."""
        for names, metric in self._labelled:
            if labels.keys() <= names:
                metric.remove_by_labels(labels)
        if list(labels) == ["sink"]:
            self.delivery.drop(labels["sink"])

    def source(self, name: str) -> "SourceMetrics":
        """One source's counters, all there from the start."""
        return SourceMetrics(self, name)

    def lane(self, source: str, sink: str) -> "LaneMetrics":
        """One lane's counters, all there from the start."""
        return LaneMetrics(self, source, sink)


class SourceMetrics:
    """What a source counts."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics, self._name = metrics, name
        self._duplicates = metrics.duplicates.labels(name)
        self._late = metrics.late.labels(name)
        self._links_refused = metrics.links_refused.labels(name)
        self._no_progress = metrics.no_progress.labels(name)
        self._tokens = metrics.tokens.labels(name)
        self._odd = metrics.odd_pages.labels(name)
        for code in CODES:
            metrics.requests.labels(name, code)
        for reason in REASONS:
            metrics.source_failures.labels(name, reason)

    def answered(self, code: str) -> None:
        """A request was answered with this status, or ended in `error` or `timeout`.

        A status that HTTP does not know (RFC 9110 15) is an error: whoever answers has no say in how many there are.
        """
        if code not in CODES and not (code.isdecimal() and 100 <= int(code) <= 599):
            code = "error"
        self._metrics.requests.labels(self._name, code).inc()

    def failed(self, reason: Reason) -> None:
        """A page could not be had."""
        self._metrics.source_failures.labels(self._name, reason).inc()

    def remaining(self, requests: int) -> None:
        """The bucket's fill, as the tenant said."""
        self._metrics.remaining.labels(self._name).set(requests)

    def duplicates(self, events: int) -> None:
        """So many events of a page were stored already."""
        self._duplicates.inc(events)

    def late(self, events: int) -> None:
        """So many events were indexed behind the checkpoint, and found by the overlap check."""
        self._late.inc(events)

    def link_refused(self) -> None:
        """A Link led elsewhere, or was missing."""
        self._links_refused.inc()

    def no_progress(self) -> None:
        """A page with events led to itself."""
        self._no_progress.inc()

    def token_requested(self) -> None:
        """A token was asked for."""
        self._tokens.inc()

    def odd_page(self) -> None:
        """A page needed the tolerant splitter."""
        self._odd.inc()


class LaneMetrics:
    """What a lane counts."""

    def __init__(self, metrics: Metrics, source: str, sink: str) -> None:
        self._metrics, self._sink = metrics, sink
        self._secs = metrics.write_secs.labels(sink)
        self._outcomes = {outcome: metrics.writes.labels(source, sink, outcome) for outcome in OUTCOMES}
        self._failures = {reason: metrics.write_failures.labels(source, sink, reason) for reason in REASONS}
        self._too_old = {action: metrics.too_old.labels(source, sink, action) for action in TOO_OLD_ACTIONS}
        self._notices = {notice: metrics.notices.labels(source, sink, notice) for notice in NOTICES}
        metrics.delivery.add(sink, (), 0)

    def wrote(self, secs: float) -> None:
        """One write took so long."""
        self._secs.observe(secs)

    def outcome(self, outcome: str, reason: Reason | None = None) -> None:
        """One write ended so."""
        self._outcomes[outcome].inc()
        if reason is not None:
            self._failures[reason].inc()

    def too_old(self, action: str, events: int) -> None:
        """So many settled events were older than the destination takes."""
        self._too_old[action].inc(events)

    def notice(self, notice: Notice) -> None:
        """A sink told something."""
        self._notices[notice].inc()

    def delivered(self, times: Sequence[int], now: int) -> None:
        """Events of these times (milliseconds) are delivered."""
        self._metrics.delivery.add(self._sink, times, now)


class DeliverySeconds(Collector):
    """shipper_delivery_seconds: from the event's time to its delivery.

    A histogram of our own, since the library takes one observation a call, which costs as much as a whole event.
    """

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, sink: str, times: Sequence[int], now: int) -> None:
        """Events of these times (milliseconds) were delivered just now."""
        counts = self._counts.setdefault(sink, [0] * (len(DELIVERY_BUCKETS) + 1))
        for at in times:
            counts[bisect_left(DELIVERY_BUCKETS, (now - at) / 1000)] += 1
        self._sums[sink] = self._sums.get(sink, 0.0) + (len(times) * now - sum(times)) / 1000

    def drop(self, sink: str) -> None:
        """It runs no more."""
        self._counts.pop(sink, None)
        self._sums.pop(sink, None)

    def collect(self) -> Iterable[Metric]:
        """The family as of now."""
        family = HistogramMetricFamily(
            "shipper_delivery_seconds", "From an event's time to its delivery", labels=["sink"]
        )
        for sink, counts in self._counts.items():
            total, buckets = 0, []
            for bound, count in zip([*map(str, DELIVERY_BUCKETS), "+Inf"], counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric([sink], buckets, self._sums[sink])
        yield family
