"""The state directory is lost, and the archive is what is left: the daemon says so, and goes on from it when told."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, Hec, TenantThread, raw_of
from s3_case import Bucket

from shipper.scripted import Destination
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
EARLIER, COUNT = 300, 700


@pytest.fixture
def tenant() -> Iterator[Running]:
    made = [raw for _, raw in Tenant(count=COUNT, **CLIENT).issued()]
    with TenantThread(Tenant(events=made[:EARLIER], **CLIENT)) as running:
        running.later = made[EARLIER:]  # type: ignore[attr-defined]
        yield running


def archiving(place: Path, tenant: Running, hec: str, bucket: Bucket) -> Daemon:
    """With an archive beside the SIEM, and no console."""
    daemon = Daemon(place, tenant.url, hec)
    archive = (
        f'[sinks.archive]\ntype = "s3"\nbucket = "{bucket.name}"\nendpoint_url = "{bucket.url}"\nregion = "eu-west-1"\n'
        "add_tenant_name = false\nproxy = 'none'\nbatch.timeout_secs = 0\nrequest.retry_max_duration_secs = 0.2\n"
    )
    daemon.config.write_text(daemon.config.read_text().partition("[sinks.console]")[0] + archive)
    return daemon


def archived(bucket: Bucket) -> list[bytes]:
    """Every event of the archive, in the order of its keys."""
    return [raw_of(line) for _, lines in sorted(bucket.lines().items()) for line in lines]


@pytest.mark.usefixtures("aws")
def test_a_lost_state_directory_goes_on_from_the_archive(tmp_path: Path, tenant: Running, bucket: Bucket) -> None:
    hec = Hec()
    with Destination(default=hec) as destination:
        daemon = archiving(tmp_path, tenant, destination.url, bucket)
        daemon.start("--once")
        assert daemon.wait() == 0
        assert len(archived(bucket)) == EARLIER
        shutil.rmtree(tmp_path / "state")

        daemon.start()
        assert daemon.wait() == 78, "it begins nothing anew by itself"
        assert "shipper checkpoint recover --from-sink archive" in daemon.log[-1]
        assert "shipper run --fresh" in daemon.log[-1]

        answer = daemon.command("checkpoint", "recover", "--from-sink", "archive", "--overlap", "30m")
        assert (answer.returncode, answer.stdout.startswith("acme: sinks.archive goes on behind 900")) == (0, True)
        again = daemon.command("checkpoint", "recover", "--from-sink", "archive")
        assert (again.returncode, "has a place for acme already" in again.stderr) == (2, True)

        hec.envelopes.clear()
        for raw in tenant.later:  # type: ignore[attr-defined]
            tenant.tenant.add(raw)
        daemon.start("--once")
        assert daemon.wait() == 0
    everything = [raw for _, raw in tenant.tenant.issued()]
    assert sorted(archived(bucket)) == sorted(everything), "each once"
    delivered = [raw_of(envelope) for envelope in hec.envelopes]
    assert delivered == everything[-len(delivered) :]
    assert len(delivered) >= COUNT - EARLIER, "the overlap repeats, and leaves nothing out"


@pytest.mark.usefixtures("aws")
def test_fresh_begins_anew_beside_an_archive(tmp_path: Path, tenant: Running, bucket: Bucket) -> None:
    with Destination(default=Hec()) as destination:
        daemon = archiving(tmp_path, tenant, destination.url, bucket)
        daemon.start("--once")
        assert daemon.wait() == 0
        shutil.rmtree(tmp_path / "state")
        daemon.start("--once", "--fresh")
        assert daemon.wait() == 0
    assert set(archived(bucket)) == {raw for _, raw in tenant.tenant.issued()}


@pytest.mark.usefixtures("aws")
def test_an_archive_that_does_not_answer_does_not_keep_a_start(
    tmp_path: Path, tenant: Running, bucket: Bucket, aws: Callable[[tuple[str, str] | None], None]
) -> None:
    aws(("nobody", "knows-this-one"))
    hec = Hec()
    with Destination(default=hec) as destination:
        daemon = archiving(tmp_path, tenant, destination.url, bucket)
        daemon.start()
        daemon.until(lambda: len(hec.envelopes) == EARLIER)
        assert daemon.records("can't see whether this source was archived before")
        daemon.stop()


@pytest.mark.parametrize(
    "words", [["--from-sink", "nobody"], ["--from-sink", "siem"], ["--from-sink", "archive", "--overlap", "x"]]
)
@pytest.mark.usefixtures("aws")
def test_recovering_from_what_is_no_archive_is_refused_in_one_line(
    tmp_path: Path, tenant: Running, bucket: Bucket, words: list[str]
) -> None:
    daemon = archiving(tmp_path, tenant, "http://127.0.0.1:9", bucket)
    answer = daemon.command("checkpoint", "recover", *words)
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].startswith("shipper: ")
    assert json.dumps(answer.stdout) == '""'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for another user")
@pytest.mark.usefixtures("aws")
def test_recovering_makes_no_files_in_another_user_s_state_directory(
    tmp_path: Path, tenant: Running, bucket: Bucket
) -> None:
    daemon = archiving(tmp_path, tenant, "http://127.0.0.1:9", bucket)
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 54321, -1)
    answer = daemon.command("checkpoint", "recover", "--from-sink", "archive")
    assert (answer.returncode, "belongs to user 54321" in answer.stderr) == (2, True)
    assert list(state.iterdir()) == []
