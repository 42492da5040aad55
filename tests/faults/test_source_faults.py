"""The fault matrix of the source: each row of `source_faults_case.py`, over the real journal."""

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from source_case import AnyRig, until
from source_faults_case import (
    FIRST,
    KINDS,
    SECRET,
    SHUTDOWN,
    Kind,
    Scripted,
    SourceFault,
    faults_of,
    issued,
    rig_of,
    usual,
)

from shipper.scripted import PERSON

CELLS = [
    pytest.param(kind, fault, moment, id=f"{fault.id}-{moment}" + "-logto" * (kind == "logto"))
    for kind in KINDS
    for fault in faults_of(kind)
    for moment in fault.moments
]


@pytest.mark.parametrize(("kind", "fault", "moment"), CELLS)
async def test_a_fault_skips_nothing_is_counted_is_told_and_is_over_when_it_ends(
    kind: Kind,
    fault: SourceFault,
    moment: str,
    in_memory_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    tenant: dict[str, Any] = {"events": issued(kind), "client_secret": SECRET, "gzip": False, **fault.tenant}
    async with rig_of(kind, in_memory_path, tenant, fault.settings) as rig:
        if moment == SHUTDOWN:
            await shut_down_and_start_again(fault, rig)
        else:
            begin(fault, rig, [] if moment == FIRST else [usual, usual], fault.times)
            await rig.drained()
            assert_waited(fault, rig)
        assert rig.running.tenant.script == rig.running.tenant.token_script == [], "the fault did not come"
        await assert_nothing_skipped(fault, rig)
        assert_counted(fault, rig)
        assert_logged(fault, rig, recovers=moment != SHUTDOWN)
    printed = capfd.readouterr()
    assert_no_leak(rig, in_memory_path, printed.out + printed.err + caplog.text)


def begin(fault: SourceFault, rig: AnyRig, before: list[Scripted], times: int) -> None:
    """Lays the answers out: as usual at first, then so many bad ones."""
    bad = fault.step(rig.running.tenant)
    if not fault.token:
        rig.running.tenant.script.extend([*before, *[bad] * times])
        return
    rig.running.tenant.token_script.extend([*[usual] * bool(before), *[bad] * times])
    if before:
        rig.running.tenant.script.extend([*before, lambda _: rig.running.tenant.revoke_tokens()])


async def shut_down_and_start_again(fault: SourceFault, rig: AnyRig) -> None:
    """Stopped while the fault is on, in its first wait or else on the way; the next process reads on."""
    begin(fault, rig, [usual, usual], 1000 if fault.times > 1 else 1)
    rig.sleeps.hold_at(1)
    reading = asyncio.create_task(rig.source.run())
    waits = asyncio.create_task(rig.sleeps.held.wait())
    # Two pages of a hundred came as usual, then one with the fault in it.
    is_stored = until(rig.journal, rig.name, lambda: fault.reason is None and rig.handle.figures.stored > 200)
    on_the_way = asyncio.create_task(is_stored)
    await asyncio.wait([reading, waits, on_the_way], return_when=asyncio.FIRST_COMPLETED)
    for task in (reading, waits, on_the_way):
        task.cancel()
    await asyncio.gather(reading, waits, on_the_way, return_exceptions=True)
    rig.running.tenant.script.clear()
    rig.running.tenant.token_script.clear()
    await rig.restart()
    rig.sleeps.hold_at(1 << 30)
    failed = failures(rig)
    await rig.drained()
    assert failures(rig) == failed, "fails although the fault has ended"


def failures(rig: AnyRig) -> dict[str, float]:
    """shipper_source_failures_total by reason, without zeros."""
    samples = (one for family in rig.metrics.registry.collect() for one in family.samples)
    found = (one for one in samples if one.name == "shipper_source_failures_total" and one.value)
    return {one.labels["reason"]: one.value for one in found}


def assert_waited(fault: SourceFault, rig: AnyRig) -> None:
    """One wait for each failure and none after the last one: the backoff's, or what the tenant asked for and jitter."""
    assert len(rig.sleeps.secs) == sum(failures(rig).values())
    for number, secs in enumerate(rig.sleeps.secs):
        assert secs <= max(2.0**number, (fault.asks or 0.0) + 1.0)
        assert secs >= (fault.asks or 0.0) - 1.0, "the server's time is cut to whole seconds"


async def assert_nothing_skipped(fault: SourceFault, rig: AnyRig) -> None:
    stored, wanted = await rig.stored(), rig.issued()
    assert Counter(stored) == Counter(wanted), "lost, invented, altered or twice"
    assert (stored == wanted) != fault.reorders, "events stand in the order in which they were served"
    assert rig.handle.figures.stored == len(wanted)


def assert_counted(fault: SourceFault, rig: AnyRig) -> None:
    assert set(failures(rig)) == ({fault.reason} if fault.reason else set())
    if fault.counts is not None:
        name, labels = fault.counts
        usually = 1 if name == "shipper_token_requests_total" else 0
        assert rig.count(name, **labels) > usually


def assert_logged(fault: SourceFault, rig: AnyRig, *, recovers: bool) -> None:
    lines = [line for line in rig.capture.entries if line["event"] in ("waiting", "held", "recovered")]
    if fault.reason is None:
        assert lines == []
    else:
        assert (lines[0]["event"], lines[0]["reason"]) == (fault.state, fault.reason)
        assert lines[0]["do"]
        if recovers:
            assert [line["event"] for line in lines[1:]] == ["recovered"]
    told = [f"{line['event']} {line.get('note', '')}" for line in rig.capture.entries]
    assert any(re.search(fault.words, text) for text in told), told


def assert_no_leak(rig: AnyRig, state_dir: Path, printed: str) -> None:
    tokens = [token for token in rig.running.tenant.tokens._known if token]
    assert tokens
    shown = f"{printed} {rig.capture.entries} {generate_latest(rig.metrics.registry).decode()}"
    for secret in (SECRET, *tokens):
        assert secret not in shown
        for path in state_dir.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), f"{path.name} holds a secret"
    assert PERSON not in shown
