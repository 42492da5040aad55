"""What a hostile answer may cost: measured in a process of its own."""

import asyncio
import sys
import zlib
from pathlib import Path

import pytest
from source_case import events

from shipper.simulator.answer import Answer
from shipper.simulator.server import serve
from shipper.simulator.tenant import Tenant
from shipper.sources.start import EARLIEST

TARGET = f"/api/v2/logs?from={EARLIEST}&take=100"
READ = """
import asyncio, resource, sys
import structlog
from shipper.metrics import Metrics
from shipper.secret import Secret
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.trouble import Trouble

async def main():
    config = Auth0Config(
        type="auth0", domain="acme.us.auth0.com", token=Secret("t"), base_url=sys.argv[1], proxy="none"
    )
    api = Auth0Api(config, Metrics().source("acme"), structlog.get_logger())
    await api.get(sys.argv[2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(4):
        try:
            await api.get(sys.argv[2])
        except Trouble as trouble:
            print(trouble.note)
    await api.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main())
"""


def bomb(mebibytes: int) -> bytes:
    """So many MiB of spaces as gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * (1 << 20)
    return b"".join(packer.compress(block) for _ in range(mebibytes)) + packer.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count resident memory in other units")
@pytest.mark.parametrize("kind", ["one member", "many members", "not packed"])
async def test_a_bomb_adds_no_more_than_40_mb_of_memory(tmp_path: Path, kind: str) -> None:
    body = {"one member": bomb(256), "many members": bomb(8) * 32, "not packed": b" " * (64 << 20)}[kind]
    headers = {} if kind == "not packed" else {"Content-Encoding": "gzip"}
    tenant = Tenant(events=events(100), plan="none", token="t")
    async with serve(tenant) as running:
        tenant.script.extend([lambda _: None, *[Answer(200, headers, body)] * 4])
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", READ, running.url, TARGET, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        output, _ = await reader.communicate()
    *notes, added = output.decode().split("\n")[:-1]
    assert len(notes) == 4
    assert all("answers with more than 16777216 bytes" in note for note in notes)
    assert int(added) <= 40_000
