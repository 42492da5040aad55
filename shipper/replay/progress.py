"""How far a replay or an export got, in a small file: what an interrupted one goes on from."""

import os
from pathlib import Path

import msgspec

from shipper.journal.files import synchronise
from shipper.replay.supply import Using


class Progress(msgspec.Struct, frozen=True):
    """what: its own words, by which its file is known again. place: the supply's, behind the last event that is done.

    since, until: the range of time, which may have been typed as one that ends now. delivered, refused: events so far.
    time: of the last one. size: bytes of the output file that hold them. Times in milliseconds since 1970 UTC.
    """

    what: str
    using: Using
    place: str = ""
    delivered: int = 0
    refused: int = 0
    since: int = 0
    until: int = 0
    time: int = 0
    size: int = 0


def load(file: Path, what: str) -> Progress | None:
    """The progress in this file, None where there is none. Raises ValueError where it is another one's."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(data, type=Progress)
    except msgspec.MsgspecError:
        raise ValueError(f"{file} is no file of progress") from None
    if found.what != what:
        raise ValueError(f"{file} belongs to another run: {found.what}")
    return found


def save(file: Path, progress: Progress) -> None:
    """Durable before it returns; a crash leaves the former one or this one. Raises OSError."""
    beside = file.with_name(file.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(progress))
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)
    synchronise(file.parent)


def note_refused(file: Path, lines: list[dict[str, str]]) -> Path:
    """Adds what was refused (log_id, reason, the destination's words) to a file beside it, which is returned."""
    beside = file.with_name(file.name.removesuffix(".json") + ".refused.ndjson")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        for line in lines:
            stream.write(msgspec.json.encode(line) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return beside


def done(file: Path) -> None:
    """There is nothing left to go on from."""
    file.unlink(missing_ok=True)
