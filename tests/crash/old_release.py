"""Writes a journal with the victim's first events, by the release whose program PYTHONPATH leads to.

Usage: old_release.py STATE_DIR EVENTS SOURCE
"""

import sys
from pathlib import Path

from crash_events import page_behind

from shipper.journal.files import prepare
from shipper.journal.store import Store


def main() -> None:
    state_dir, upto, source = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    store = Store(prepare(state_dir) / "journal.sqlite", max_bytes=1 << 30)
    store.open_source(source, f"auth0:{source}.example")
    for sink in ("siem", "archive"):
        store.open_lane(source, sink, "earliest")
    stored = 0
    while stored < upto:
        page = page_behind(stored, upto)
        store.append(source, page)
        stored = int(page.checkpoint)
    store.close()


if __name__ == "__main__":
    main()
