"""Writes a journal with the victim's first events, by the release whose program PYTHONPATH leads to.

Usage: old_release.py STATE_DIR EVENTS
"""

import sys
from pathlib import Path

from crash_events import page_behind

from shipper.journal.files import prepare
from shipper.journal.store import Store


def main() -> None:
    state_dir, upto = Path(sys.argv[1]), int(sys.argv[2])
    store = Store(prepare(state_dir) / "journal.sqlite", max_bytes=1 << 30)
    store.open_source("acme", "auth0:acme.example")
    for sink in ("siem", "archive"):
        store.open_lane("acme", sink, "earliest")
    stored = 0
    while stored < upto:
        page = page_behind(stored, upto)
        store.append("acme", page)
        stored = int(page.checkpoint)
    store.close()


if __name__ == "__main__":
    main()
