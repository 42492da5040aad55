"""A checkpoint that the tenant rejects: a person decides where to go on, and nobody else."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, TenantThread
from source_case import START, event, events, log_id, rigged

from shipper.simulator.answer import error
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant
from shipper.sources.chain import Checkpoint
from shipper.sources.start import synthetic_id

DAY = 86_400


async def test_an_expired_checkpoint_that_is_rejected_holds_the_source_until_a_person_moves_it(tmp_path: Path) -> None:
    tenant = {"events": events(3), "retention_days": 1, "rejects_expired": True}
    async with rigged(tmp_path, tenant=tenant, start=log_id(-100), retention_days=1.0) as rig:
        await rig.drained()
        rig.clock.secs += 40 * DAY
        kept = event(rig.clock.secs - 3600)
        rig.tenant.add(kept)
        await rig.restart()
        await rig.source.run(once=True)
        health = rig.source.health
        assert (health.state, health.reason) == ("held", "refused")
        assert f"checkpoint rejected: HTTP 400 for from={log_id(-1, 2)}; nothing is skipped" in health.note
        assert "`shipper checkpoint set acme LOG_ID --yes`" in health.note
        assert rig.position == log_id(-1, 2)
        assert rig.handle.figures.stored == 3
        assert rig.handle.figures.gaps == 0
        # It was asked for again and again, and never for anything else.
        assert {one.query["from"] for one in rig.asked[-5:]} == {log_id(-1, 2)}

        # As the command does, with a position made of a time, as the note says.
        chosen = synthetic_id(int((START + 39.5 * DAY) * 1000))
        await rig.journal.set_checkpoint("acme", Checkpoint(chosen).encode(), "moved", "a person")
        await rig.restart()
        assert await rig.drained() == [*events(3), kept]
        assert rig.source.health.state == "running"
        assert rig.handle.figures.gaps == 1


async def test_the_note_shows_a_position_at_the_checkpoints_own_time(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3)}) as rig:
        await rig.drained()
        rig.tenant.script.extend([lambda _: error(400, "Bad Request", "x")] * 100)
        await rig.source.run(once=True)
        shown = re.search(r"like (\d{56})$", rig.source.health.note)
        assert shown is not None
        assert shown[1] == synthetic_id(int((START - 1) * 1000)) <= rig.position


async def test_a_refused_search_is_not_called_a_rejected_checkpoint(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3)}, start="2026-09-21T00:00:00Z") as rig:
        rig.tenant.script.extend([lambda _: error(400, "Bad Request", "x")] * 200)
        await rig.source.run(once=True)
        assert rig.source.health.reason == "refused"
        assert "checkpoint" not in rig.source.health.note
        assert rig.handle.figures.checkpoint is None


# -- as an operator sees it --------------------------------------------------------------------------------------------


@pytest.fixture
def tenant() -> Iterator[Running]:
    client: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
    with TenantThread(Tenant(events=events(3), **client)) as running:
        yield running


def test_status_says_that_the_checkpoint_is_rejected_and_what_to_do(tmp_path: Path, tenant: Running) -> None:
    daemon = Daemon(tmp_path, tenant.url, "")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # `shipper status` asks where the configuration says.
    daemon.config.write_text(daemon.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    daemon.start()
    daemon.until(lambda: len(daemon.lines) == 3)
    tenant.tenant.script.extend([error(400, "Bad Request", "x")] * 1_000)
    daemon.until(lambda: daemon.records("held"))
    (line,) = daemon.records("held")
    assert (line["reason"], line["level"]) == ("refused", "error")
    status = json.loads(daemon.get("/api/status")[1])["sources"][0]
    assert (status["state"], status["reason"], status["retention_gaps"]) == ("held", "refused", 0)
    assert "shipper checkpoint set acme LOG_ID --yes" in status["note"]
    shown = daemon.command("status")
    assert shown.returncode == 1
    assert "checkpoint rejected: HTTP 400" in " ".join(shown.stdout.split())
    daemon.stop()
    assert len(daemon.lines) == 3
