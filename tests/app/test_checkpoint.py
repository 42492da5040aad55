"""Checkpoints in an operator's hands: looked at, moved, carried to another host."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, TenantThread, raw_of

from shipper.commands.carried import imported
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant
from shipper.sources.start import embedded_time, synthetic_id

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
LOG_ID = "9002026110112000000000000000000000000000000000000000000" + "1"


@pytest.fixture
def tenant() -> Iterator[Running]:
    made = [raw for _, raw in Tenant(count=30, **CLIENT).issued()]
    with TenantThread(Tenant(events=made, **CLIENT)) as running:
        yield running


def issued(running: Running) -> list[bytes]:
    return [raw for _, raw in running.tenant.issued()]


def ids(running: Running) -> list[str]:
    return [json.loads(raw)["log_id"] for raw in issued(running)]


def shipped(daemon: Daemon) -> list[bytes]:
    """What a run that ends by itself delivers."""
    daemon.lines.clear()
    daemon.start("--once")
    assert daemon.wait() == 0
    return list(map(raw_of, daemon.lines))


def audit(daemon: Daemon, word: str) -> list[str]:
    lines = [json.loads(line) for line in daemon.command("audit", "--json").stdout.splitlines()]
    return [line["what"] for line in lines if word in line["what"]]


def test_a_checkpoint_is_shown_while_the_daemon_runs_and_set_only_while_its_source_does_not(
    tmp_path: Path, tenant: Running
) -> None:
    daemon = Daemon(tmp_path, tenant.url, "")
    daemon.start()
    daemon.until(lambda: len(daemon.lines) == 30)
    assert ids(tenant)[-1] in daemon.command("checkpoint", "show").stdout
    refused = daemon.command("checkpoint", "set", "acme", ids(tenant)[9], "--yes")
    assert (refused.returncode, "acme is in use: stop the daemon" in refused.stderr) == (2, True)
    daemon.stop()
    assert ids(tenant)[-1] in daemon.command("checkpoint", "show").stdout
    assert audit(daemon, "checkpoint") == []


def test_a_checkpoint_set_to_a_time_repeats_what_was_indexed_since(tmp_path: Path, tenant: Running) -> None:
    daemon = Daemon(tmp_path, tenant.url, "")
    assert shipped(daemon) == issued(tenant)
    indexed = [embedded_time(id_) or 0 for id_ in ids(tenant)]
    second = indexed[15] // 1000 * 1000
    later = [raw for raw, at in zip(issued(tenant), indexed, strict=True) if at >= second]
    assert 0 < len(later) < 30
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(second / 1000, UTC).isoformat()
    answer = daemon.command("checkpoint", "set", "acme", moment, "--yes")
    position = synthetic_id(second)
    assert answer.stdout == f"acme resumes behind {position} (before: {ids(tenant)[-1]})\n"
    assert audit(daemon, "checkpoint") == [f"checkpoint set acme from {ids(tenant)[-1]} to {position}"]
    assert shipped(daemon) == later


def test_checkpoints_go_to_another_host_that_goes_on_there(tmp_path: Path, tenant: Running) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    daemon = Daemon(old, tenant.url, "")
    shipped(daemon)
    tenth = ids(tenant)[9]
    daemon.command("checkpoint", "set", "acme", tenth, "--yes")
    target = tmp_path / "places.json"
    assert daemon.command("checkpoint", "export", str(target)).returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert daemon.command("checkpoint", "export", str(target)).returncode == 2
    [carried] = json.loads(target.read_text())["sources"]
    assert (carried["tenant"], json.loads(carried["checkpoint"])["last"]) == ("auth0:acme.us.auth0.com", tenth)

    moved = Daemon(new, tenant.url, "")
    assert moved.command("checkpoint", "import", str(target)).returncode == 2
    assert not (new / "state").exists()
    answer = moved.command("checkpoint", "import", str(target), "--yes")
    assert answer.stdout == f"acme (auth0:acme.us.auth0.com) resumes behind {tenth} (before: not started)\n"
    assert shipped(moved) == issued(tenant)[10:]
    assert "gap" not in "".join(moved.log)
    assert audit(moved, "checkpoint") == [f"checkpoint import acme from not started to {tenth}"]
    # Where the source is known already, it is set; by its tenant, whatever its name.
    target.write_text(target.read_text().replace('"source": "acme"', '"source": "other"'))
    again = moved.command("checkpoint", "import", str(target), "--yes")
    assert again.stdout == f"acme (auth0:acme.us.auth0.com) resumes behind {tenth} (before: {ids(tenant)[-1]})\n"
    assert shipped(moved) == issued(tenant)[10:]


def test_an_import_is_refused_for_what_is_unknown_or_in_use_and_changes_nothing(
    tmp_path: Path, tenant: Running
) -> None:
    daemon = Daemon(tmp_path, tenant.url, "")
    known = carried(checkpoint={"last": ids(tenant)[9]})
    (tmp_path / "known").write_text(json.dumps(known))
    both = {**known, "sources": [*known["sources"], *carried(source="b", tenant="auth0:b.auth0.com")["sources"]]}
    (tmp_path / "both").write_text(json.dumps(both))
    daemon.start()
    daemon.until(lambda: len(daemon.lines) == 30)
    answer = daemon.command("checkpoint", "import", str(tmp_path / "known"), "--yes")
    assert (answer.returncode, "acme is in use" in answer.stderr) == (2, True)
    daemon.stop()
    answer = daemon.command("checkpoint", "import", str(tmp_path / "both"), "--yes")
    assert (answer.returncode, "knows no tenant auth0:b.auth0.com" in answer.stderr) == (2, True)
    assert ids(tenant)[-1] in daemon.command("checkpoint", "show").stdout
    assert audit(daemon, "checkpoint") == []


def carried(checkpoint: Any = None, **other: Any) -> dict[str, Any]:
    """A file as `checkpoint export` writes it."""
    source = {
        "source": "acme",
        "tenant": "auth0:acme.us.auth0.com",
        "checkpoint": json.dumps(checkpoint or {"last": LOG_ID, "link": ""}),
        "horizon": 1_700_000_000_000,
        "stored": 3,
        **other,
    }
    return {"version": 1, "sources": [source]}


@pytest.mark.parametrize(
    "file",
    [
        {},
        {"version": 2, "sources": carried()["sources"]},
        {"version": 1, "sources": []},
        {"version": 1, "sources": carried()["sources"] * 2},
        carried(checkpoint={"last": "elsewhere", "link": ""}),
        carried(checkpoint=["no checkpoint"]),
        carried(source="A B"),
        carried(tenant="acme\n"),
        carried(horizon=-1),
        carried(more=1),
    ],
)
def test_a_file_that_is_none_of_ours_is_not_imported(file: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        imported(json.dumps(file).encode())


def test_no_file_makes_a_source_request_anything_but_events_behind_a_log_id() -> None:
    link = "/api/v2/users?from=1&take=100"
    [place] = imported(json.dumps(carried(checkpoint={"last": LOG_ID, "link": link})).encode())
    assert (place.place.shown, place.horizon) == (LOG_ID, 1_700_000_000_000)
    assert link not in str(place)
