"""`python -m soak.clock FILE WORDS...`: the `shipper` command on a machine whose wall clock steps.

FILE holds by how many seconds the clock is wrong, and may change at any time. The monotonic clock goes on as it should,
as on a machine that an operator or NTP sets. What reads the clock past Python's `time` (SQLite, OpenSSL, `datetime`)
keeps the right one.
"""

import sys
import time
from pathlib import Path

LOOK_EVERY_SECS = 0.1


def install(file: Path) -> None:
    """Makes `time.time` and `time.time_ns` as wrong as the file says."""
    real_ns, looked, wrong_ns = time.time_ns, 0.0, 0

    def time_ns() -> int:
        nonlocal looked, wrong_ns
        if time.monotonic() - looked > LOOK_EVERY_SECS:
            looked, wrong_ns = time.monotonic(), int(float(file.read_text()) * 1e9)
        return real_ns() + wrong_ns

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if __name__ == "__main__":
    # Before anything of the program is imported: it binds the clock as a default.
    install(Path(sys.argv[1]))
    from shipper.cli import main

    sys.argv = ["shipper", *sys.argv[2:]]
    main()
