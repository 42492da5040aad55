"""Names, types and labels of all metrics: a change is a decision, and shows as one in the golden file."""

from pathlib import Path

from prometheus_client.metrics_core import Metric

from shipper.event import Page
from shipper.health import Health
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.reasons import REASONS
from shipper.scene import Scene, SceneCollector
from shipper.scripted import make_events

GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"


class Silent:
    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: None


async def families(place: Path) -> list[Metric]:
    """What a daemon with one source and one lane shows after its first page."""
    journal = await SqliteJournal.open(place, max_bytes=10**9)
    try:
        source, _ = await journal.source("acme", "auth0:acme.us.auth0.com")
        await journal.lane("acme", "siem")
        await source.append(Page(make_events(3), b"checkpoint", 1_767_225_700_000))
        metrics, scene = Metrics(), Scene(lambda: journal.figures)
        metrics.registry.register(SceneCollector(scene))
        metrics.source("acme").remaining(3)
        metrics.lane("acme", "siem").delivered([1_767_225_600_000], 1_767_225_603_000)
        scene.sources["acme"] = Health(Silent(), lambda: 0.0)
        scene.lanes["acme", "siem"] = Health(Silent(), lambda: 0.0)
        scene.server_now["acme"] = lambda: 1_767_225_760_000
        scene.retention["acme"] = 86_400.0
        return [family for family in metrics.registry.collect() if family.name.startswith("shipper_")]
    finally:
        await journal.close()


async def test_names_types_and_labels_are_those_of_the_golden_file(tmp_path: Path) -> None:
    lines = []
    for family in await families(tmp_path):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        lines.append(f"{name} {family.type} {{{','.join(labels)}}}")
    assert "\n".join(sorted(lines)) + "\n" == GOLDEN.read_text()


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


async def test_known_label_values_begin_at_zero(tmp_path: Path) -> None:
    found = await families(tmp_path)
    for name in ("shipper_write_failures", "shipper_source_failures", "shipper_events_dead_lettered"):
        samples = next(family for family in found if family.name == name).samples
        assert {s.labels["reason"]: s.value for s in samples if s.name.endswith("_total")} == dict.fromkeys(
            REASONS, 0.0
        )


def test_an_events_delay_is_counted_in_its_bucket() -> None:
    metrics = Metrics()
    metrics.lane("acme", "siem").delivered([0, 500, 99_000], 100_000)
    value = metrics.registry.get_sample_value
    assert value("shipper_delivery_seconds_bucket", {"sink": "siem", "le": "1.0"}) == 1
    assert value("shipper_delivery_seconds_bucket", {"sink": "siem", "le": "120.0"}) == 3
    assert value("shipper_delivery_seconds_count", {"sink": "siem"}) == 3
    assert value("shipper_delivery_seconds_sum", {"sink": "siem"}) == 200.5
