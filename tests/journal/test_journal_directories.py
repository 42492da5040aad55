"""A new journal is found again after a power cut, with the directories that lead to it."""

import re
import stat
import subprocess
import sys
from pathlib import Path

from strace_case import need_trace

from shipper.journal.sqlite import SqliteJournal

BEGIN = """
import asyncio, os, sys
from pathlib import Path
from shipper.journal.sqlite import SqliteJournal

async def main():
    journal = await SqliteJournal.open(Path(sys.argv[1]), max_bytes=1 << 30)
    await journal.source("acme", "acme.example")
    os.write(1, b"begun")

asyncio.run(main())
"""
CALLS = "trace=mkdir,rename,fsync,fdatasync,write"
_MADE = re.compile(r'^\d+ +mkdir\("([^"]*)", \w+\) += 0$')
_RENAMED = re.compile(r'^\d+ +rename\("[^"]*", "([^"]*)"\) += 0$')
_SYNCED = re.compile(r"^\d+ +f(?:data)?sync\(\d+<([^>]*)>")


def test_the_names_of_a_new_journal_and_its_directory_are_durable_before_anything_counts_on_it(tmp_path: Path) -> None:
    need_trace()
    trace = tmp_path / "trace"
    strace = ["strace", "-D", "-f", "-qq", "-y", "--seccomp-bpf", "-o", str(trace), "-e", CALLS]
    subprocess.run([*strace, sys.executable, "-c", BEGIN, str(tmp_path / "state")], check=True, capture_output=True)
    pending: set[Path] = set()
    made: list[str] = []
    before, begun, _ = trace.read_text().partition('"begun"')
    assert begun
    for line in before.splitlines():
        if new := _MADE.match(line) or _RENAMED.match(line):
            pending.add(Path(new[1]))
            made.append(Path(new[1]).name)
        elif synced := _SYNCED.match(line):
            pending -= {name for name in pending if name.parent == Path(synced[1])}
    assert made == ["state", "journal", "journal.sqlite"]
    assert not pending


async def test_what_a_volume_opens_to_its_group_is_closed_again_at_every_start(tmp_path: Path) -> None:
    # Kubernetes' fsGroup gives a volume's root to a group, and, unless told otherwise, at each mount all that is in it.
    def mounted() -> None:
        for path in (state, *state.rglob("*")):
            path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))

    state = tmp_path / "state"
    state.mkdir()
    for _ in range(2):
        mounted()
        journal = await SqliteJournal.open(state, max_bytes=1 << 30)
        await journal.source("acme", "acme.example")
        found = {path.relative_to(state): stat.S_IMODE(path.stat().st_mode) for path in state.rglob("*")}
        await journal.close()
        assert found.pop(Path("journal")) & 0o777 == 0o700
        assert found
        assert [path for path, mode in found.items() if mode & 0o077] == []
