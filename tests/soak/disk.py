"""A small file system for the state directory, which can be filled up."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE_MB = 64
STEP = 1 << 16


class Disk:
    """Where the state directory lies. small: it has a file system of its own, so it can be full."""

    def __init__(self, place: Path, *, small: bool) -> None:
        self.place, self.small = place, small
        self._filler = place / "filler"

    def fill(self) -> None:
        """Takes all that is free, to the last byte."""
        size = STEP
        with contextlib.suppress(FileNotFoundError), self._filler.open("ab", buffering=0) as filler:
            while size:
                try:
                    filler.write(bytes(size))
                except OSError:
                    size //= 2

    def clear(self) -> None:
        """Gives it back."""
        self._filler.unlink(missing_ok=True)


@contextlib.contextmanager
def disk(place: Path) -> Iterator[Disk]:
    """A small disk at this place where we may mount one (as root on Linux); else just a directory."""
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0755", "soak", str(place)]
    small = (
        os.geteuid() == 0
        and mount is not None
        and subprocess.run([mount, *options], capture_output=True, check=False).returncode == 0
    )
    try:
        yield Disk(place, small=small)
    finally:
        if small:
            # Lazily: whoever still has a file open there must not keep the soak from its end.
            subprocess.run(["umount", "-l", str(place)], check=False)
