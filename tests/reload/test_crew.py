"""Who works, and who goes on working while others end and begin."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture
from tls_case import make_certificates
from wanted_case import ACME, BETA, SIEM, settings

from shipper.crew import Crew
from shipper.journal import WrongTenantError
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.scene import Scene
from shipper.testing import Destination, Reply
from shipper.wanted import wanted

Tables = Mapping[str, Mapping[str, object]]


class At:
    """A crew at work, beside a tenant that is never there, so that nothing but what is asked for happens."""

    def __init__(self, place: Path, journal: SqliteJournal, group: asyncio.TaskGroup, nobody: str) -> None:
        self._place, self._group, self._nobody = place, group, nobody
        self.log = LogCapture()
        self.scene = Scene(lambda: journal.figures)
        self.metrics = Metrics()
        log = structlog.wrap_logger(None, processors=[self.log])
        self.crew = Crew(journal, self.scene, self.metrics, log)

    async def become(self, tables: Tables, meanwhile: Callable[[], object] = lambda: None) -> None:
        there = {name: {**table, "base_url": self._nobody} for name, table in tables.items() if "domain" in table}
        to = wanted(settings(self._place, {**tables, **there}))
        meanwhile()
        await self.crew.become(await self.crew.prepare(to), self._group, 1.0)

    @staticmethod
    def tasks() -> dict[str, asyncio.Task[Any]]:
        kinds = ("lane", "requeued", "source")
        return {task.get_name(): task for task in asyncio.all_tasks() if task.get_name().split()[0] in kinds}

    def series(self) -> set[str]:
        """The sources and sinks that metrics name."""
        samples = [sample for family in self.metrics.registry.collect() for sample in family.samples]
        return {value for sample in samples for key, value in sample.labels.items() if key in ("source", "sink")}


@asynccontextmanager
async def at_work(place: Path) -> AsyncIterator[At]:
    with Destination(default=Reply(503)) as nobody:
        journal = await SqliteJournal.open(place / "state", max_bytes=10_000_000)
        async with asyncio.TaskGroup() as group:
            at = At(place, journal, group, nobody.url)
            yield at
            await at.crew.stop(1.0)
        await at.crew.close()
        await journal.close()


async def test_who_is_not_concerned_keeps_its_task(tmp_path: Path) -> None:
    async with at_work(tmp_path) as at:
        await at.become({"acme": ACME, "siem": SIEM, "old": SIEM})
        before = at.tasks()
        assert sorted(before) == [
            "lane acme old",
            "lane acme siem",
            "requeued acme old",
            "requeued acme siem",
            "source acme",
        ]
        await at.become(
            {"acme": {**ACME, "poll_interval_secs": 9.0}, "siem": SIEM, "old": {**SIEM, "index": "x"}, "new": SIEM}
        )
        after = at.tasks()
        same = {name for name, task in before.items() if after.get(name) is task}
        assert same == {"lane acme siem", "requeued acme siem"}
        assert sorted(after) == sorted([*before, "lane acme new", "requeued acme new"])
        assert all(task.done() for name, task in before.items() if name not in same)


async def test_what_is_gone_is_shown_no_more_and_what_was_held_stays_so_until_it_works(tmp_path: Path) -> None:
    async with at_work(tmp_path) as at:
        await at.become({"acme": ACME, "beta": BETA, "siem": SIEM, "old": SIEM})
        assert at.series() == {"acme", "beta", "siem", "old"}
        at.scene.lanes["acme", "siem"].trouble("held", "auth", "HTTP 401")
        await at.become({"acme": ACME, "siem": {**SIEM, "index": "x"}})
        assert at.scene.lanes["acme", "siem"].reason == "auth"
        assert (list(at.scene.lanes), list(at.scene.sources), list(at.scene.sinks)) == (
            [("acme", "siem")],
            ["acme"],
            ["siem"],
        )
        assert at.series() == {"acme", "siem"}
        assert not at.crew.in_use("old")
        assert [name for name, _ in at.crew.secrets()] == ["acme", "siem"]
        # Another tenant under a name has nothing of the first one's.
        at.scene.sources["acme"].trouble("held", "auth", "HTTP 401")
        await at.become({"label": ACME, "acme": BETA, "siem": {**SIEM, "index": "x"}})
        assert at.scene.sources["acme"].state != "held"
        assert at.scene.lanes["acme", "siem"].reason is None
        renamed = [entry for entry in at.log.entries if entry["event"].startswith("the source has a new name")]
        assert [(entry["source"], entry["former"]) for entry in renamed] == [("label", "acme"), ("acme", "beta")]


@pytest.mark.parametrize(
    ("tables", "error"),
    [
        ({"acme": BETA, "new": SIEM}, WrongTenantError),
        ({"acme": ACME, "siem": SIEM, "new": {**SIEM, "tls.ca_file": "ca.pem"}}, OSError),
    ],
)
async def test_what_can_not_begin_ends_nothing(tmp_path: Path, tables: Tables, error: type[Exception]) -> None:
    authority = make_certificates(tmp_path) / "authority.pem"
    authority.rename(tmp_path / "ca.pem")
    async with at_work(tmp_path) as at:
        await at.become({"acme": ACME, "siem": SIEM})
        before = at.tasks()
        with pytest.raises(error):
            # It was right when the settings were read.
            await at.become(tables, lambda: (tmp_path / "ca.pem").write_text("no certificate"))
        said = [entry["sink"] for entry in at.log.entries if entry["event"] == "a sink can't be opened"]
        assert said == (["new"] if error is OSError else [])
        assert at.tasks() == before
        assert not at.crew.in_use("new")
        # Whatever it was, it is no part of what is asked for next.
        await at.become({"acme": ACME, "siem": SIEM})
        assert at.tasks() == before
