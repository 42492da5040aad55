"""A power cut, replayed: what a disk may hold at any moment of a recorded run.

A disk may do with what was not synchronised as it likes: lose it, keep it, keep some sectors of it, and keep what was
written later without what was written earlier. The name of a file is durable once its directory was synchronised. What
comes out is only as true as this model: a disk that lies about synchronising is none of it.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

SECTOR = 512
CALLS = "openat,write,pwrite64,ftruncate,fdatasync,fsync,rename,unlink"
STRACE = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}"]

_LINE = re.compile(rb"^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)$")
_STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(rb"^\d+<((?:\\x[0-9a-f]{2})*)>")

T = TypeVar("T")
Name = str
Fate = Literal["lost", "kept", "cut", "mixed"]
FATES: tuple[Fate, ...] = ("lost", "kept", "cut", "mixed", "mixed")


@dataclass(frozen=True)
class Operation:
    """One recorded call. name: of the file, in the directory that is watched; "" for the directory itself.

    call: "create", "write", "truncate", "sync", "rename", "unlink" or "told". data: what was written, or the line that
    was told, or the new name, or whether a file of this name is emptied.
    """

    call: str
    name: Name
    data: bytes = b""
    offset: int = 0


def operations(trace: bytes, directory: Path) -> Iterator[Operation]:
    """What a trace says of a directory, and what the program told meanwhile, in the order in which it took effect."""
    begun: dict[bytes, bytes] = {}
    written: Counter[Name] = Counter()
    for line in trace.splitlines():
        match = _LINE.match(line)
        if not match:
            continue
        thread, call, how, rest = match.groups()
        if rest.endswith(b"<unfinished ...>"):
            begun[thread] = rest.removesuffix(b"<unfinished ...>")
            continue
        arguments = begun.pop(thread) + rest if how == b" resumed>" else rest
        operation = _operation(call, arguments, str(directory))
        if operation is None:
            continue
        if operation.call == "create":
            written[operation.name] = 0
        elif operation.call == "append":
            operation = Operation("write", operation.name, operation.data, written[operation.name])
            written[operation.name] += len(operation.data)
        yield operation


def _operation(call: bytes, arguments: bytes, directory: str) -> Operation | None:
    if arguments.rpartition(b" = ")[2].startswith(b"-1"):
        return None
    strings = [_bytes(text) for text in _STRING.findall(arguments)]
    if call == b"write" and arguments.startswith(b"1<"):
        return Operation("told", "", strings[0])
    if call in (b"openat", b"rename", b"unlink"):
        names = [_within(text.decode(), directory) for text in strings]
        if not names or not names[0] or (call == b"openat" and b"O_CREAT" not in arguments):
            return None
        what = "create" if call == b"openat" else call.decode()
        emptied = b"O_TRUNC" if b"O_TRUNC" in arguments else b""
        return Operation(what, names[0], emptied if call == b"openat" else (names[-1] or "").encode())
    file = _FILE.match(arguments)
    name = _within(_bytes(file[1]).decode(errors="replace"), directory) if file else None
    if name is None:
        return None
    if call == b"write":
        return Operation("append", name, strings[0])
    if call == b"pwrite64":
        return Operation("write", name, strings[0], int(arguments.rpartition(b")")[0].rpartition(b", ")[2]))
    if call == b"ftruncate":
        return Operation("truncate", name, offset=int(arguments.rpartition(b")")[0].rpartition(b", ")[2]))
    return Operation("sync", name)


def _bytes(text: bytes) -> bytes:
    return bytes.fromhex(text.replace(b"\\x", b"").decode())


def _within(path: str, directory: str) -> Name | None:
    """The file's name in the directory, "" for the directory itself, None for what lies elsewhere."""
    if path == directory:
        return ""
    folder, _, name = path.rpartition("/")
    return name if folder == directory else None


@dataclass
class File:
    """A file's content: what is durable, and what was done to it since."""

    durable: bytearray = field(default_factory=bytearray)
    since: list[Operation] = field(default_factory=list)


class Disk:
    """A directory, operation by operation."""

    def __init__(self) -> None:
        self._names: dict[Name, File] = {}
        self._durable: dict[Name, File] = {}
        self._since: list[tuple[Operation, File | None]] = []

    def do(self, operation: Operation) -> None:
        """The next operation."""
        match operation.call:
            case "create":
                if operation.name not in self._names:
                    self._rename(operation, File())
                elif operation.data:
                    self._names[operation.name].since.append(Operation("truncate", operation.name))
            case "rename" | "unlink":
                self._rename(operation, self._names[operation.name])
            case "sync" if not operation.name:
                self._durable = dict(self._names)
                self._since.clear()
            case "sync":
                file = self._names[operation.name]
                for done in file.since:
                    _apply(done, file.durable)
                file.since.clear()
            case "write" | "truncate":
                self._names[operation.name].since.append(operation)

    def _rename(self, operation: Operation, file: File) -> None:
        self._since.append((operation, file))
        _name(operation, file, self._names)

    def after(self, fate: Fate, chance: random.Random) -> dict[Name, bytes]:
        """The files that a power cut now may leave behind."""
        names = dict(self._durable)
        for operation, file in _left(self._since, fate, chance):
            _name(operation, file, names)
        found = {}
        for name, file in names.items():
            content = bytearray(file.durable)
            left = _left(file.since, fate, chance)
            for at, operation in enumerate(left):
                torn = fate == "mixed" or (fate == "cut" and at == len(left) - 1)
                _apply(operation, content, chance if torn else None)
            found[name] = bytes(content)
        return found


def _left(done: Sequence[T], fate: Fate, chance: random.Random) -> Sequence[T]:
    match fate:
        case "lost":
            return []
        case "kept":
            return done
        case "cut":
            return done[: chance.randint(0, len(done))]
        case "mixed":
            return [one for one in done if chance.random() < 0.6]


def _name(operation: Operation, file: File | None, names: dict[Name, File]) -> None:
    """Does to the names what a create, rename or unlink does."""
    if file is None or operation.call == "unlink":
        names.pop(operation.name, None)
    elif operation.call == "rename":
        names.pop(operation.name, None)
        names[operation.data.decode()] = file
    else:
        names[operation.name] = file


def _apply(operation: Operation, content: bytearray, torn: random.Random | None = None) -> None:
    """Does to a content what a write or truncate does; torn: only some of its sectors arrive."""
    if operation.call == "truncate":
        del content[operation.offset :]
        content.extend(bytes(operation.offset - len(content)))
        return
    at, end = operation.offset, operation.offset + len(operation.data)
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        if torn is None or torn.random() < 0.7:
            content.extend(bytes(max(0, at - len(content))))
            content[at:until] = operation.data[at - operation.offset : until - operation.offset]
        at = until
