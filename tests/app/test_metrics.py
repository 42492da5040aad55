"""Names, types and labels of all metrics: a change is a decision, and shows as one in the golden file."""

from pathlib import Path

import pytest
from expiry_case import certificate, settings, token
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from shipper.desk import Desk
from shipper.event import Page
from shipper.expiry import ExpiryCollector
from shipper.health import Health
from shipper.journal import UnknownNameError
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.reasons import REASONS, Reason
from shipper.scene import Scene, SceneCollector
from shipper.scripted import make_events

GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"


EVENT_VALUES = {value for event in make_events(3) for value in (event.id, event.date, event.type)}


class Silent:
    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: None


def counted(metrics: Metrics, name: str) -> list[Sample]:
    return [s for f in metrics.registry.collect() if f.name == name for s in f.samples if s.name.endswith("_total")]


async def families(place: Path) -> list[Metric]:
    """What a daemon with one source and one lane shows after its first page."""
    journal = await SqliteJournal.open(place, max_bytes=10**9)
    try:
        source, _ = await journal.source("acme", "auth0:acme.us.auth0.com")
        await journal.lane("acme", "siem")
        await source.append(Page(make_events(3), b"checkpoint", 1_767_225_700_000))
        metrics, scene = Metrics(), Scene(lambda: journal.figures)
        metrics.registry.register(SceneCollector(scene))
        certificate(place, 30)
        (place / "acme.token").write_text(token({"exp": 1_800_000_000}))
        used = settings(place)
        metrics.registry.register(ExpiryCollector(lambda: used))
        metrics.source("acme").remaining(3)
        metrics.lane("acme", "siem")
        scene.sources["acme"] = Health(Silent(), lambda: 0.0)
        scene.lanes["acme", "siem"] = Health(Silent(), lambda: 0.0)
        scene.server_now["acme"] = lambda: 1_767_225_760_000
        scene.retention["acme"] = 86_400.0
        return [family for family in metrics.registry.collect() if family.name.startswith("shipper_")]
    finally:
        await journal.close()


def line_of(family: Metric) -> str:
    """Name, type and labels of a metric, with the values that a label has from the start where they are not names."""
    shown = []
    for label in sorted({label for sample in family.samples for label in sample.labels} - {"le"}):
        values = {sample.labels[label] for sample in family.samples}
        if label in ("source", "sink", "name", "version"):
            shown.append(label)
        else:
            shown.append(f"{label}={'REASONS' if values == set(REASONS) else '|'.join(sorted(values))}")
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"{name} {family.type} {{{','.join(shown)}}}"


async def test_names_types_and_labels_are_those_of_the_golden_file(tmp_path: Path) -> None:
    lines = [line_of(family) for family in await families(tmp_path)]
    assert "\n".join(sorted(lines)) + "\n" == GOLDEN.read_text()


async def test_no_label_takes_its_value_from_an_event_or_from_whoever_answers(tmp_path: Path) -> None:
    metrics = Metrics()
    source = metrics.source("acme")
    before = {sample.labels["code"] for sample in counted(metrics, "shipper_source_requests")}
    for code in ("000", "42", "600", "999", "-1", "2OO", "²00"):
        source.answered(code)
    source.answered("418")
    samples = {sample.labels["code"]: sample.value for sample in counted(metrics, "shipper_source_requests")}
    assert set(samples) - before == {"418"}
    assert samples["error"] == 7
    for family in await families(tmp_path):
        assert {*(value for sample in family.samples for value in sample.labels.values())} & EVENT_VALUES == set()


async def test_lags_and_headroom_are_measured_by_the_servers_clock(tmp_path: Path) -> None:
    found = {
        (sample.name, sample.labels.get("sink")): sample.value
        for family in await families(tmp_path)
        for sample in family.samples
    }
    assert found["shipper_source_lag_seconds", None] == 60.0
    assert found["shipper_retention_headroom_seconds", None] == 86_340.0
    assert found["shipper_lag_seconds", "siem"] == 158.877
    assert found["shipper_lag_events", "siem"] == 3


async def test_what_has_not_happened_yet_is_counted_as_0(tmp_path: Path) -> None:
    counters = [family for family in await families(tmp_path) if family.type == "counter"]
    values = {sample.name: 0.0 for family in counters for sample in family.samples}
    values["shipper_events_fetched_total"] = 3.0
    assert {(sample.name, sample.value) for family in counters for sample in family.samples} == set(values.items())


async def test_there_is_no_lag_before_a_tenants_first_answer(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path, max_bytes=10**9)
    try:
        source, _ = await journal.source("acme", "auth0:acme.us.auth0.com")
        await journal.lane("acme", "siem")
        await source.begin("earliest", b"checkpoint", 0)
        scene = Scene(lambda: journal.figures)
        scene.server_now["acme"] = lambda: 1_767_225_760_000
        scene.retention["acme"] = 86_400.0
        found = {family.name: len(family.samples) for family in SceneCollector(scene).collect()}
    finally:
        await journal.close()
    assert found["shipper_source_lag_seconds"] == found["shipper_retention_headroom_seconds"] == 0
    assert found["shipper_lag_seconds"] == 0
    assert found["shipper_lag_events"] == 1


async def test_a_name_that_an_operator_got_wrong_is_no_failure_of_the_journal(tmp_path: Path) -> None:
    failed: list[Reason] = []
    journal = await SqliteJournal.open(tmp_path, max_bytes=10**9, failed=failed.append)
    try:
        with pytest.raises(UnknownNameError):
            await Desk(journal).answer("forget", {"kind": "sinks", "name": "siem", "who": "me"})
    finally:
        await journal.close()
    assert failed == []


def test_a_series_is_stored_once_and_not_with_its_beginning_beside_it() -> None:
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert b"_created" not in encode(Metrics().registry)


def test_an_events_delay_is_counted_in_its_bucket() -> None:
    metrics = Metrics()
    metrics.lane("acme", "siem").delivered([0, 500, 99_000], 100_000)
    value = metrics.registry.get_sample_value
    assert value("shipper_delivery_seconds_bucket", {"sink": "siem", "le": "1.0"}) == 1
    assert value("shipper_delivery_seconds_bucket", {"sink": "siem", "le": "120.0"}) == 3
    assert value("shipper_delivery_seconds_count", {"sink": "siem"}) == 3
    assert value("shipper_delivery_seconds_sum", {"sink": "siem"}) == 200.5
