"""What the daemon runs at this moment, and its figures as metrics.

Everything durable is read from the journal's snapshot when someone asks, so counters go on over restarts.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shipper.health import STATES, Health
from shipper.journal import Figures, LaneFigures, SourceFigures
from shipper.reasons import REASONS, WHAT_TO_DO
from shipper.sink import Sink

MOST_NAMED = 3


@dataclass
class Scene:
    """What the daemon runs, for metrics and status: every source and lane with its health.

    sinks: those in use. server_now: a source's own clock, milliseconds since 1970 UTC. retention: seconds that a source
    keeps its events.
    refused: the last reload of the configuration was.
    """

    figures: Callable[[], Figures]
    sinks: dict[str, Sink] = field(default_factory=dict)
    dead_letters_max_bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    sources: dict[str, Health] = field(default_factory=dict)
    lanes: dict[tuple[str, str], Health] = field(default_factory=dict)
    server_now: dict[str, Callable[[], int]] = field(default_factory=dict)
    retention: dict[str, float] = field(default_factory=dict)
    refused: bool = False

    def forget_source(self, name: str) -> None:
        """It runs no more."""
        del self.sources[name], self.server_now[name], self.retention[name]

    def source_lag_secs(self, source: SourceFigures) -> float | None:
        """Server time minus the source's horizon; None before the first answer."""
        if source.name not in self.server_now or not source.horizon:
            return None
        return max(0.0, (self.server_now[source.name]() - source.horizon) / 1000)

    def lane_lag_secs(self, source: SourceFigures, lane: LaneFigures) -> float | None:
        """Server time minus the lane's horizon: its oldest unsettled event's time, else the source's horizon."""
        horizon = self.lane_horizon(source.name, lane.sink)
        if source.name not in self.server_now or horizon is None:
            return None
        return max(0.0, (self.server_now[source.name]() - horizon) / 1000)

    def lane_horizon(self, source: str, sink: str) -> int | None:
        """The time (ms) up to which a lane has everything settled; None before the first answer."""
        figures = self.figures().sources[source]
        lane = figures.lanes[sink]
        # A first start at the earliest event has a horizon of 0 until the first answer.
        return lane.oldest if lane.oldest is not None else figures.horizon or None

    def status(self) -> dict[str, Any]:
        """Everything that an operator asks first, as plain data."""
        figures = self.figures()
        return {
            "version": version("identity-log-shipper"),
            "at": int(time.time() * 1000),
            "reload_refused": self.refused,
            "uptime_seconds": round(time.monotonic() - self.began, 1),
            "journal": {"bytes": figures.used_bytes, "max_bytes": figures.max_bytes, "full": figures.full},
            "dead_letters": {"bytes": figures.dead_bytes, "max_bytes": self.dead_letters_max_bytes},
            "sources": [self._source_status(source) for source in figures.sources.values()],
            "sinks": [{"sink": name, "type": sink.config.type} for name, sink in self.sinks.items()],
            "lanes": [
                self._lane_status(source, lane) for source in figures.sources.values() for lane in source.lanes.values()
            ],
        }

    def line(self) -> str:
        """The same in one line, for a service manager: names and reasons, no content."""
        sources = self.figures().sources
        behind = sum(sources[source].lanes[sink].lag for source, sink in self.lanes)
        lanes = _count("lane", [(sink, health) for (_, sink), health in self.lanes.items()])
        troubled = [(name, health) for name, health in self.sources.items() if health.state != "running"]
        parts = [lanes, f"{behind} events behind"]
        if troubled:
            parts.append(_count("source", troubled))
        if self.refused:
            parts.append("the last reload was refused")
        return "; ".join(parts)

    def _source_status(self, source: SourceFigures) -> dict[str, Any]:
        lag = self.source_lag_secs(source)
        return {
            "source": source.name,
            "tenant": source.tenant,
            **_health(self.sources.get(source.name)),
            "events": source.stored,
            "lag_seconds": lag,
            "retention_seconds": self.retention.get(source.name),
            "retention_headroom_seconds": None if lag is None else self.retention[source.name] - lag,
            "retention_gaps": source.gaps,
            "last_retention_gap": source.last_gap
            and dict(zip(("since", "until", "may_be_empty"), source.last_gap, strict=True)),
        }

    def _lane_status(self, source: SourceFigures, lane: LaneFigures) -> dict[str, Any]:
        return {
            "source": source.name,
            "sink": lane.sink,
            **_health(self.lanes.get((source.name, lane.sink))),
            "lag_events": lane.lag,
            "lag_seconds": self.lane_lag_secs(source, lane),
            "delivered": lane.delivered,
            "filtered": lane.filtered,
            "dead_letters": lane.dead_kept,
            "dead_lettered": dict(lane.dead),
            "queued": lane.queue_last - lane.queue_position,
            "requeued": lane.requeued,
            "replayed": lane.replayed,
        }


def _count(what: str, named: Sequence[tuple[str, Health]]) -> str:
    """`3 lanes: 2 running, 1 held (siem: auth)`: how many are in which state, and what ails which."""
    states = []
    for state in STATES:
        those = [(name, health.reason) for name, health in named if health.state == state]
        ails = list(dict.fromkeys(f"{name}: {reason}" for name, reason in those if reason))
        if len(ails) > MOST_NAMED:
            ails[MOST_NAMED:] = ["…"]
        if those:
            states.append(f"{len(those)} {state}" + (f" ({', '.join(ails)})" if ails else ""))
    return f"{len(named)} {what}{'' if len(named) == 1 else 's'}: {', '.join(states) or 'none'}"


def _health(health: Health | None) -> dict[str, Any]:
    """disabled: it stands in the journal, and not in what runs; its place is kept."""
    if health is None:
        return {"state": "disabled", "reason": None, "note": "", "do": "", "failures": 0, "for_seconds": None}
    return {
        "state": health.state,
        "reason": health.reason,
        "note": health.note,
        "do": WHAT_TO_DO[health.reason] if health.reason else "",
        "failures": health.failures,
        "for_seconds": round(health.troubled_secs, 1),
    }


class SceneCollector(Collector):
    """The figures of journal and health, as metrics."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def collect(self) -> Iterable[Metric]:
        """All families from one snapshot."""
        figures = self._scene.figures()
        yield from self._source_families(figures)
        yield from self._lane_families(figures)
        yield from self._states(figures)
        used = GaugeMetricFamily("shipper_journal_bytes", "Bytes of used pages in the journal")
        used.add_metric([], figures.used_bytes)
        yield used
        limit = GaugeMetricFamily("shipper_journal_max_bytes", "The journal's limit")
        limit.add_metric([], figures.max_bytes)
        yield limit

    def _source_families(self, figures: Figures) -> Iterable[Metric]:
        fetched = CounterMetricFamily("shipper_events_fetched", "Events stored", labels=["source"])
        lag = GaugeMetricFamily(
            "shipper_source_lag_seconds", "Server time minus the source's horizon", labels=["source"]
        )
        headroom = GaugeMetricFamily(
            "shipper_retention_headroom_seconds", "Retention minus the source's lag", labels=["source"]
        )
        gaps = CounterMetricFamily(
            "shipper_retention_gaps", "Times that the source's retention ran out before a poll", labels=["source"]
        )
        for name, source in figures.sources.items():
            fetched.add_metric([name], source.stored)
            gaps.add_metric([name], source.gaps)
            secs = self._scene.source_lag_secs(source)
            if secs is not None:
                lag.add_metric([name], secs)
                headroom.add_metric([name], self._scene.retention[name] - secs)
        yield from (fetched, gaps, lag, headroom)

    def _lane_families(self, figures: Figures) -> Iterable[Metric]:
        labels = ["source", "sink"]
        delivered = CounterMetricFamily("shipper_events_delivered", "Events delivered", labels=labels)
        filtered = CounterMetricFamily("shipper_events_filtered", "Events that a filter left out", labels=labels)
        dead = CounterMetricFamily(
            "shipper_events_dead_lettered", "Events given up, with a reason", labels=[*labels, "reason"]
        )
        kept = GaugeMetricFamily("shipper_dead_letters", "Dead letters kept", labels=labels)
        given_up = CounterMetricFamily("shipper_events_given_up", "Events given up by `forget`", labels=labels)
        removed = CounterMetricFamily(
            "shipper_dead_letters_removed", "Dead letters removed, for their age or by `dead purge`", labels=labels
        )
        requeued = CounterMetricFamily(
            "shipper_events_requeued", "Dead letters delivered after they were requeued", labels=labels
        )
        replayed = CounterMetricFamily("shipper_events_replayed", "Events sent once more by `replay`", labels=labels)
        lag = GaugeMetricFamily("shipper_lag_events", "Events stored and not yet settled", labels=labels)
        secs = GaugeMetricFamily("shipper_lag_seconds", "Server time minus the lane's horizon", labels=labels)
        for name, source in figures.sources.items():
            for sink, lane in source.lanes.items():
                at = [name, sink]
                delivered.add_metric(at, lane.delivered)
                filtered.add_metric(at, lane.filtered)
                kept.add_metric(at, lane.dead_kept)
                given_up.add_metric(at, lane.given_up)
                removed.add_metric(at, lane.dead_removed)
                requeued.add_metric(at, lane.requeued)
                replayed.add_metric(at, lane.replayed)
                lag.add_metric(at, lane.lag)
                for reason in REASONS:
                    dead.add_metric([*at, reason], lane.dead.get(reason, 0))
                behind = self._scene.lane_lag_secs(source, lane)
                if behind is not None:
                    secs.add_metric(at, behind)
        yield from (delivered, filtered, dead, kept, given_up, removed, requeued, replayed, lag, secs)

    def _states(self, figures: Figures) -> Iterable[Metric]:
        sources = GaugeMetricFamily("shipper_source_state", "1 for the current state", labels=["source", "state"])
        for name in figures.sources:
            current = _health(self._scene.sources.get(name))["state"]
            for state in STATES:
                sources.add_metric([name, state], float(current == state))
        lanes = GaugeMetricFamily("shipper_lane_state", "1 for the current state", labels=["source", "sink", "state"])
        for name, source in figures.sources.items():
            for sink in source.lanes:
                current = _health(self._scene.lanes.get((name, sink)))["state"]
                for state in STATES:
                    lanes.add_metric([name, sink, state], float(current == state))
        yield from (sources, lanes)
