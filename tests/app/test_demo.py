"""The demo, as `make demo` runs it."""

import re
import subprocess
import sys
from pathlib import Path

from daemon_case import environ


def test_the_demo_ends_with_nothing_lost_and_leaves_nothing_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shipper", "demo"], capture_output=True, text=True, env=environ(), timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.search(r"issued 4000 · siem 4000 \(missing 0, twice \d+ ≤ 500\) · console 4000 \(missing 0", last)
    assert "archive 4000 (missing 0, twice 0 ≤ 0)" in last
    place = re.search(r"in (\S+);", done.stdout)
    assert place is not None
    assert not Path(place[1]).exists()
